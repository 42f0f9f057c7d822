import assert from 'node:assert/strict';
import {test, type TestContext} from 'node:test';
import {FakeLeases} from '../../test/client/fake-leases.ts';
import {json, problem, ScriptedServer, type Step} from '../../test/client/scripted-server.ts';
import type {Client} from './client.ts';
import {isClientError} from './client-error.ts';
import {connect} from './node-client.ts';

async function withFake(t: TestContext): Promise<{
  readonly client: Client;
  readonly server: ScriptedServer;
  readonly fake: FakeLeases;
}> {
  const fake = new FakeLeases();
  const server = await ScriptedServer.start(t, ...Array.from({length: 500}, () => fake.step));
  const client = connect({endpoints: server.endpoint});
  t.after(() => client.close());
  return {client, server, fake};
}

/** Resolves when `signal` fires. */
function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), {once: true}));
}

function keyOf(fake: FakeLeases, name: string, position: number): string {
  return [...fake.rows.keys()].filter(key => key.startsWith(`${name}/`))[position] ?? '';
}

test('a lease is granted under a key, kept alive, and revoked', async t => {
  const {client, server, fake} = await withFake(t);
  const lease = await client.lease({ttl: 3});
  assert.deepEqual([lease.id, lease.ttl], ['100', 3]);
  assert.equal(server.keys()[0], 's1/1');
  while (fake.keepAliveCount < 2) await server.whenSeen(server.seen.length + 1);
  await lease.revoke();
  assert.equal(fake.leases.size, 0);
  assert.equal(lease.isHeld, false);
  assert.equal(lease.signal.aborted, false, 'what is given up is not lost');
  await lease.revoke();
});

test('the signal fires before the lease can have ended on a node', async t => {
  const {client, fake} = await withFake(t);
  fake.isSilent = true;
  const sentAtMs = performance.now();
  const lease = await client.lease({ttl: 0.5});
  await fired(lease.signal);
  const afterMs = performance.now() - sentAtMs;
  // Timers fire late on a busy machine, and the lease itself knows better.
  assert.ok(afterMs >= 440, `${afterMs} ms`);
  assert.equal(lease.isHeld, false);
  assert.ok(isClientError(lease.signal.reason, 'LEASE_LOST'));
});

test('a lease is not held when its time is over, however late timers are', async t => {
  const {client, fake} = await withFake(t);
  fake.isSilent = true;
  const lease = await client.lease({ttl: 1});
  assert.equal(lease.isHeld, true);
  const until = performance.now() + 1_000;
  // The event loop stands still, and no timer fires.
  while (performance.now() < until);
  assert.equal(lease.isHeld, false);
  assert.equal(lease.signal.aborted, true);
});

test('a lease that a node does not know is lost at once', async t => {
  const {client, fake} = await withFake(t);
  const lease = await client.lease({ttl: 3});
  fake.end(lease.id);
  await fired(lease.signal);
  assert.match(String(lease.signal.reason), /has expired/);
});

test('a keepalive that fails is sent again soon, and elsewhere', async t => {
  const grant = json({id: '7', ttl: 3});
  const first = await ScriptedServer.start(t, grant, problem('STOPPING'));
  const answers: Step[] = Array.from({length: 50}, () => grant);
  const second = await ScriptedServer.start(t, ...answers);
  const client = connect({endpoints: [first.endpoint, second.endpoint]});
  t.after(() => client.close());
  const lease = await client.lease({ttl: 3});
  await second.whenSeen(4);
  assert.equal(lease.isHeld, true);
  await lease.revoke();
  assert.equal(second.targets()[0], 'POST /lease/7/keepalive');
});

test('the keys of a lease are shown as text, or as bytes where they are none', async t => {
  const keys = ['a', {key: '/w==', keyEncoding: 'base64'}];
  const server = await ScriptedServer.start(
    t,
    json({id: '7', ttl: 9, remaining: 8.5, keys, more: true}),
    json({id: '7', ttl: 9, remaining: 8.5, keys: []}),
  );
  const client = connect({endpoints: server.endpoint});
  t.after(() => client.close());
  const shown = {id: '7', ttl: 9, remaining: 8.5};
  const full = {...shown, keys: ['a', Uint8Array.of(0xff)], more: true};
  assert.deepEqual(await client.leaseStatus('7'), full);
  assert.deepEqual(await client.leaseStatus('7'), {...shown, keys: [], more: false});
});

test('without keepAlive the program keeps the lease itself', async t => {
  const {client, fake} = await withFake(t);
  const lease = await client.lease({ttl: 60, keepAlive: false});
  await lease.keepAlive();
  assert.equal(fake.keepAliveCount, 1);
  fake.end(lease.id);
  await assert.rejects(lease.keepAlive(), {code: 'LEASE_NOT_FOUND'});
  assert.equal(lease.signal.aborted, true);
  assert.equal(await client.leaseStatus('7'), null);
});

test(
  'closing the client ends a lease, also one that the program keeps alive',
  {timeout: 10_000},
  async t => {
    const {client} = await withFake(t);
    const lease = await client.lease({ttl: 1_000_000, keepAlive: false});
    const lost = new Promise(resolve => lease.signal.addEventListener('abort', resolve));
    await client.close();
    await lost;
    assert.equal(lease.isHeld, false);
  },
);

test('a lock has one holder at a time, in the order of asking, with growing tokens', async t => {
  const {client, fake} = await withFake(t);
  const order: number[] = [];
  const first = await client.lock('jobs/lock');
  const second = client.lock('jobs/lock').then(lock => {
    order.push(2);
    return lock;
  });
  await fake.whenWatched(1);
  const third = client.lock('jobs/lock').then(lock => {
    order.push(3);
    return lock;
  });
  await fake.whenWatched(2);
  assert.deepEqual(order, []);
  assert.equal(first.isHeld, true);
  await first.release();
  const next = await second;
  assert.deepEqual(order, [2]);
  assert.ok(next.token > first.token);
  const compare = {key: next.key, target: 'createRevision', op: '=', value: next.token};
  assert.deepEqual(next.guard(), compare);
  await next.release();
  const last = await third;
  assert.ok(last.token > next.token);
  await last.release();
  assert.equal(fake.rows.size, 0);
  assert.equal(fake.leases.size, 0);
});

test('a lock that is released here tells whoever works under it, before the next one has it', async t => {
  const {client} = await withFake(t);
  const lock = await client.lock('lock');
  const {signal} = lock;
  const released = lock.release();
  assert.ok(isClientError(signal.reason, 'LEASE_LOST'));
  assert.equal(lock.isHeld, false);
  await released;
  const leadership = await client.election('e').campaign('me');
  assert.equal(leadership.signal.aborted, false);
  await leadership.resign();
  assert.equal(leadership.signal.aborted, true);
});

test('names may be paths: a lock waits for nobody whose name goes on behind its own', async t => {
  const {client} = await withFake(t);
  const inner = await client.lock('jobs/7');
  const outer = await client.lock('jobs');
  assert.equal((await client.election('jobs').leader())?.key, outer.key);
  await outer.release();
  await inner.release();
});

test('who waits for a holder that dies gets the lock when its lease ends', async t => {
  const {client, fake} = await withFake(t);
  const first = await client.lock('lock', {ttl: 30});
  const second = client.lock('lock', {ttl: 30});
  await fake.whenWatched(1);
  fake.end(keyOf(fake, 'lock', 0).slice('lock/'.length));
  const lock = await second;
  assert.ok(lock.token > first.token);
  await lock.release();
});

test('who waits in the middle and leaves wakes the next one to wait for the one before', async t => {
  const {client, fake} = await withFake(t);
  const first = await client.lock('lock', {ttl: 30});
  const controller = new AbortController();
  const second = client.lock('lock', {ttl: 30, signal: controller.signal});
  await fake.whenWatched(1);
  const third = client.lock('lock', {ttl: 30});
  await fake.whenWatched(2);
  controller.abort('changed my mind');
  await assert.rejects(second, {code: 'ABORTED'});
  await fake.whenWatched(3);
  assert.equal(fake.rows.size, 2, 'its place is given up');
  await first.release();
  await (await third).release();
});

test('who waits up to a deadline is told that the lock is held, and leaves the queue', async t => {
  const {client, fake} = await withFake(t);
  const first = await client.lock('lock', {ttl: 30, timeoutMs: 5_000});
  const second = client.lock('lock', {ttl: 30, timeoutMs: 1_000});
  await assert.rejects(second, {code: 'LOCK_HELD', outcome: 'definite'});
  const third = client.election('lock').campaign('c', {ttl: 30, timeoutMs: 1_000});
  await assert.rejects(third, {code: 'LOCK_HELD'});
  assert.equal(fake.rows.size, 1, 'their places are given up');
  await first.release();
  const silent = client.lock('lock', {timeoutMs: 0});
  await assert.rejects(silent, {code: 'INVALID_ARGUMENT'});
});

test('options that locks, elections and watches do not have are refused', async t => {
  const {client, server} = await withFake(t);
  const election = client.election('chief');
  const wrong = {timeout: 5} as object;
  const late = {timeoutMs: 5} as object;
  const refused = {code: 'INVALID_ARGUMENT'};
  await assert.rejects(client.lock('lock', wrong), refused);
  await assert.rejects(election.campaign('a', wrong), refused);
  await assert.rejects(election.observe(late).next(), refused);
  await assert.rejects(client.watch({key: 'a'}, late).start(), refused);
  assert.equal(server.seen.length, 0);
});

test('who loses its lease while waiting hears of it', async t => {
  const {client, fake} = await withFake(t);
  await client.lock('lock', {ttl: 30});
  const second = client.lock('lock', {ttl: 0.6});
  await fake.whenWatched(1);
  fake.end(keyOf(fake, 'lock', 1).slice('lock/'.length));
  await assert.rejects(second, {code: 'LEASE_LOST'});
});

test('an election has one leader; the others see who it is and what it proclaims', async t => {
  const {client, fake} = await withFake(t);
  const election = client.election('chief');
  assert.equal(await election.leader(), null);
  const first = await election.campaign('a', {ttl: 30});
  const seen: (string | null)[] = [];
  const observing = (async () => {
    for await (const leader of election.observe()) {
      seen.push(leader?.value ?? null);
      if (seen.length === 3) return;
    }
  })();
  await fake.whenWatched(1);
  const second = election.campaign('b', {ttl: 30});
  await fake.whenWatched(3);
  assert.equal((await election.leader())?.value, 'a');
  await first.proclaim('a2');
  await fake.whenWatched(4);
  await first.resign();
  const leadership = await second;
  await observing;
  assert.deepEqual(seen, ['a', 'a2', 'b']);
  assert.ok(leadership.token > first.token);
  await leadership.resign();
  await assert.rejects(leadership.proclaim('late'), {code: 'LEASE_NOT_FOUND'});
});
