/**
 * How long a follower takes that is behind the log and needs a snapshot, what the cluster's load
 * loses by it, and what memory both ends of the stream take.
 */
import {must} from '../../src/base/assert.ts';
import type {LoadFigures} from '../load/load-figures.ts';
import {defaultWorkload} from '../load/wrk-script.ts';
import {runWrk} from '../load/wrk.ts';
import type {CatchUpFigures} from '../report/results.ts';
import {delay} from '../systems/poll.ts';
import {rssAnonBytes} from '../systems/process-usage.ts';
import type {RosettaCluster} from '../systems/rosetta-cluster.ts';
import {measureBackup} from './backup.ts';
import type {BenchContext} from './bench-context.ts';
import {loadKeys} from './key-loader.ts';

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
  const load = (durationSeconds: number): Promise<LoadFigures> =>
    runWrk(
      {port: must(cluster.clientPorts[leader], 'a port'), connectionCount, durationSeconds},
      {...defaultWorkload, keyCount},
      context.scratchDirectory,
    );
  const before = await load(baselineSeconds);
  const last = must(await cluster.status(follower), 'the follower answers').lastLogIndex;
  await cluster.killNode(follower);
  await outgrow(cluster, leader, last, () => load(baselineSeconds));

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
  const settledBytes = rssAnonBytes(followerMemory.pid);
  await cluster.stop();
  const rate = during.reduce((sum, each) => sum + each.requestsPerSecond, 0) / during.length;
  const figures: CatchUpFigures = {
    keyCount,
    backup,
    durationMs: must(end.durationMs, 'the follower has caught up in time'),
    requestsPerSecondBefore: before.requestsPerSecond,
    requestsPerSecondDuring: rate,
    errorCount: [before, ...during].reduce((sum, each) => sum + each.errorCount, 0),
    p99UsBefore: before.p99Us,
    p99UsDuring: Math.max(...during.map(each => each.p99Us)),
    senderGrowthBytes: leaderMemory.growthBytes(leaderMemory.firstBytes),
    receiverGrowthBytes: followerMemory.growthBytes(settledBytes),
  };
  context.say(
    `catch-up with ${keyCount} keys: ${(figures.durationMs / 1000).toFixed(1)} s, ` +
      `${Math.round((100 * rate) / before.requestsPerSecond)} % of the load`,
  );
  return figures;
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
