/** Fills a Rosetta cluster with a number of keys, key-000000000 and on, as fast as it can. */
import {must} from '../../src/base/assert.ts';
import {defaultWorkload} from '../load/wrk-script.ts';
import {runWrk} from '../load/wrk.ts';
import type {RosettaCluster} from '../systems/rosetta-cluster.ts';
import type {BenchContext} from './bench-context.ts';

const connectionCount = 128;
const sliceSecondsMax = 10;
const sliceCountMax = 500;

/** Resolves when the store holds at least `keyCount` keys. */
export async function loadKeys(
  context: BenchContext,
  cluster: RosettaCluster,
  keyCount: number,
): Promise<void> {
  let rate = 20_000;
  for (let slice = 0; slice < sliceCountMax; slice++) {
    const leader = await cluster.leader();
    const {keys} = must(await cluster.status(leader), 'the leader answers');
    if (keys >= keyCount) return;
    const wanted = Math.ceil(((keyCount - keys) * 1.02) / rate);
    const port = must(cluster.clientPorts[leader], 'a leader has a port');
    const durationSeconds = Math.min(sliceSecondsMax, Math.max(1, wanted));
    // The last writes of a slice may not have happened, each connection's at most.
    const firstKey = Math.max(0, keys - connectionCount);
    const figures = await runWrk(
      {port, connectionCount, durationSeconds},
      {...defaultWorkload, body: 'raw', order: 'ascending', keyCount: 2 ** 31, firstKey},
      context.scratchDirectory,
    );
    rate = Math.max(1_000, figures.requestsPerSecond);
  }
  throw new Error(`${keyCount} keys could not be loaded`);
}
