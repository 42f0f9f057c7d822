/**
 * How long a follower takes that is behind the log and needs a snapshot, what the cluster's load
 * loses by it, and what memory both ends of the stream take. Then once more under half of that
 * load: at saturation whatever takes a processor makes everything wait.
 */
import {must} from '../../src/base/assert.ts';
import {runH2load} from '../load/h2load.ts';
import type {LoadFigures} from '../load/load-figures.ts';
import {defaultWorkload} from '../load/wrk-script.ts';
import {runWrk} from '../load/wrk.ts';
import type {CatchUpFigures, HalfLoadFigures} from '../report/results.ts';
import {delay} from '../systems/poll.ts';
import {rssAnonBytes} from '../systems/process-usage.ts';
import type {RosettaCluster} from '../systems/rosetta-cluster.ts';
import {measureBackup} from './backup.ts';
import type {BenchContext} from './bench-context.ts';
import {loadKeys} from './key-loader.ts';
import {rosettaPut} from './workload-plan.ts';

/** So little log is kept that a follower that is down for seconds needs a snapshot. */
const flags = ['-test-wal-segment-size=4194304', '-test-log-retention-size=4194304'];
const connectionCount = 64;
const baselineSeconds = 6;
const sliceSeconds = 2;
const outgrowCountMax = 10;
const deadlineMs = 180_000;
const pollIntervalMs = 50;
/** A follower this close takes part in every write. */
const closeEntryCount = 1_000;

export async function measureCatchUp(context: BenchContext): Promise<CatchUpFigures> {
  const keyCount = context.options.isQuick ? 100_000 : 1_000_000;
  const cluster = await context.rosetta({flags});
  await cluster.start();
  await loadKeys(context, cluster, keyCount);
  const backup = await measureBackup(cluster, context.directory('backup'));
  const leader = await cluster.leader();
  const follower = (leader + 1) % cluster.nodeCount;
  const port = must(cluster.clientPorts[leader], 'a port');
  const saturate: Load = durationSeconds =>
    runWrk(
      {port, connectionCount, durationSeconds},
      {...defaultWorkload, keyCount},
      context.scratchDirectory,
    );
  const scene: Scene = {cluster, leader, follower, saturate};
  const before = await saturate(baselineSeconds);
  const {during, ...whole} = await catchUpUnder(saturate, scene);
  const atHalf = await measureAtHalf(context, scene, before.requestsPerSecond);
  await cluster.stop();
  const rate = during.reduce((sum, each) => sum + each.requestsPerSecond, 0) / during.length;
  const figures: CatchUpFigures = {
    keyCount,
    backup,
    ...whole,
    requestsPerSecondBefore: before.requestsPerSecond,
    requestsPerSecondDuring: rate,
    ...sufferingOf(before, during),
    ...(atHalf === null ? {} : {atHalf}),
  };
  context.say(
    `catch-up with ${keyCount} keys: ${(figures.durationMs / 1000).toFixed(1)} s, ` +
      `${Math.round((100 * rate) / before.requestsPerSecond)} % of the load`,
  );
  return figures;
}

type Load = (durationSeconds: number) => Promise<LoadFigures>;

interface Scene {
  readonly cluster: RosettaCluster;
  readonly leader: number;
  readonly follower: number;
  readonly saturate: Load;
}

/** Null without h2load, which alone keeps a rate. */
async function measureAtHalf(
  context: BenchContext,
  scene: Scene,
  saturatingRate: number,
): Promise<HalfLoadFigures | null> {
  if (!context.has('h2load')) return null;
  const offeredPerSecond = Math.round(saturatingRate / 2);
  const port = must(scene.cluster.clientPorts[scene.leader], 'a port');
  const load: Load = durationSeconds =>
    runH2load(
      {port, connectionCount, durationSeconds, offeredPerSecond},
      rosettaPut,
      context.scratchDirectory,
    );
  const before = await load(baselineSeconds);
  const {durationMs, during} = await catchUpUnder(load, scene);
  return {
    offeredPerSecond,
    durationMs,
    ...sufferingOf(before, during),
  };
}

/** What the load notices. */
function sufferingOf(
  before: LoadFigures,
  during: readonly LoadFigures[],
): Pick<HalfLoadFigures, 'errorCount' | 'p99UsBefore' | 'p99UsDuring'> {
  return {
    errorCount: [before, ...during].reduce((sum, each) => sum + each.errorCount, 0),
    p99UsBefore: before.p99Us,
    p99UsDuring: Math.max(...during.map(each => each.p99Us)),
  };
}

/** Stops the follower until it needs a snapshot, and starts it again under `load`. */
async function catchUpUnder(
  load: Load,
  {cluster, leader, follower, saturate}: Scene,
): Promise<
  Pick<CatchUpFigures, 'durationMs' | 'senderGrowthBytes' | 'receiverGrowthBytes'> & {
    readonly during: readonly LoadFigures[];
  }
> {
  const last = must(await cluster.status(follower), 'the follower answers').lastLogIndex;
  await cluster.killNode(follower);
  await outgrow(cluster, leader, last, () => saturate(baselineSeconds));

  const [leaderPid = 0] = cluster.pids().slice(leader < follower ? leader : leader - 1);
  const leaderMemory = new Peak(leaderPid);
  const startedAtMs = performance.now();
  cluster.startNode(follower);
  const followerMemory = new Peak(must(cluster.pids()[follower], 'it runs'));
  const during: LoadFigures[] = [];
  const end: {durationMs: number | null} = {durationMs: null};
  const watch = async (): Promise<void> => {
    while (end.durationMs === null && performance.now() - startedAtMs < deadlineMs) {
      leaderMemory.sample();
      followerMemory.sample();
      if (await hasCaughtUp(cluster, {leader, follower})) {
        end.durationMs = performance.now() - startedAtMs;
      }
      await delay(pollIntervalMs);
    }
  };
  const slices = async (): Promise<void> => {
    while (end.durationMs === null && performance.now() - startedAtMs < deadlineMs) {
      during.push(await load(sliceSeconds));
    }
  };
  await Promise.all([watch(), slices()]);
  // What the follower holds when all is over is what any follower holds.
  await delay(2_000);
  return {
    during,
    durationMs: must(end.durationMs, 'the follower has caught up in time'),
    senderGrowthBytes: leaderMemory.growthBytes(leaderMemory.firstBytes),
    receiverGrowthBytes: followerMemory.growthBytes(rssAnonBytes(followerMemory.pid)),
  };
}

/** Loads until the leader's log begins behind `index`: whoever ends there needs a snapshot. */
async function outgrow(
  cluster: RosettaCluster,
  leader: number,
  index: number,
  load: () => Promise<unknown>,
): Promise<void> {
  for (let i = 0; i < outgrowCountMax; i++) {
    await load();
    const {lastLogIndex, log} = must(await cluster.status(leader), 'the leader answers');
    if (lastLogIndex - log.entries > index) return;
  }
  throw new Error(`the log still begins before ${index}`);
}

async function hasCaughtUp(
  cluster: RosettaCluster,
  nodes: {readonly leader: number; readonly follower: number},
): Promise<boolean> {
  const [own, first] = await Promise.all([
    cluster.status(nodes.follower).catch(() => null),
    cluster.status(nodes.leader),
  ]);
  if (own === null || first === null || !own.ready) return false;
  return own.appliedIndex + closeEntryCount >= first.commitIndex;
}

/** The most memory a process was seen with. Null where there is no /proc. */
class Peak {
  readonly pid: number;
  readonly firstBytes: number | null;
  #bytes: number | null;

  constructor(pid: number) {
    this.pid = pid;
    this.firstBytes = rssAnonBytes(pid);
    this.#bytes = this.firstBytes;
  }

  sample(): void {
    const bytes = rssAnonBytes(this.pid);
    if (bytes !== null) this.#bytes = Math.max(this.#bytes ?? 0, bytes);
  }

  growthBytes(from: number | null): number | null {
    return from === null || this.#bytes === null ? null : Math.max(0, this.#bytes - from);
  }
}
