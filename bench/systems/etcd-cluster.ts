/**
 * etcd nodes with default settings. Single requests go through its JSON gateway; loads use gRPC,
 * which is what its clients use.
 */
import path from 'node:path';
import {must} from '../../src/base/assert.ts';
import {freePorts} from '../../test/cluster/free-ports.ts';
import {ServerProcess} from './child-process.ts';
import {httpRequest} from './http-request.ts';
import {pollFor} from './poll.ts';
import type {StoreCluster} from './store-cluster.ts';

const startDeadlineMs = 60_000;

interface GatewayStatus {
  readonly header: {readonly member_id: string; readonly revision?: string};
  readonly leader?: string;
}

export class EtcdCluster implements StoreCluster {
  readonly name = 'etcd';
  readonly nodeCount: number;
  readonly clientPorts: readonly number[];
  readonly #peerPorts: readonly number[];
  readonly #directory: string;
  readonly #processes: (ServerProcess | null)[];

  private constructor(directory: string, ports: readonly number[]) {
    this.nodeCount = ports.length / 2;
    this.#directory = directory;
    this.clientPorts = ports.slice(0, this.nodeCount);
    this.#peerPorts = ports.slice(this.nodeCount);
    this.#processes = this.clientPorts.map(() => null);
  }

  /** Nothing runs yet. */
  static async create(options: {
    readonly directory: string;
    readonly nodeCount: number;
  }): Promise<EtcdCluster> {
    return new EtcdCluster(options.directory, await freePorts(options.nodeCount * 2));
  }

  pids(): readonly number[] {
    return this.#processes.flatMap(process => (process?.isRunning === true ? [process.pid] : []));
  }

  async start(): Promise<void> {
    for (let node = 0; node < this.nodeCount; node++) this.startNode(node);
    await this.leader();
  }

  startNode(node: number): void {
    const client = `http://127.0.0.1:${must(this.clientPorts[node], `node ${node} exists`)}`;
    const peers = this.#peerPorts.map(port => `http://127.0.0.1:${port}`);
    const peer = must(peers[node], `node ${node} exists`);
    const args = [
      ...['--name', `etcd${node}`, '--data-dir', path.join(this.#directory, `etcd${node}`)],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', peers.map((url, i) => `etcd${i}=${url}`).join(',')],
      // A write load of minutes would otherwise end at the default quota of 2 GB.
      ...['--quota-backend-bytes', String(8 * 1024 ** 3)],
    ];
    const logPath = path.join(this.#directory, `etcd${node}.log`);
    this.#processes[node] = new ServerProcess('etcd', args, {logPath});
  }

  async killNode(node: number): Promise<void> {
    await this.#processes[node]?.kill9();
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#processes.flatMap(process => (process === null ? [] : [process.stop()])),
    );
  }

  leader(): Promise<number> {
    return pollFor('one leader of etcd', {intervalMs: 50, deadlineMs: startDeadlineMs}, () =>
      this.#findLeader(),
    );
  }

  async put(node: number, key: string, value: string, timeoutMs: number): Promise<boolean> {
    const body = {key: base64(key), value: base64(value)};
    return (await this.#call(node, '/v3/kv/put', body, timeoutMs)) !== null;
  }

  async get(node: number, key: string): Promise<string | null> {
    const body = {key: base64(key)};
    const answer = await this.#call(node, '/v3/kv/range', body);
    const {kvs = []} = (answer ?? {}) as {kvs?: readonly {readonly value?: string}[]};
    const [found] = kvs;
    return found === undefined ? null : Buffer.from(found.value ?? '', 'base64').toString();
  }

  async revision(): Promise<number> {
    const status = await this.#status(await this.leader());
    return Number(status?.header.revision ?? 0);
  }

  async #findLeader(): Promise<number | null> {
    const all = await Promise.all(this.clientPorts.map((_, node) => this.#status(node)));
    const leader = all[0]?.leader;
    if (leader === undefined || leader === '0') return null;
    if (!all.every(status => status?.leader === leader)) return null;
    return all.findIndex(status => status?.header.member_id === leader);
  }

  async #status(node: number): Promise<GatewayStatus | null> {
    return (await this.#call(node, '/v3/maintenance/status', {})) as GatewayStatus | null;
  }

  async #call(node: number, route: string, body: object, timeoutMs?: number): Promise<unknown> {
    const port = must(this.clientPorts[node], `node ${node} exists`);
    const target = {method: 'POST', path: route, body: JSON.stringify(body)};
    const answer = await httpRequest(port, target, timeoutMs);
    return answer?.status === 200 ? JSON.parse(answer.body) : null;
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
