/**
 * A cluster of real processes on loopback ports, with data in a directory of its own that goes
 * away with the test. At the end of the test no log may tell of a bug.
 */
import assert from 'node:assert/strict';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {TestContext} from 'node:test';
import {atEnd} from './at-end.ts';
import type {Status} from './client.ts';
import {eventually} from './eventually.ts';
import {freePorts} from './free-ports.ts';
import {NodeProcess} from './node-process.ts';

export interface ClusterOptions {
  readonly size?: number;
  /** For every node, beside its id, addresses, peers and data. */
  readonly flags?: readonly string[];
  /** With the program's own election timeout, where elections are what the test is about. */
  readonly hasDefaultElections?: boolean;
  /** Command to run in front of node; `data` replaces the node's data directory. */
  readonly place?: (id: string) => {readonly wrapper: readonly string[]; readonly data: string};
}

/** Small segments and little kept for followers: the way to a snapshot is short. */
export const smallLogFlags = [
  '-test-wal-segment-size=1048576',
  '-test-log-retention-size=2097152',
] as const;

/**
 * A busy machine keeps a process waiting for a few hundred milliseconds now and then. A leader that
 * loses its place by it is no fault, but leaves writes with an unknown outcome.
 */
const electionFlag = '-election-timeout=';
const steadyFlag = `${electionFlag}1000`;

/** Several processes that start at once have to share the processors. */
const startDeadlineMs = 60_000;

export class Cluster {
  readonly directory: string;
  readonly nodes: readonly NodeProcess[];
  readonly #flags: readonly string[];

  private constructor(directory: string, nodes: readonly NodeProcess[], flags: readonly string[]) {
    this.directory = directory;
    this.nodes = nodes;
    this.#flags = flags;
  }

  /** Nothing runs yet. Everything ends with the test. */
  static async create(context: TestContext, options: ClusterOptions = {}): Promise<Cluster> {
    const size = options.size ?? 3;
    const directory = temporaryDirectory(context);
    const ports = await freePorts(size * 2);
    const nodes = Array.from({length: size}, (_, i) => {
      const id = `node${i + 1}`;
      const place = options.place?.(id) ?? {wrapper: [], data: join(directory, id)};
      const [raftPort = 0, httpPort = 0] = [ports[i], ports[size + i]];
      const logPath = join(directory, `${id}.log`);
      return new NodeProcess({id, raftPort, httpPort}, {...place, logPath});
    });
    const {flags = [], hasDefaultElections = false} = options;
    const isTold = hasDefaultElections || flags.some(flag => flag.startsWith(electionFlag));
    const cluster = new Cluster(directory, nodes, isTold ? flags : [...flags, steadyFlag]);
    endWith(context, nodes);
    return cluster;
  }

  static async running(context: TestContext, options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = await Cluster.create(context, options);
    for (const node of cluster.nodes) cluster.start(node);
    await cluster.waitReady();
    return cluster;
  }

  node(id: string): NodeProcess {
    const node = this.nodes.find(candidate => candidate.id === id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  flagsOf(node: NodeProcess): string[] {
    const peers = this.nodes
      .filter(other => other !== node)
      .map(other => `${other.id}:127.0.0.1:${other.raftPort}`);
    return [...this.loneFlagsOf(node), ...peersFlag(peers)];
  }

  /** Of a node that is told of no peers. */
  loneFlagsOf(node: NodeProcess): string[] {
    return [...nodeFlags(node), ...this.#flags];
  }

  /** With the program's own election timeout: who finds no leader tries many times a second. */
  hastyFlagsOf(node: NodeProcess): string[] {
    return this.flagsOf(node).filter(flag => !flag.startsWith(electionFlag));
  }

  start(node: NodeProcess, extraFlags: readonly string[] = []): void {
    node.start([...this.flagsOf(node), ...extraFlags]);
  }

  async restart(node: NodeProcess): Promise<void> {
    this.start(node);
    await node.waitReady();
  }

  /** All nodes that run are ready. */
  async waitReady(): Promise<void> {
    const running = this.nodes.filter(node => node.isRunning);
    await Promise.all(running.map(node => node.waitReady(startDeadlineMs)));
  }

  /** The node that leads in the highest term, once all of `among` agree. */
  leader(among: readonly NodeProcess[] = this.nodes, deadlineMs = 20_000): Promise<NodeProcess> {
    return eventually('one leader', deadlineMs, async () => {
      const statuses = await Promise.all(among.map(node => node.status()));
      const [first] = statuses;
      if (first?.leader === undefined || first.leader === null) return null;
      const agree = statuses.every(
        status => status.leader === first.leader && status.term === first.term,
      );
      if (!agree) return null;
      const leader = this.node(first.leader);
      const own = statuses[among.indexOf(leader)];
      return own?.state === 'leader' ? leader : null;
    });
  }

  /** The last of what each node printed: why a failed test failed. */
  logs(): string {
    return this.nodes.map(node => `${node.id}:\n${node.output().slice(-3_000)}`).join('\n');
  }

  async followers(): Promise<NodeProcess[]> {
    const leader = await this.leader();
    return this.nodes.filter(node => node !== leader);
  }

  /** Waits until all have applied the same index, and asserts that they hold the same state. */
  async assertSameState(among = this.nodes, deadlineMs = 20_000): Promise<Status> {
    const statuses = await eventually('all nodes at one index', deadlineMs, async () => {
      const all = await Promise.all(among.map(node => node.status()));
      const applied = all.map(status => status.appliedIndex);
      const last = Math.max(...all.map(status => status.lastLogIndex));
      return applied.every(index => index === last) ? all : null;
    });
    const [first] = statuses;
    assert.ok(first !== undefined);
    for (const status of statuses) {
      assert.equal(status.stateHash, first.stateHash, `${status.id} differs from ${first.id}`);
      assert.equal(status.revision, first.revision);
      assert.equal(status.keys, first.keys);
      assert.equal(status.diverged, false);
    }
    return first;
  }
}

/** What every node is told of itself. */
export function nodeFlags(node: NodeProcess): string[] {
  return [
    `-id=${node.id}`,
    `-listen=127.0.0.1:${node.raftPort}`,
    `-http=127.0.0.1:${node.httpPort}`,
    `-data=${node.data}`,
  ];
}

export function peersFlag(peers: readonly string[]): string[] {
  return peers.length === 0 ? [] : [`-peers=${peers.join(',')}`];
}

export function temporaryDirectory(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'rosetta-cluster-'));
  atEnd(context, () => {
    if (process.env['ROSETTA_TEST_KEEP'] === undefined) {
      rmSync(directory, {recursive: true, force: true, maxRetries: 5});
    }
  });
  return directory;
}

/** Kills the nodes when the test ends and looks through their logs. */
export function endWith(context: TestContext, nodes: readonly NodeProcess[]): void {
  atEnd(context, async () => {
    await Promise.all(nodes.map(node => node.close()));
    const bugs = nodes.flatMap(node => node.bugLines().map(line => `${node.id}: ${line}`));
    assert.deepEqual(bugs.slice(0, 10), [], 'a log tells of a bug');
  });
}
