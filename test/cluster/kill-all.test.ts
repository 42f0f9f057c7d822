import {test} from 'node:test';
import {Cluster} from './cluster.ts';
import {eventually, pause} from './eventually.ts';
import {Workload} from './workload.ts';

const orders = [
  ['node1', 'node2', 'node3'],
  ['node1', 'node3', 'node2'],
  ['node2', 'node1', 'node3'],
  ['node2', 'node3', 'node1'],
  ['node3', 'node1', 'node2'],
  ['node3', 'node2', 'node1'],
] as const;

test(
  'kill -9 of all three at once under load loses nothing, whatever the order they come back in',
  {timeout: 180_000},
  async t => {
    const cluster = await Cluster.running(t, {hasDefaultElections: true});
    const workloads: Workload[] = [];
    for (const [round, order] of orders.entries()) {
      const workload = new Workload({nodes: cluster.nodes, name: `round${round}`}).start();
      workloads.push(workload);
      await workload.progress(150);
      await Promise.all(cluster.nodes.map(node => node.kill9()));
      const stopped = workload.stop();
      const [first, second, third] = order.map(id => cluster.node(id));
      if (first === undefined || second === undefined || third === undefined) return;
      // The first is up before the second begins, the first two serve before the third begins.
      cluster.start(first);
      await first.waitAlive();
      cluster.start(second);
      await Promise.all([first.waitReady(), second.waitReady()]);
      await workload.assertAllPresent([first, second]);
      await cluster.restart(third);
      await stopped;
      await cluster.assertSameState();
    }
    for (const workload of workloads) {
      await workload.assertAllPresent(cluster.nodes);
      workload.assertLinearizable();
    }
  },
);

test('kill -9 of two of three stops writes without a false answer', {timeout: 120_000}, async t => {
  const cluster = await Cluster.running(t, {hasDefaultElections: true});
  const workload = new Workload({nodes: cluster.nodes}).start();
  await workload.progress(200);
  const [first, second, third] = cluster.nodes;
  if (first === undefined || second === undefined || third === undefined) return;
  await Promise.all([second.kill9(), third.kill9()]);
  await eventually('the last one to follow and lead no more', 10_000, async () =>
    (await first.status()).leader === null ? true : null,
  );
  // Whatever it answered while it led has arrived with the next answer.
  await first.status();
  const acknowledged = workload.writeCount;
  await pause(500);
  if (workload.writeCount !== acknowledged) throw new Error('acknowledged without a majority');
  cluster.start(third);
  await workload.progress(100);
  await cluster.restart(second);
  await workload.stop();
  await cluster.assertSameState();
  await workload.assertAllPresent(cluster.nodes);
  workload.assertLinearizable();
});
