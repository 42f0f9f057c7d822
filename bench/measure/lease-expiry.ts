/** What a load notices of very many leases that end in the same second. */
import {must} from '../../src/base/assert.ts';
import type {LoadFigures} from '../load/load-figures.ts';
import {defaultWorkload} from '../load/wrk-script.ts';
import {runWrk} from '../load/wrk.ts';
import type {LeaseFigures} from '../report/results.ts';
import {httpRequest} from '../systems/http-request.ts';
import {delay} from '../systems/poll.ts';
import type {BenchContext} from './bench-context.ts';

const granterCount = 64;
const connectionCount = 64;
const sliceSeconds = 2;
/** From the first grant to the moment at which all leases end; longer on a slow machine. */
const firstLeadMs = 60_000;
/** The load is measured from so long before that moment. */
const headStartMs = 3_000;
const deadlineMs = 60_000;

export async function measureLeaseExpiry(context: BenchContext): Promise<LeaseFigures> {
  const leaseCount = context.options.isQuick ? 5_000 : 100_000;
  const cluster = await context.rosetta();
  await cluster.start();
  const port = must(cluster.clientPorts[await cluster.leader()], 'a port');
  const load = (durationSeconds: number): Promise<LoadFigures> =>
    runWrk({port, connectionCount, durationSeconds}, defaultWorkload, context.scratchDirectory);
  await load(sliceSeconds);
  const before = await load(3 * sliceSeconds);
  const endsAtMs = performance.now() + (context.options.isQuick ? 15_000 : firstLeadMs);
  await grantAll(port, {leaseCount, endsAtMs});
  const waitMs = endsAtMs - headStartMs - performance.now();
  if (waitMs < 0) throw new Error(`${leaseCount} leases could not be granted in time`);
  await delay(waitMs);

  const slices: LoadFigures[] = [];
  const end: {atMs: number | null} = {atMs: null};
  const watch = async (): Promise<void> => {
    while (performance.now() < endsAtMs + deadlineMs) {
      const answer = await httpRequest(port, {method: 'GET', path: '/lease?limit=1'});
      const isNone = answer?.status === 200 && answer.body.startsWith('{"leases":[]');
      if (isNone) {
        end.atMs = performance.now();
        return;
      }
      await delay(20);
    }
  };
  const run = async (): Promise<void> => {
    while (end.atMs === null && performance.now() < endsAtMs + deadlineMs) {
      slices.push(await load(sliceSeconds));
    }
  };
  await Promise.all([watch(), run()]);
  await cluster.stop();
  const figures: LeaseFigures = {
    leaseCount,
    lateMs: must(end.atMs, 'all leases have ended in time') - endsAtMs,
    errorCount: [before, ...slices].reduce((sum, each) => sum + each.errorCount, 0),
    p99UsBefore: before.p99Us,
    p99UsDuring: Math.max(...slices.map(slice => slice.p99Us)),
    requestsPerSecondBefore: before.requestsPerSecond,
    requestsPerSecondDuring:
      slices.reduce((sum, slice) => sum + slice.requestsPerSecond, 0) / slices.length,
  };
  context.say(
    `leases: ${leaseCount} gone ${Math.round(figures.lateMs)} ms after their time, p99 ` +
      `${(figures.p99UsDuring / 1000).toFixed(1)} ms meanwhile`,
  );
  return figures;
}

/** A key with a lifetime each, so that all of them end at one moment. */
async function grantAll(
  port: number,
  {leaseCount, endsAtMs}: {readonly leaseCount: number; readonly endsAtMs: number},
): Promise<void> {
  let next = 0;
  const grant = async (): Promise<void> => {
    while (next < leaseCount) {
      const key = `lease-${next++}`;
      const ttl = ((endsAtMs - performance.now()) / 1000).toFixed(3);
      if (Number(ttl) < 1) throw new Error(`only ${next} leases were granted in time`);
      const target = {method: 'PUT', path: `/kv/${key}?ttl=${ttl}`, body: 'x'};
      const answer = await httpRequest(port, target);
      if (answer?.status !== 200) throw new Error(`${key}: ${answer?.body ?? 'no answer'}`);
    }
  };
  await Promise.all(Array.from({length: granterCount}, grant));
}
