/**
 * The members under torture: real processes on free loopback ports, with a network between them
 * that can be cut. Knows which of them should run, so that an exit nobody caused is noticed.
 */
import {mkdirSync, readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type {Status} from '../cluster/client.ts';
import {eventually} from '../cluster/eventually.ts';
import {freePorts} from '../cluster/free-ports.ts';
import {NodeProcess} from '../cluster/node-process.ts';
import type {SmallDisk} from '../cluster/small-disk.ts';
import {mountSmallDisk} from '../cluster/small-disk.ts';
import {NamespaceNetwork} from './namespace-network.ts';
import type {TortureOptions} from './options.ts';
import type {Endpoint, PeerNetwork} from './peer-network.ts';
import {ProxyNetwork} from './peer-network.ts';

/** The data of some minutes, and yet filled in a moment. */
const smallDiskSizeMiB = 160;
/** Small, so that segments are changed, logs cut and snapshots sent within the run. */
const smallFlags = [
  '-test-wal-segment-size=1048576',
  '-test-log-retention-size=2097152',
  '-history-size=16',
];
const residentSizeMiBMax = 1_024;
const descriptorCountMax = 1_000;
const watchIntervalMs = 500;

export class TortureCluster {
  readonly nodes: readonly NodeProcess[];
  readonly network: PeerNetwork;
  /** What no fault explains. */
  readonly problems: string[] = [];
  residentSizeMiBSeen = 0;
  descriptorCountSeen = 0;
  readonly #directory: string;
  readonly #unmounts: readonly (() => void)[];
  readonly #disks: ReadonlyMap<string, SmallDisk>;
  /** Nodes whose exit is somebody's intention. */
  readonly #mayExit = new Set<NodeProcess>();
  readonly #watch: NodeJS.Timeout;

  private constructor(parts: {
    readonly directory: string;
    readonly nodes: readonly NodeProcess[];
    readonly network: PeerNetwork;
    readonly disks: ReadonlyMap<string, SmallDisk>;
    readonly unmounts: readonly (() => void)[];
  }) {
    this.#directory = parts.directory;
    this.nodes = parts.nodes;
    this.network = parts.network;
    this.#disks = parts.disks;
    this.#unmounts = parts.unmounts;
    this.#watch = setInterval(() => this.#measure(), watchIntervalMs);
  }

  /** Nothing runs yet. */
  static async create(directory: string, options: TortureOptions): Promise<TortureCluster> {
    const {nodeCount} = options;
    const ports = await freePorts(nodeCount * 2);
    const endpoints = Array.from({length: nodeCount}, (_, i): Endpoint => {
      const [raftPort = 0, httpPort = 0] = [ports[i], ports[nodeCount + i]];
      return {id: `node${i + 1}`, raftPort, httpPort};
    });
    const network = await (options.network === 'proxy'
      ? ProxyNetwork.create(endpoints)
      : NamespaceNetwork.create(endpoints));
    const disks = new Map<string, SmallDisk>();
    const unmounts: (() => void)[] = [];
    if (options.faults.includes('disk-full')) {
      for (const {id} of endpoints) {
        const mounted = await mountSmallDisk(join(directory, `disk-${id}`), smallDiskSizeMiB);
        if (mounted === null) break;
        disks.set(id, mounted.disk);
        unmounts.push(mounted.unmount);
      }
    }
    const lying = options.hasLyingDisks ? lyingDiskWrapper() : [];
    const nodes = endpoints.map(endpoint => {
      const {id} = endpoint;
      const disk = disks.get(id);
      return new NodeProcess(endpoint, {
        data: join(disk?.directory ?? directory, `data-${id}`),
        logPath: join(directory, `${id}.log`),
        wrapper: [...network.wrapper(endpoint), ...(disk?.wrapper ?? []), ...lying],
      });
    });
    return new TortureCluster({directory, nodes, network, disks, unmounts});
  }

  /** Where the node's files are, as this process sees them. */
  dataOf(node: NodeProcess): string {
    const disk = this.#disks.get(node.id);
    return disk === undefined ? node.data : join(disk.outside, `data-${node.id}`);
  }

  /** A file whose growth takes the node's space away; null: the node has no disk of its own. */
  fillerOf(node: NodeProcess): string | null {
    const disk = this.#disks.get(node.id);
    return disk === undefined ? null : join(disk.outside, 'filler');
  }

  flagsOf(node: NodeProcess): string[] {
    const peers = this.nodes
      .filter(other => other !== node)
      .map(other => `${other.id}:${this.network.address(other)}`);
    return [
      `-id=${node.id}`,
      `-data=${node.data}`,
      ...this.network.flags(node),
      ...(peers.length === 0 ? [] : [`-peers=${peers.join(',')}`]),
      ...smallFlags,
    ];
  }

  start(node: NodeProcess): void {
    node.start(this.flagsOf(node));
    this.#mayExit.delete(node);
    void node.exited.then(({code, signal}) => {
      if (this.#mayExit.has(node)) return;
      const lines = node.output().split('\n').slice(-6).join('\n    ');
      this.problems.push(`${node.id} ended by itself (${code ?? signal ?? ''}):\n    ${lines}`);
    });
  }

  /** From now until the next start its exit is no surprise. */
  expectExit(node: NodeProcess): void {
    this.#mayExit.add(node);
  }

  async kill(node: NodeProcess): Promise<void> {
    this.expectExit(node);
    await node.kill9();
  }

  /** Of those asked, the one that says it leads in the highest term; null: none does. */
  async leader(among: readonly NodeProcess[]): Promise<NodeProcess | null> {
    const statuses = await Promise.all(
      among.map(node => node.client.status().catch((): Status | null => null)),
    );
    const leaders = statuses.filter(status => status?.state === 'leader');
    leaders.sort((a, b) => (b?.term ?? 0) - (a?.term ?? 0));
    return this.nodes.find(node => node.id === leaders[0]?.id) ?? null;
  }

  /** All run, are ready, have applied the same index and hold the same state. */
  async settle(deadlineMs: number): Promise<readonly Status[]> {
    await Promise.all(this.nodes.map(node => node.waitReady(deadlineMs)));
    const statuses = await eventually('all nodes at one index', deadlineMs, async () => {
      const all = await Promise.all(this.nodes.map(node => node.status()));
      const last = Math.max(...all.map(status => status.lastLogIndex));
      return all.every(status => status.appliedIndex === last) ? all : null;
    });
    for (const status of statuses) {
      const first = statuses[0] ?? status;
      const isSame =
        status.stateHash === first.stateHash &&
        status.revision === first.revision &&
        status.keys === first.keys;
      if (!isSame) this.problems.push(`${status.id} holds another state than ${first.id}`);
      if (status.diverged) this.problems.push(`${status.id} says it has diverged`);
    }
    return statuses;
  }

  /** Lines of the logs that tell of a bug become problems. */
  readLogs(): void {
    for (const node of this.nodes) {
      for (const line of node.bugLines().slice(0, 5))
        this.problems.push(`the log of ${node.id} says: ${line}`);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#watch);
    for (const node of this.nodes) this.expectExit(node);
    await Promise.all(this.nodes.map(node => node.close()));
    this.network.close();
    for (const unmount of this.#unmounts) unmount();
  }

  /** Makes a directory for what a fault leaves behind to be looked at. */
  scratch(name: string): string {
    const path = join(this.#directory, name);
    mkdirSync(path, {recursive: true});
    return path;
  }

  #measure(): void {
    for (const node of this.nodes) {
      if (!node.isRunning) continue;
      const usage = usageOf(node.pid);
      if (usage === null) continue;
      const {residentSizeMiB, descriptorCount} = usage;
      this.residentSizeMiBSeen = Math.max(this.residentSizeMiBSeen, residentSizeMiB);
      this.descriptorCountSeen = Math.max(this.descriptorCountSeen, descriptorCount);
    }
  }

  /** Memory and descriptors stayed within bounds, or it is a problem. */
  checkUsage(): void {
    if (this.residentSizeMiBSeen > residentSizeMiBMax) {
      this.problems.push(`a node used ${this.residentSizeMiBSeen} MiB of memory`);
    }
    if (this.descriptorCountSeen > descriptorCountMax) {
      this.problems.push(`a node had ${this.descriptorCountSeen} descriptors open`);
    }
  }
}

function usageOf(
  pid: number,
): {readonly residentSizeMiB: number; readonly descriptorCount: number} | null {
  try {
    const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0;
    const descriptorCount = readdirSync(`/proc/${pid}/fd`).length;
    return {residentSizeMiB: Math.round(Number(kib) / 1024), descriptorCount};
  } catch {
    // It ended meanwhile, or this system has no /proc.
    return null;
  }
}

function lyingDiskWrapper(): readonly string[] {
  const path = fileURLToPath(new URL('./lying-disk.js', import.meta.url));
  return ['env', `NODE_OPTIONS=--import=${path}`];
}
