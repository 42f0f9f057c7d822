/**
 * How long nobody can write after the leader dies: kill -9 under writers that ask the survivors
 * again every few milliseconds, until the first acknowledgement of a write that was begun after
 * the death.
 */
import {must} from '../../src/base/assert.ts';
import {median} from '../load/load-figures.ts';
import type {FailoverRow} from '../report/results.ts';
import {delay} from '../systems/poll.ts';
import type {StoreCluster} from '../systems/store-cluster.ts';
import type {BenchContext} from './bench-context.ts';
import {comparedValue} from './workload-plan.ts';

const writerCount = 32;
const retryIntervalMs = 10;
/** A survivor may hold a write back until it knows a leader; the other one is asked meanwhile. */
const attemptTimeoutMs = 100;
const deadlineMs = 20_000;
/** Writing goes on for so long before the kill. */
const leadInMs = 500;
const settleMs = 1_000;

export async function measureFailover(
  context: BenchContext,
  cluster: StoreCluster,
): Promise<FailoverRow> {
  const repetitionCount = context.options.isQuick ? 3 : 10;
  const durationsMs: number[] = [];
  for (let repetition = 0; repetition < repetitionCount; repetition++) {
    const leader = await cluster.leader();
    await delay(settleMs);
    durationsMs.push(await failOver(cluster, leader));
    cluster.startNode(leader);
  }
  await cluster.leader();
  context.say(
    `failover of ${cluster.name}: median ${median(durationsMs).toFixed(0)} ms of ` +
      durationsMs.map(duration => duration.toFixed(0)).join(', '),
  );
  return {store: cluster.name, writerCount, durationsMs};
}

async function failOver(cluster: StoreCluster, leader: number): Promise<number> {
  const survivors = cluster.clientPorts.map((_, node) => node).filter(node => node !== leader);
  let diedAtMs: number | null = null;
  let acknowledgedAtMs: number | null = null;
  let isOver = false;
  const write = async (writer: number): Promise<void> => {
    for (let attempt = writer; !isOver; attempt++) {
      const node = must(survivors[attempt % survivors.length], 'somebody survives');
      const begunAtMs = performance.now();
      const key = `failover-${writer}`;
      const isDone = await cluster.put(node, key, comparedValue, attemptTimeoutMs);
      if (isDone && diedAtMs !== null && begunAtMs >= diedAtMs) {
        acknowledgedAtMs ??= performance.now();
        isOver = true;
      }
      await delay(Math.max(0, retryIntervalMs - (performance.now() - begunAtMs)));
    }
  };
  const writers = Array.from({length: writerCount}, (_, writer) => write(writer));
  await delay(leadInMs);
  const killedAtMs = performance.now();
  await cluster.killNode(leader);
  diedAtMs = performance.now();
  const deadline = setTimeout(() => (isOver = true), deadlineMs);
  await Promise.all(writers);
  clearTimeout(deadline);
  const finishedAtMs = must(acknowledgedAtMs as number | null, 'a write succeeds in time');
  return finishedAtMs - killedAtMs;
}
