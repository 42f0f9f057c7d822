/** Leases on real processes: their end through the loss of the leader, never early. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {atEnd} from './at-end.ts';
import {Client, json} from './client.ts';
import {Cluster} from './cluster.ts';
import {eventually} from './eventually.ts';

const ttlSeconds = 2;
/** An election, the margin, and a machine that does other things as well. */
const lateMsMax = 8_000;

test(
  'leases end after kill -9 of the leader, not early; one that is kept alive stays',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t);
    const leader = await cluster.leader();
    const survivors = cluster.nodes.filter(node => node !== leader);
    const clients = survivors.map(node => new Client(node.httpPort));
    atEnd(t, () => {
      for (const client of clients) client.close();
    });
    const [client, other] = clients;
    assert.ok(client !== undefined && other !== undefined);
    const post = async (path: string, body = ''): Promise<number> =>
      (await client.request('POST', path, {body})).status;
    const isThere = async (key: string): Promise<boolean> =>
      (await other.request('GET', `/kv/${key}`)).status === 200;

    assert.equal(await post('/lease', `{"ttl":${ttlSeconds},"id":"7"}`), 200);
    await client.request('PUT', '/kv/kept?lease=7', {body: 'v'});
    const keys = Array.from({length: 50}, (_, i) => `k${i}`);
    const success = keys.map(key => ({put: {key, value: '', ttl: ttlSeconds}}));
    const put = await client.request('POST', '/txn', {body: JSON.stringify({success})});
    assert.equal(put.status, 200);
    const acknowledgedAtMs = performance.now();
    await leader.kill9();
    await cluster.leader(survivors);
    assert.equal(await post('/lease/7/keepalive'), 200);

    const count = async (): Promise<number> => {
      const reply = await other.request('GET', '/kv?prefix=k&countOnly');
      return json<{readonly count: number}>(reply).count;
    };
    await eventually('the first of them is gone', lateMsMax, async () => {
      assert.equal(await post('/lease/7/keepalive'), 200);
      return (await count()) < keys.length + 1 ? true : null;
    });
    assert.ok(performance.now() - acknowledgedAtMs >= ttlSeconds * 1000);
    await eventually('all of them are gone', lateMsMax, async () => {
      assert.equal(await post('/lease/7/keepalive'), 200);
      return (await count()) === 1 ? true : null;
    });
    assert.ok(await isThere('kept'));
    const keptAtMs = performance.now();
    await eventually('nobody keeps it alive', lateMsMax, async () =>
      (await isThere('kept')) ? null : true,
    );
    assert.ok(performance.now() - keptAtMs >= (ttlSeconds - 1) * 1000);
    await cluster.restart(leader);
    await cluster.assertSameState();
  },
);
