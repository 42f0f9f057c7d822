/**
 * What is done to the members. A fault chooses its victims, strikes, and leaves behind how it is
 * undone. Each process suffers one fault at a time; cuts of the network come on top.
 */
import {closeSync, openSync, readFileSync, rmSync, writeFileSync, writeSync} from 'node:fs';
import type {Prng} from '../../src/base/prng.ts';
import {problemOf} from '../cluster/client.ts';
import {pause} from '../cluster/eventually.ts';
import type {Exit, NodeProcess} from '../cluster/node-process.ts';
import {walBatches} from '../cluster/wal-file.ts';
import type {Met} from './sync-trace.ts';
import {SyncTrace, canTrace} from './sync-trace.ts';
import type {TortureCluster} from './torture-cluster.ts';

export const faultNames = [
  'kill',
  'kill-all',
  'pause',
  'partition',
  'one-way',
  'disk-full',
  'disk-error',
  'disk-slow',
  'bit-flip',
] as const;
export type FaultName = (typeof faultNames)[number];

export interface Strike {
  /** What was done to whom, for the reader. */
  readonly what: string;
  /** Nodes whose process suffers. */
  readonly victims: readonly NodeProcess[];
  undo(): Promise<void>;
  /** Once it is undone: did what was meant to happen take place? Left out: it did. */
  readonly hasStruck?: () => boolean;
}

export interface FaultScene {
  readonly cluster: TortureCluster;
  readonly prng: Prng;
  /** Nodes whose process suffers nothing else, in random order; often the leader first. */
  readonly free: readonly NodeProcess[];
}

/** A node under load asks for a sync within this time, or the fault comes to nothing. */
const syncMsMax = 4_000;
/** Only a node that goes on takes so long to stop. */
const stopMsMax = 15_000;

/** Null: nobody to strike at the moment. */
type Fault = (scene: FaultScene) => Promise<Strike | null>;

export const faults: Readonly<Record<FaultName, Fault>> = {
  kill,
  'kill-all': killAll,
  pause: pauseOne,
  partition,
  'one-way': oneWay,
  'disk-full': fillDisk,
  'disk-error': failDisk,
  'disk-slow': slowDisk,
  'bit-flip': flipBit,
};

/** Why this machine cannot do it; null: it can. */
export async function obstacle(name: FaultName, cluster: TortureCluster): Promise<string | null> {
  const [first] = cluster.nodes;
  if (name === 'disk-full' && (first === undefined || cluster.fillerOf(first) === null)) {
    return 'this user may not mount a small disk';
  }
  if ((name === 'disk-error' || name === 'disk-slow') && !(await canTrace())) {
    return 'there is no strace, or it may not trace';
  }
  const isOfNetwork = name === 'partition' || name === 'one-way';
  return isOfNetwork && cluster.nodes.length < 2 ? 'there is one node' : null;
}

async function kill({cluster, free: [node]}: FaultScene): Promise<Strike | null> {
  if (node === undefined) return null;
  await cluster.kill(node);
  return {
    what: `kill -9 ${node.id}`,
    victims: [node],
    undo: starting(cluster, [node]),
  };
}

function starting(cluster: TortureCluster, nodes: readonly NodeProcess[]): () => Promise<void> {
  return () => {
    for (const node of nodes) cluster.start(node);
    return Promise.resolve();
  };
}

/** At one moment: what only some of them hold durable is tested by it. */
async function killAll({cluster, free}: FaultScene): Promise<Strike | null> {
  if (free.length < cluster.nodes.length) return null;
  await Promise.all(free.map(node => cluster.kill(node)));
  return {
    what: 'kill -9 all at once',
    victims: free,
    undo: starting(cluster, free),
  };
}

function pauseOne({free: [node]}: FaultScene): Promise<Strike | null> {
  if (node === undefined) return Promise.resolve(null);
  node.pause();
  return Promise.resolve({
    what: `SIGSTOP ${node.id}`,
    victims: [node],
    undo: () => {
      node.resume();
      return Promise.resolve();
    },
  });
}

/** A few members, or one, apart from the rest; or a ring in which nobody sees all. */
function partition({cluster, prng}: FaultScene): Promise<Strike | null> {
  const ids = shuffled(
    cluster.nodes.map(node => node.id),
    prng,
  );
  const size = prng.integer({min: 1, max: Math.floor(ids.length / 2)});
  const [apart, rest] = [ids.slice(0, size), ids.slice(size)];
  const links = apart.flatMap(a => rest.flatMap(b => [[a, b] as const, [b, a] as const]));
  return Promise.resolve(
    cut(cluster, links, `${apart.join(', ')} cut off from ${rest.join(', ')}`),
  );
}

function oneWay({cluster, prng}: FaultScene): Promise<Strike | null> {
  const [first = '', ...others] = shuffled(
    cluster.nodes.map(node => node.id),
    prng,
  );
  switch (prng.integer({min: 0, max: 2})) {
    case 0: {
      const links = others.map(other => [first, other] as const);
      return Promise.resolve(cut(cluster, links, `nobody hears ${first}`));
    }
    case 1: {
      const links = others.map(other => [other, first] as const);
      return Promise.resolve(cut(cluster, links, `${first} hears nobody`));
    }
    default: {
      const [other = ''] = others;
      return Promise.resolve(cut(cluster, [[first, other]], `${other} does not hear ${first}`));
    }
  }
}

function cut(
  {network}: TortureCluster,
  links: readonly (readonly [string, string])[],
  what: string,
): Strike {
  for (const [from, to] of links) network.cut(from, to);
  return {
    what,
    victims: [],
    undo: () => {
      for (const [from, to] of links) network.mend(from, to);
      return Promise.resolve();
    },
  };
}

async function fillDisk({cluster, free: [node]}: FaultScene): Promise<Strike | null> {
  const filler = node === undefined ? null : cluster.fillerOf(node);
  if (node === undefined || filler === null) return null;
  // Who still starts may refuse to: a start has to be written down.
  const hasStarted = await node.client.request('GET', '/readyz').then(
    reply => problemOf(reply)?.code !== 'STARTING',
    () => false,
  );
  if (!hasStarted) return null;
  const file = openSync(filler, 'w');
  const piece = Buffer.alloc(1024 * 1024);
  try {
    while (writeSync(file, piece) === piece.length);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  } finally {
    closeSync(file);
  }
  return {
    what: `the disk of ${node.id} is full`,
    victims: [node],
    undo: () => {
      rmSync(filler);
      // That it ended is a problem of its own; the run goes on with all members.
      if (!node.isRunning) cluster.start(node);
      return Promise.resolve();
    },
  };
}

/** The next fdatasync fails once. The node must stop, and not ask the same disk again. */
async function failDisk({cluster, free: [node]}: FaultScene): Promise<Strike | null> {
  if (node === undefined) return null;
  cluster.expectExit(node);
  const {exited} = node;
  const trace = new SyncTrace(node, cluster.scratch('traces'), 'error=EIO:when=1');
  await trace.metOrEnded(syncMsMax);
  const met = await trace.end();
  const exit = await Promise.race([exited, pause(met === 'log' ? stopMsMax : 0).then(() => null)]);
  const problem = problemOfFailedSync(met, exit, node.complaints().length);
  if (problem !== null) cluster.problems.push(`${node.id} ${problem}`);
  const hasStruck = met === 'log' || (met === 'other' && exit !== null);
  return {
    what: `fdatasync of ${node.id} fails${hasStruck ? '' : ' (it was asked for none in time)'}`,
    victims: [node],
    undo: async () => {
      await cluster.kill(node);
      cluster.start(node);
    },
    hasStruck: () => hasStruck,
  };
}

/**
 * `exit` null: it still runs. A node that goes on after an error of its log has swallowed it; early
 * syncs of a copy are for speed alone, the last one counts.
 */
export function problemOfFailedSync(
  met: Met,
  exit: Exit | null,
  complaintCount: number,
): string | null {
  if (exit === null) return met === 'log' ? 'goes on after a failed fdatasync' : null;
  if (met === 'none') return `ended (${exit.code ?? exit.signal ?? ''}) though no fdatasync failed`;
  if (exit.code === 1 && complaintCount === 1) return null;
  return `did not stop with one clear line after a failed fdatasync (exit ${exit.code ?? ''})`;
}

function slowDisk({cluster, prng, free: [node]}: FaultScene): Promise<Strike | null> {
  if (node === undefined) return Promise.resolve(null);
  const delayMs = prng.integer({min: 20, max: 400});
  const trace = new SyncTrace(node, cluster.scratch('traces'), `delay_exit=${delayMs * 1000}`);
  let hasStruck = false;
  return Promise.resolve({
    what: `fdatasync of ${node.id} takes ${delayMs} ms more`,
    victims: [node],
    undo: async () => {
      hasStruck = (await trace.end()) === 'log';
    },
    hasStruck: () => hasStruck,
  });
}

/**
 * A bit of an acknowledged record in the last segment changes while the node is down. It must
 * refuse to start, and say where; then it gets its bytes back.
 */
async function flipBit(scene: FaultScene): Promise<Strike | null> {
  const {
    cluster,
    prng,
    free: [node],
  } = scene;
  if (node === undefined) return null;
  await cluster.kill(node);
  const undo = starting(cluster, [node]);
  const victims = [node];
  const batches = walBatches(cluster.dataOf(node));
  // Everything before the last mark but one is known to be durable.
  const marks = batches.flatMap((batch, i) => (batch.entryCount === 0 ? [i] : []));
  const lastPath = batches.at(-1)?.path;
  const durable = batches
    .slice(0, marks.at(-2) ?? 0)
    .filter(batch => batch.path === lastPath && batch.entryCount > 0);
  const batch = durable[prng.integer({min: 0, max: Math.max(0, durable.length - 1)})];
  if (batch === undefined) {
    const what = `kill -9 ${node.id} (nothing to damage)`;
    return {what, victims, undo, hasStruck: () => false};
  }
  const intact = readFileSync(batch.path);
  const at = batch.offset + prng.integer({min: 0, max: batch.sizeBytes - 9});
  const damaged = Buffer.from(intact);
  damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << prng.integer({min: 0, max: 7})), at);
  writeFileSync(batch.path, damaged);
  const exit = await node.runToExit(cluster.flagsOf(node), 15_000);
  const [line = ''] = node.complaints();
  if (exit.code !== 1 || !line.includes('at byte')) {
    const copy = `${cluster.scratch('damaged')}/${node.id}-${at}.wal`;
    writeFileSync(copy, damaged);
    cluster.problems.push(
      `${node.id} with a bit flipped at byte ${at} of ${batch.path} (copy: ${copy}) ` +
        `did not refuse to start: exit ${exit.code ?? exit.signal ?? ''} ${line}`,
    );
  }
  writeFileSync(batch.path, intact);
  return {what: `a bit flipped in the log of ${node.id}, then restored`, victims, undo};
}

export function shuffled<T>(items: readonly T[], prng: Prng): T[] {
  return items
    .map(item => ({item, order: prng.uint32()}))
    .sort((a, b) => a.order - b.order)
    .map(({item}) => item);
}
