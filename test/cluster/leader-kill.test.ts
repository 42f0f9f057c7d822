import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Cluster} from './cluster.ts';
import {Workload} from './workload.ts';

/** An election takes some 300 ms; the rest is for a machine that does other things as well. */
const recoveryMsMax = 10_000;

test(
  'kill -9 of the leader under load loses nothing, three times over',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t, {hasDefaultElections: true});
    const workload = new Workload({nodes: cluster.nodes}).start();
    for (let round = 0; round < 3; round++) {
      await workload.progress(300);
      const leader = await cluster.leader();
      await leader.kill9();
      const survivors = cluster.nodes.filter(node => node !== leader);
      const next = await cluster.leader(survivors, recoveryMsMax);
      assert.notEqual(next, leader);
      await workload.progress(1, recoveryMsMax);
      await workload.progress(100);
      await cluster.restart(leader);
    }
    await workload.progress(100);
    await workload.stop();
    await cluster.assertSameState();
    await workload.assertAllPresent(cluster.nodes);
    workload.assertLinearizable();
  },
);
