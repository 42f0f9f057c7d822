/**
 * Watches on real processes: through kill -9 of the node that tells them, a move to another node
 * and back to the restarted one, they tell everything once, in order.
 */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {atEnd} from './at-end.ts';
import {Client, json} from './client.ts';
import {Cluster} from './cluster.ts';
import {WatchClient} from './watch-client.ts';

interface Answer {
  readonly revision: number;
}

test(
  'a watch goes on through kill -9 of its node, at another one and back',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t, {hasDefaultElections: true});
    const ports = cluster.nodes.map(node => node.httpPort);
    const [first = 0, second = 0, third = 0] = ports;
    const clients = ports.map(port => new Client(port));
    atEnd(t, () => {
      for (const client of clients) client.close();
    });
    const follow = (at: readonly number[], from: number): WatchClient => {
      const watch = new WatchClient(at, 'prefix=w', from);
      atEnd(t, () => watch.close());
      return watch;
    };
    const acknowledged = new Set<number>();
    let newest = 1;
    let writeCount = 0;
    /** Transactions of two keys that a watch asks for and one that it does not. */
    const write = async (at: readonly number[], count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const n = writeCount++;
        const client = clients[ports.indexOf(at[n % at.length] ?? 0)];
        const success = [
          {put: {key: `w${n % 7}`, value: `${n}`}},
          {put: {key: 'other', value: `${n}`}},
          n % 3 === 0 ? {delete: {key: `wx${(n / 3) % 5}`}} : {put: {key: `wx${n % 5}`, value: ''}},
        ];
        const outcome = await client?.try('POST', '/txn', {body: JSON.stringify({success})});
        if (outcome?.type !== 'ok') continue;
        newest = json<Answer>(outcome.reply).revision;
        acknowledged.add(newest);
      }
    };

    const watch = follow([first, second, third], 2);
    await write(ports, 60);
    await watch.reach(newest);
    const [victim, ...others] = cluster.nodes;
    assert.ok(victim !== undefined);
    const writing = write(ports, 60);
    await victim.kill9();
    await writing;
    await cluster.leader(others);
    await write([second, third], 60);
    await watch.reach(newest);
    assert.ok(watch.connectionCount >= 2);

    await cluster.restart(victim);
    watch.move([first]);
    await write([second, third], 40);
    await watch.reach(newest);

    const told = watch.events.map(({revision}) => revision);
    assert.deepEqual(
      told,
      told.toSorted((a, b) => a - b),
    );
    for (const revision of acknowledged) assert.ok(told.includes(revision), `${revision}`);
    // Whoever reads the whole history anywhere is told the same.
    for (const port of ports) {
      const whole = follow([port], 2);
      await whole.reach(newest);
      assert.deepEqual(whole.events, watch.events);
    }
  },
);
