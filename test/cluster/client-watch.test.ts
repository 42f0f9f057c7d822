import assert from 'node:assert/strict';
import {test} from 'node:test';
import {connect} from '../../src/client/node-client.ts';
import type {WatchEvent} from '../../src/client/watch-event.ts';
import {atEnd} from './at-end.ts';
import {Cluster} from './cluster.ts';

const laneCount = 4;
const roundCount = 2;

test(
  'a watch tells everything once and in order while its nodes are killed with -9',
  {timeout: 240_000},
  async t => {
    const cluster = await Cluster.running(t, {hasDefaultElections: true});
    const endpoints = cluster.nodes.map(node => `127.0.0.1:${node.httpPort}`);
    const writer = connect({endpoints, timeoutMs: 30_000, attemptTimeoutMs: 1_000});
    const reader = connect({endpoints, timeoutMs: 30_000});
    atEnd(t, async () => {
      await Promise.all([writer.close(), reader.close()]);
    });
    const watch = reader.watch({prefix: 'lane/'}, {previous: true});
    const begin = await watch.start();
    let isRunning = true;
    const lanes = Array.from({length: laneCount}, async (_, lane) => {
      let count = 0;
      for (; isRunning; count++) {
        const value = String(count);
        // Two keys at one revision: the watch must not tear them apart.
        await writer.txn({
          success: [
            {put: {key: `lane/${lane}/a`, value}},
            {put: {key: `other/${lane}`, value}},
            {put: {key: `lane/${lane}/b`, value}},
          ],
        });
      }
      return count;
    });
    const events: WatchEvent[] = [];
    const watching = (async () => {
      for await (const event of watch) {
        events.push(event);
        if (event.key === 'lane/end') return;
      }
    })();
    for (let round = 0; round < roundCount; round++) {
      const count = events.length;
      while (events.length < count + 20) await Promise.race([writer.get('lane/0/a'), ...lanes]);
      // The node that the watch hangs on, whoever leads.
      const node = cluster.nodes[round % cluster.nodes.length];
      assert.ok(node !== undefined);
      await node.kill9();
      await cluster.restart(node);
    }
    isRunning = false;
    const counts = await Promise.all(lanes);
    const {revision: last} = await writer.put('lane/end', '');
    await watching;

    assert.ok(events.every(event => event.revision > begin && event.revision <= last));
    const order = events.map(event => event.revision);
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    );
    for (const [lane, count] of counts.entries()) {
      for (const name of ['a', 'b']) {
        const own = events.filter(event => event.key === `lane/${lane}/${name}`);
        const values = own.map(event => event.record?.value);
        assert.deepEqual(
          values,
          Array.from({length: count}, (_, i) => String(i)),
        );
        const former = own.map(event => event.previous?.value);
        assert.deepEqual(former, [undefined, ...values.slice(0, -1)]);
      }
    }
    const lasts = events.filter(event => event.isLast).map(event => event.revision);
    assert.deepEqual(lasts, [...new Set(order)], 'each revision has one last event');
  },
);
