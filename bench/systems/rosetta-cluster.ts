/** Rosetta nodes as a user starts them, with default settings. */
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {must} from '../../src/base/assert.ts';
import {nodeProcessEnvironment, nodeProcessFlags} from '../../src/cli/node-process-settings.ts';
import type {NodeStatus} from '../../src/node/service.ts';
import {freePorts} from '../../test/cluster/free-ports.ts';
import {ServerProcess} from './child-process.ts';
import {httpRequest} from './http-request.ts';
import {pollFor} from './poll.ts';
import type {StoreCluster} from './store-cluster.ts';

/** The built one. */
export const rosettaProgram = fileURLToPath(new URL('../../program/main.js', import.meta.url));
const startDeadlineMs = 60_000;

export interface RosettaOptions {
  readonly directory: string;
  readonly nodeCount: number;
  /** Where every node leaves a CPU profile when it stops; null: none. */
  readonly profileDirectory: string | null;
  /** Beside those that every node needs. */
  readonly flags?: readonly string[];
}

export class RosettaCluster implements StoreCluster {
  readonly name = 'rosetta';
  readonly nodeCount: number;
  readonly clientPorts: readonly number[];
  readonly #raftPorts: readonly number[];
  readonly #options: RosettaOptions;
  readonly #processes: (ServerProcess | null)[];

  private constructor(options: RosettaOptions, ports: readonly number[]) {
    this.nodeCount = options.nodeCount;
    this.clientPorts = ports.slice(0, options.nodeCount);
    this.#raftPorts = ports.slice(options.nodeCount);
    this.#options = options;
    this.#processes = this.clientPorts.map(() => null);
  }

  /** Nothing runs yet. */
  static async create(options: RosettaOptions): Promise<RosettaCluster> {
    return new RosettaCluster(options, await freePorts(options.nodeCount * 2));
  }

  pids(): readonly number[] {
    return this.#processes.flatMap(process => (process?.isRunning === true ? [process.pid] : []));
  }

  async start(): Promise<void> {
    for (let node = 0; node < this.nodeCount; node++) this.startNode(node);
    await this.leader();
  }

  startNode(node: number): void {
    const {directory, profileDirectory} = this.#options;
    const id = `node${node + 1}`;
    const peers = this.#raftPorts
      .map((port, i) => `node${i + 1}:127.0.0.1:${port}`)
      .filter((_, i) => i !== node);
    const flags = [
      `-id=${id}`,
      `-listen=127.0.0.1:${port(this.#raftPorts, node)}`,
      `-http=127.0.0.1:${port(this.clientPorts, node)}`,
      ...(peers.length === 0 ? [] : [`-peers=${peers.join(',')}`]),
      `-data=${path.join(directory, id)}`,
      ...(this.#options.flags ?? []),
    ];
    const profile =
      profileDirectory === null
        ? []
        : [
            '--cpu-prof',
            `--cpu-prof-dir=${path.join(profileDirectory, id)}`,
            '--cpu-prof-interval=500',
          ];
    this.#processes[node] = new ServerProcess(
      process.execPath,
      [...profile, ...nodeProcessFlags, rosettaProgram, ...flags],
      {
        logPath: path.join(directory, `${id}.log`),
        env: {...nodeProcessEnvironment, ...ownEnvironment(), NO_COLOR: '1'},
      },
    );
  }

  async killNode(node: number): Promise<void> {
    await this.#processes[node]?.kill9();
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#processes.flatMap(process => (process === null ? [] : [process.stop()])),
    );
  }

  /** For the message of a failure. */
  lastLines(node: number): string {
    return this.#processes[node]?.lastLines() ?? '';
  }

  async status(node: number): Promise<NodeStatus | null> {
    const answer = await httpRequest(port(this.clientPorts, node), {
      method: 'GET',
      path: '/status',
    });
    return answer?.status === 200 ? (JSON.parse(answer.body) as NodeStatus) : null;
  }

  leader(): Promise<number> {
    return pollFor('one leader of Rosetta', {intervalMs: 20, deadlineMs: startDeadlineMs}, () =>
      this.#findLeader(),
    );
  }

  async put(node: number, key: string, value: string, timeoutMs: number): Promise<boolean> {
    const body = JSON.stringify({key, value});
    const target = {method: 'PUT', path: '/kv', body};
    const answer = await httpRequest(port(this.clientPorts, node), target, timeoutMs);
    return answer?.status === 200;
  }

  async get(node: number, key: string): Promise<string | null> {
    const target = {method: 'GET', path: `/kv/${encodeURIComponent(key)}`};
    const answer = await httpRequest(port(this.clientPorts, node), target);
    if (answer?.status !== 200) return null;
    return (JSON.parse(answer.body) as {value: string}).value;
  }

  async revision(): Promise<number> {
    return must(await this.status(await this.leader()), 'the leader answers').revision;
  }

  async #findLeader(): Promise<number | null> {
    for (const process of this.#processes) {
      if (process !== null && !process.isRunning) {
        throw new Error(`a Rosetta node ended:\n${process.lastLines()}`);
      }
    }
    const all = await Promise.all(this.clientPorts.map((_, node) => this.status(node)));
    const [first] = all;
    if (first === null || first === undefined || first.leader === null) return null;
    const {leader, term} = first;
    const agree = all.every(s => s !== null && s.ready && s.leader === leader && s.term === term);
    return agree ? all.findIndex(status => status?.id === leader) : null;
  }
}

function port(ports: readonly number[], node: number): number {
  return must(ports[node], `node ${node} exists`);
}

/** Settings of the user's own must not reach the servers that are measured. */
function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('ROSETTA_')),
  );
}
