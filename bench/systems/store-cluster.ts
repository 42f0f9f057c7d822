/** What the measurements ask of a cluster, whichever store it is. Nodes are numbered from 0. */

export type StoreName = 'rosetta' | 'etcd' | 'redis';

export interface StoreCluster {
  readonly name: StoreName;
  readonly nodeCount: number;
  /** Port of the client API of each node. */
  readonly clientPorts: readonly number[];
  /** Of the nodes that run. */
  pids(): readonly number[];
  /** Starts all nodes and waits until they serve. */
  start(): Promise<void>;
  /** Starts one node and does not wait. */
  startNode(node: number): void;
  killNode(node: number): Promise<void>;
  /** Resolves when every node serves and all agree on the leader. */
  leader(): Promise<number>;
  /** One write through a node; true when it was acknowledged. */
  put(node: number, key: string, value: string, timeoutMs: number): Promise<boolean>;
  /** The value a linearizable read returns, null when there is none. */
  get(node: number, key: string): Promise<string | null>;
  /** Counts every write; shows whether what a load generator calls success was one. */
  revision(): Promise<number>;
  stop(): Promise<void>;
}
