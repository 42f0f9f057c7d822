import assert from 'node:assert/strict';
import {test, type TestContext} from 'node:test';
import {
  cut,
  json,
  problem,
  ScriptedServer,
  written,
  type SeenRequest,
  type Step,
} from '../../test/client/scripted-server.ts';
import {Caller} from './call.ts';
import {Client} from './client.ts';
import {Endpoints} from './endpoints.ts';
import type {HttpSender} from './http-sender.ts';
import {connect} from './node-client.ts';
import {SessionKeys} from './session.ts';
import {SocketSender} from './socket-sender.ts';
import type {WriteKey} from './write-keys.ts';

async function scripted(
  t: TestContext,
  ...steps: readonly Step[]
): Promise<{readonly server: ScriptedServer; readonly client: Client}> {
  const server = await ScriptedServer.start(t, ...steps);
  const client = connect({endpoints: server.endpoint, timeoutMs: 3_000});
  t.after(() => client.close());
  return {server, client};
}

function acknowledged(seen: readonly SeenRequest[]): number[] {
  return seen.map(({headers}) => Number(headers['idempotency-acknowledged']));
}

const html: Step = response => response.writeHead(200).end('<html></html>');

/** Keeps each answer until the test gives it. */
class Held {
  readonly give: (() => void)[] = [];
  readonly step: Step = (response, request) => {
    this.give.push(() => written(response, request));
  };
}

test('writes are numbered, and say which answers have arrived', async t => {
  const {server, client} = await scripted(t, written, written, written);
  await client.put('a', '1');
  await client.put('a', '2');
  await client.delete('a').catch(() => undefined);
  assert.deepEqual(server.keys(), ['s1/1', 's1/2', 's1/3']);
  assert.deepEqual(acknowledged(server.seen), [0, 1, 2]);
  assert.equal(server.openedCount, 1);
});

test('writes that begin together share one session', async t => {
  const {server, client} = await scripted(t, written, written, written);
  await Promise.all([client.put('a', '1'), client.put('b', '2'), client.put('c', '3')]);
  assert.deepEqual(server.keys().sort(), ['s1/1', 's1/2', 's1/3']);
  assert.equal(server.openedCount, 1);
});

test('a write has its own time for the session to be opened', async t => {
  const server = await ScriptedServer.start(t);
  server.hasSessions = false;
  server.more(...Array.from({length: 100}, () => problem('NO_LEADER')));
  const client = connect({endpoints: server.endpoint, timeoutMs: 200});
  t.after(() => client.close());
  const put = client.put('a', '1', {timeoutMs: 20_000});
  await assert.rejects(client.put('a', '2'), {outcome: 'definite'});
  await server.whenSeen(server.seen.length + 1);
  server.hasSessions = true;
  server.becomeReady(written);
  await put;
  assert.ok(server.openedCount > 0);
});

test('waiting for a session stops nothing else and asks seldom', async t => {
  const server = await ScriptedServer.start(t);
  server.hasSessions = false;
  server.more(...Array.from({length: 1_000}, () => problem('NO_LEADER')));
  let lookCount = 0;
  const nowMs = (): number => {
    lookCount += 1;
    return performance.now();
  };
  const surroundings = {sender: new SocketSender(1), nowMs, random: Math.random};
  const client = new Client({endpoints: server.endpoint, timeoutMs: 50}, surroundings);
  t.after(() => client.close());
  const startedAtMs = performance.now();
  await assert.rejects(client.put('a', '1', {timeoutMs: 1_500}), {outcome: 'definite'});
  const tookMs = performance.now() - startedAtMs;
  assert.ok(tookMs < 10_000, `its time was over after 1,500 ms, it took ${tookMs}`);
  // A loop that never waits looks at the clock all the while, and nothing else runs.
  assert.ok(lookCount < 200, `it looked at the clock ${lookCount} times`);
  assert.ok(server.seen.length < 50, `${server.seen.length} requests`);
});

test('a write that found no session says what the nodes said', async t => {
  const server = await ScriptedServer.start(t);
  server.hasSessions = false;
  server.more(...Array.from({length: 1_000}, () => problem('NO_LEADER')));
  const expected = {code: 'NO_LEADER', outcome: 'definite'} as const;
  // Its time is that of the opening, or less, or more, which it then spends asking again. Each has
  // a client of its own: one that has just been told so lets the endpoint rest, and a write may
  // end before it asks again.
  const refusals = [2_000, 1_000, 3_000].map(async timeoutMs => {
    const client = connect({endpoints: server.endpoint, timeoutMs: 2_000});
    t.after(() => client.close());
    await assert.rejects(client.put('a', '1', {timeoutMs}), expected);
  });
  await Promise.all(refusals);
});

test('a write that is aborted before it was sent leaves no gap in the numbers', async t => {
  const {server, client} = await scripted(t, written, written, written);
  await client.put('a', '1');
  const controller = new AbortController();
  const aborted = client.put('a', '2', {signal: controller.signal});
  controller.abort();
  await assert.rejects(aborted, {code: 'ABORTED', outcome: 'definite'});
  await client.put('a', '3');
  assert.deepEqual(server.keys(), ['s1/1', 's1/3']);
  assert.deepEqual(acknowledged(server.seen), [0, 2]);
  await client.put('a', '4');
});

test('a write was not sent when it is unknown whether a session was opened for it', async t => {
  const server = await ScriptedServer.start(t);
  server.hasSessions = false;
  server.more(...Array.from({length: 1_000}, () => problem('OUTCOME_UNKNOWN')));
  const client = connect({endpoints: server.endpoint, timeoutMs: 300});
  t.after(() => client.close());
  await assert.rejects(client.put('a', '1'), {code: 'NO_ENDPOINT', outcome: 'definite'});
});

test('a write was not sent when somebody else answers for the nodes', async t => {
  const server = await ScriptedServer.start(t);
  server.hasSessions = false;
  server.more(...Array.from({length: 100}, () => html));
  const client = connect({endpoints: server.endpoint, timeoutMs: 300});
  t.after(() => client.close());
  await assert.rejects(client.put('a', '1'), {code: 'NO_ENDPOINT', outcome: 'definite'});
});

test('an answer is acknowledged only together with all before it', async t => {
  const held = new Held();
  const {server, client} = await scripted(t, held.step, written, written, written);
  const first = client.put('a', '1');
  await server.whenSeen(1);
  await client.put('b', '2');
  await client.put('c', '3');
  held.give[0]?.();
  await first;
  await client.put('d', '4');
  assert.deepEqual(server.keys(), ['s1/1', 's1/2', 's1/3', 's1/4']);
  assert.deepEqual(acknowledged(server.seen), [0, 0, 0, 3]);
});

test('a retry has the number of the first attempt', async t => {
  const {server, client} = await scripted(t, cut, problem('NO_LEADER'), written);
  await client.put('a', '1');
  assert.deepEqual(server.keys(), ['s1/1', 's1/1', 's1/1']);
});

test('a write that was given up is acknowledged: it must not run later', async t => {
  const {server, client} = await scripted(t, () => undefined, written);
  await assert.rejects(client.put('a', '1', {timeoutMs: 1_000}), {outcome: 'unknown'});
  await client.put('b', '2');
  assert.deepEqual(server.keys(), ['s1/1', 's1/2']);
  assert.deepEqual(acknowledged(server.seen), [0, 1]);
});

test('a first attempt in a session that has ended goes out anew in another', async t => {
  const {server, client} = await scripted(t, problem('SESSION_EXPIRED'), written, written);
  await client.put('a', '1');
  await client.put('b', '2');
  assert.deepEqual(server.keys(), ['s1/1', 's2/1', 's2/2']);
});

test('so does one whose earlier attempts certainly did nothing', async t => {
  const steps = [problem('NO_LEADER'), problem('SESSION_EXPIRED'), written];
  const {server, client} = await scripted(t, ...steps);
  await client.put('a', '1');
  assert.deepEqual(server.keys(), ['s1/1', 's1/1', 's2/1']);
});

test('what may have run never runs again in another session', async t => {
  const {server, client} = await scripted(t, cut, problem('SESSION_EXPIRED'), written);
  await assert.rejects(client.put('a', '1'), {code: 'OUTCOME_UNKNOWN', outcome: 'unknown'});
  await client.put('b', '2');
  assert.deepEqual(server.keys(), ['s1/1', 's1/1', 's2/1']);
});

/** The keys alone, over a sender that opens sessions s1, s2, … at once. */
function sessionKeys(): SessionKeys {
  let openedCount = 0;
  const sender: HttpSender = {
    send: () => {
      openedCount += 1;
      const body = JSON.stringify({id: `s${openedCount}`, ttl: 600});
      return Promise.resolve({status: 200, header: () => null, body});
    },
    open: () => Promise.reject(new Error('no streams here')),
    close: () => undefined,
  };
  const surroundings = {
    sender,
    nowMs: () => performance.now(),
    random: () => 0.5,
  };
  const endpoints = new Endpoints('node:1', surroundings);
  const times = {timeoutMs: 60_000, attemptTimeoutMs: 60_000};
  return new SessionKeys(new Caller({endpoints, surroundings, ...times}));
}

const patient = {signal: undefined, timeoutMs: 60_000};

async function takeMany(keys: SessionKeys, count: number): Promise<WriteKey[]> {
  const taken: WriteKey[] = [];
  for (let i = 0; i < count; i++) taken.push(await keys.take(patient));
  return taken;
}

test('no more than 1024 writes run ahead of the first that is not answered', async () => {
  const keys = sessionKeys();
  const [first, second, ...others] = await takeMany(keys, 1024);
  assert.equal(others.at(-1)?.headers()['Idempotency-Key'], 's1/1024');
  const held: WriteKey[] = [];
  const waiting = [keys.take(patient), keys.take(patient)].map(taking =>
    taking.then(key => held.push(key)),
  );
  // The second answer does not move the window, the first moves it by two.
  second?.settle({isAnswered: true});
  await assert.rejects(keys.take({...patient, signal: AbortSignal.timeout(20)}), {code: 'ABORTED'});
  await assert.rejects(keys.take({...patient, timeoutMs: 20}), {outcome: 'definite'});
  assert.equal(held.length, 0);
  first?.settle({isAnswered: true});
  await Promise.all(waiting);
  assert.deepEqual(
    held.map(key => key.headers()),
    ['s1/1025', 's1/1026'].map(key => {
      return {'Idempotency-Key': key, 'Idempotency-Acknowledged': '2'};
    }),
  );
});

test('a session of which no number arrived is left for another', async () => {
  const keys = sessionKeys();
  for (const key of await takeMany(keys, 1024)) key.settle({isAnswered: false});
  assert.equal((await keys.take(patient)).headers()['Idempotency-Key'], 's2/1');
});

test('a client that is closed ends its session', async t => {
  const {server, client} = await scripted(t, written);
  await client.put('a', '1');
  await client.close();
  assert.deepEqual(server.closedSessions, ['s1']);
});

test('a client that never wrote has no session', async t => {
  const row = {key: 'k', value: 'v', createRevision: 2, modRevision: 2, version: 1};
  const {server, client} = await scripted(t, json(row));
  await client.get('k');
  await client.close();
  assert.deepEqual([server.openedCount, server.closedSessions], [0, []]);
});
