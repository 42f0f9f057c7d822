import assert from 'node:assert/strict';
import {createServer} from 'node:net';
import type {AddressInfo} from 'node:net';
import {test, type TestContext} from 'node:test';
import {
  cut,
  hang,
  json,
  problem,
  record,
  ScriptedServer,
  type Step,
  written,
} from '../../test/client/scripted-server.ts';
import {Client} from './client.ts';
import {isClientError, type ClientError, type ClientErrorCode} from './client-error.ts';
import type {ConnectOptions} from './client-options.ts';
import {SendError, type HttpAnswer, type HttpSender} from './http-sender.ts';
import {connect} from './node-client.ts';

function client(
  t: TestContext,
  servers: readonly (ScriptedServer | string)[],
  options: Partial<ConnectOptions> = {},
): Client {
  const endpoints = servers.map(server => (typeof server === 'string' ? server : server.endpoint));
  const made = connect({endpoints, timeoutMs: 5_000, ...options});
  t.after(() => made.close());
  return made;
}

async function failure(
  promise: Promise<unknown>,
  code: ClientErrorCode,
  outcome: 'definite' | 'unknown',
): Promise<ClientError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(isClientError(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.equal(error.outcome, outcome, error.message);
    return error;
  }
  throw new Error(`no ${code}`);
}

for (const status of [204, 301, 308]) {
  test(`an answer of status ${status} is nobody's record: another node is asked`, async t => {
    const proxy = await ScriptedServer.start(t, answerOf(status));
    const node = await ScriptedServer.start(t, record);
    assert.equal((await client(t, [proxy, node]).get('k'))?.value, 'v');
    assert.deepEqual([proxy.seen.length, node.seen.length], [1, 1]);
    const alone = await ScriptedServer.start(
      t,
      ...Array.from({length: 50}, () => answerOf(status)),
    );
    const asked = client(t, [alone], {timeoutMs: 1_000}).get('k');
    assert.equal((await failure(asked, 'UNEXPECTED_ANSWER', 'definite')).status, status);
  });
}

function answerOf(status: number): Step {
  return response => response.writeHead(status, {Location: 'https://elsewhere.example/'}).end();
}

/** A client whose writes are answered by `answer`, without a network. */
function answeredClient(t: TestContext, answer: () => Promise<HttpAnswer>): Client {
  const opened = {status: 200, header: () => null, body: '{"id":"s1","ttl":600}'};
  const sender: HttpSender = {
    send: (_, {target}) => (target.startsWith('/session') ? Promise.resolve(opened) : answer()),
    open: () => Promise.reject(new Error('no streams here')),
    close: () => undefined,
  };
  const nowMs = (): number => performance.now();
  const made = new Client({endpoints: 'node:1'}, {sender, nowMs, random: () => 0.5});
  t.after(() => made.close());
  return made;
}

function refusal(status: number, code: string, retryAfter: string | null = null): HttpAnswer {
  const body = JSON.stringify({code, detail: 'not now', outcome: 'definite'});
  return {status, header: () => retryAfter, body};
}

/** An endpoint at which nobody listens. */
async function deadEndpoint(): Promise<string> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const {port} = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return `127.0.0.1:${port}`;
}

test('a write that certainly did nothing goes to the next endpoint, under the same key', async t => {
  const first = await ScriptedServer.start(t, problem('NO_LEADER'));
  const second = await ScriptedServer.start(t, written);
  const result = await client(t, [first, second]).put('k', 'v');
  assert.deepEqual(result, {revision: 2, version: 1});
  assert.equal(first.seen.length, 1);
  assert.deepEqual(first.keys(), second.keys());
  assert.equal(String(second.seen[0]?.body), 'v');
});

for (const [what, step] of [
  ['a node answers that it may have happened', problem('OUTCOME_UNKNOWN')],
  ['a node fails', problem('INTERNAL')],
  ['the connection is cut', cut],
  ['no answer comes', hang],
  ['something else than a node answers', json({oops: true}, 502)],
] as const) {
  test(`when ${what}, a write is sent again under the same key`, async t => {
    const first = await ScriptedServer.start(t, step);
    const second = await ScriptedServer.start(t, written);
    await client(t, [first, second], {attemptTimeoutMs: 1_000}).put('k', 'v');
    assert.equal(first.seen.length, 1);
    assert.deepEqual(first.keys(), ['s1/1']);
    assert.deepEqual(second.keys(), first.keys());
  });

  test(`when ${what}, a read is sent again`, async t => {
    const first = await ScriptedServer.start(t, step);
    const second = await ScriptedServer.start(t, record);
    const read = await client(t, [first, second], {attemptTimeoutMs: 1_000}).get('k');
    assert.equal(read?.value, 'v');
    assert.deepEqual([...first.keys(), ...second.keys()], [undefined, undefined]);
  });
}

test('each write has a key of its own', async t => {
  const server = await ScriptedServer.start(t, written, written, written);
  const made = client(t, [server]);
  await made.put('k', 'v');
  await made.put('k', 'v');
  await made.put('k', 'v');
  assert.equal(new Set(server.keys()).size, 3);
});

test('the endpoint that works is kept', async t => {
  const second = await ScriptedServer.start(t, written, written, record);
  const made = client(t, [await deadEndpoint(), second]);
  await made.put('k', 'v');
  await made.put('k', 'v');
  assert.equal((await made.get('k'))?.value, 'v');
});

test('endpoints are tried in turn until one works', async t => {
  const second = await ScriptedServer.start(t, problem('STARTING'));
  const third = await ScriptedServer.start(t, problem('STOPPING'));
  const fourth = await ScriptedServer.start(t, problem('DIVERGED'));
  const fifth = await ScriptedServer.start(t, written);
  await client(t, [await deadEndpoint(), second, third, fourth, fifth]).put('k', 'v');
});

test('the only endpoint is asked again after a pause', async t => {
  const server = await ScriptedServer.start(t, problem('NO_LEADER'), cut, written);
  await client(t, [server]).put('k', 'v');
  assert.equal(new Set(server.keys()).size, 1);
});

test('an overloaded node is asked again itself, not before it said', async t => {
  const busy = problem('OVERLOADED', {headers: {'Retry-After': '1'}});
  const first = await ScriptedServer.start(t, busy, written);
  const second = await ScriptedServer.start(t);
  const startedAtMs = performance.now();
  await client(t, [first, second]).put('k', 'v');
  assert.ok(performance.now() - startedAtMs >= 990);
  assert.equal(first.seen.length, 2);
});

test('a refusal that will not change is not sent again', async t => {
  const server = await ScriptedServer.start(t, problem('KEY_TOO_LONG'));
  const error = await failure(client(t, [server]).put('k', 'v'), 'KEY_TOO_LONG', 'definite');
  assert.equal(error.status, 400);
  assert.equal(error.endpoint, server.endpoint);
});

test('a committed refusal settles what became of earlier attempts', async t => {
  const server = await ScriptedServer.start(t, cut, problem('PRECONDITION_FAILED'));
  const put = client(t, [server]).put('k', 'v', {ifAbsent: true});
  await failure(put, 'PRECONDITION_FAILED', 'definite');
});

test('any other refusal leaves an unknown outcome unknown', async t => {
  const server = await ScriptedServer.start(t, cut, problem('CROSS_ORIGIN'));
  await failure(client(t, [server]).put('k', 'v'), 'CROSS_ORIGIN', 'unknown');
});

test('at the deadline a write that was never sent is definite', async t => {
  const put = client(t, [await deadEndpoint()], {timeoutMs: 200}).put('k', 'v');
  await failure(put, 'NO_ENDPOINT', 'definite');
});

test('at the deadline a write that was refused each time is definite', async t => {
  const made = answeredClient(t, () => Promise.resolve(refusal(503, 'NO_LEADER')));
  await failure(made.put('k', 'v', {timeoutMs: 1_000}), 'NO_LEADER', 'definite');
});

test('at the deadline a write that may have happened is unknown, whatever came later', async t => {
  let count = 0;
  const made = answeredClient(t, () => {
    count += 1;
    return count === 1
      ? Promise.reject(new SendError('cut', 'cut', {mayHaveArrived: true}))
      : Promise.resolve(refusal(503, 'NO_LEADER'));
  });
  await failure(made.put('k', 'v', {timeoutMs: 1_000}), 'NO_LEADER', 'unknown');
  assert.ok(count > 1);
  const silent = await ScriptedServer.start(t, hang);
  const second = client(t, [silent], {timeoutMs: 1_000}).put('k', 'v');
  await failure(second, 'OUTCOME_UNKNOWN', 'unknown');
});

test('at the deadline a read is definite', async t => {
  const server = await ScriptedServer.start(t, hang);
  await failure(client(t, [server], {timeoutMs: 100}).get('k'), 'NO_ENDPOINT', 'definite');
});

test('a call may have its own deadline, and the server gives up before it', async t => {
  const server = await ScriptedServer.start(t, written);
  await client(t, [server]).put('k', 'v', {timeoutMs: 4_000});
  const {timeoutMs} = server.seen[0] ?? {};
  assert.ok(
    timeoutMs !== null && timeoutMs !== undefined && timeoutMs < 4_000 && timeoutMs > 2_000,
  );
});

test('a signal that has fired sends nothing', async t => {
  const server = await ScriptedServer.start(t);
  const put = client(t, [server]).put('k', 'v', {signal: AbortSignal.abort('why')});
  const error = await failure(put, 'ABORTED', 'definite');
  assert.equal(error.cause, 'why');
});

test('a signal ends a write under way with an unknown outcome, a read with a definite one', async t => {
  const server = await ScriptedServer.start(t, hang, hang);
  const made = client(t, [server]);
  const controller = new AbortController();
  const put = made.put('k', 'v', {signal: controller.signal});
  const get = made.get('k', {signal: controller.signal});
  await server.whenSeen(2);
  controller.abort();
  await failure(put, 'ABORTED', 'unknown');
  await failure(get, 'ABORTED', 'definite');
});

test('a signal ends the pause between two attempts', async t => {
  const made = answeredClient(t, () => Promise.resolve(refusal(429, 'OVERLOADED', '4')));
  const controller = new AbortController();
  // The answer is taken in by promises alone, so the pause has begun at the next turn.
  setImmediate(() => controller.abort());
  const startedAtMs = performance.now();
  await failure(made.put('k', 'v', {signal: controller.signal}), 'ABORTED', 'definite');
  assert.ok(performance.now() - startedAtMs < 3_000);
});

test('a closed client ends what is under way and sends nothing more', async t => {
  const server = await ScriptedServer.start(t, hang);
  const made = client(t, [server]);
  const put = made.put('k', 'v');
  await server.whenSeen(1);
  void made.close();
  await failure(put, 'CLIENT_CLOSED', 'unknown');
  await failure(made.put('k', 'v'), 'CLIENT_CLOSED', 'definite');
  await failure(made.get('k'), 'CLIENT_CLOSED', 'definite');
});

test('the signal of the client closes it', async t => {
  const server = await ScriptedServer.start(t, hang);
  const controller = new AbortController();
  const get = client(t, [server], {signal: controller.signal}).get('k');
  await server.whenSeen(1);
  controller.abort();
  await failure(get, 'CLIENT_CLOSED', 'definite');
});

test('more calls than connections wait for one, or for their deadline', async t => {
  const steps = Array.from({length: 20}, () => written);
  const server = await ScriptedServer.start(t, ...steps);
  const made = client(t, [server], {connectionCountMax: 2});
  await Promise.all(steps.map(() => made.put('k', 'v')));
  server.more(hang, hang);
  const stuck = [made.get('k'), made.get('k')];
  await server.whenSeen(22);
  await failure(made.put('k', 'v', {timeoutMs: 100}), 'NO_ENDPOINT', 'definite');
  void made.close();
  for (const get of stuck) await failure(get, 'CLIENT_CLOSED', 'definite');
});

test('an answer that is not what the contract says is an error, not a value', async t => {
  const server = await ScriptedServer.start(t, json({key: 'k', value: 7}));
  await failure(client(t, [server]).get('k'), 'UNEXPECTED_ANSWER', 'unknown');
});

test('what no server would take is refused before anything is sent', async t => {
  const server = await ScriptedServer.start(t);
  const made = client(t, [server]);
  await failure(made.put('k', 'v', {lease: '1', ttl: 2}), 'INVALID_ARGUMENT', 'definite');
  await failure(
    made.put('k', 'v', {ifAbsent: true, ifExists: true}),
    'INVALID_ARGUMENT',
    'definite',
  );
  await failure(made.get('\ud800'), 'INVALID_ARGUMENT', 'definite');
  await failure(made.get('k', {timeoutMs: 0}), 'INVALID_ARGUMENT', 'definite');
  const untyped: Readonly<Record<string, () => Promise<unknown>>> = {
    'a number as a value': () => made.put('k', 42 as never),
    'an object as a value': () => made.put('k', {a: 1} as never),
    'no value': () => made.put('k', undefined as never),
    'a list as a key': () => made.get(['k'] as never),
    'no key': () => made.delete(null as never),
    'a text as a range to delete': () => made.deleteRange('users/' as never),
    'no range to delete': () => made.deleteRange(undefined as never),
    'a range with a misspelt name': () => made.deleteRange({prefx: 'users/'} as never),
    'a prefix that is undefined': () => made.deleteRange({prefix: undefined} as never),
    'a promise of a range to delete': () => made.deleteRange(Promise.resolve({}) as never),
    'a map as a range to delete': () => made.deleteRange(new Map([['prefix', 'a/']]) as never),
    'bytes as a range to delete': () => made.deleteRange(new Uint8Array(0) as never),
    'bounds to delete that are undefined': () =>
      made.deleteRange({start: undefined, end: undefined}),
    'a range to delete that says more': () => made.deleteRange({start: 'a', edn: 'b'} as never),
    'a promise of a range to watch': () => made.watch(Promise.resolve({}) as never).start(),
    'a promise of a transaction': () => made.txn(Promise.resolve({}) as never),
    'an operation that is not in a list': () => made.txn({success: {get: {key: 'a'}}} as never),
    'a compare that is null': () => made.txn({compare: null} as never),
    'a misspelt condition': () => made.put('k', 'v', {ifModRevison: 5} as never),
    'a condition that is no number': () => made.put('k', 'v', {ifModRevision: NaN}),
    'a condition that is a text': () => made.delete('k', {ifExists: 'no'} as never),
    'options that are null': () => made.delete('k', null as never),
    'options of a put that are null': () => made.put('k', 'v', null as never),
    'a text as a range to list': () => made.list('users/' as never).all(),
    'a text as a range to count': () => made.count('users/' as never),
    'a text as a range to watch': () => made.watch('users/' as never).start(),
    'a key to watch that is undefined': () => made.watch({key: undefined} as never).start(),
    'a list as a transaction': () => made.txn([] as never),
    'another shape of operation': () =>
      made.txn({success: [{type: 'put', key: 'a', value: 'b'}]} as never),
    'an operation of two': () => made.txn({success: [{get: {key: 'a'}, delete: {key: 'a'}}]}),
    'a put without a value': () => made.txn({success: [{put: {key: 'a'}}]} as never),
    'a compare without a key': () => made.txn({compare: [{}]} as never),
    'a lock without a name': () => made.lock(undefined as never),
  };
  for (const [name, call] of Object.entries(untyped)) {
    await assert.rejects(call, {code: 'INVALID_ARGUMENT', outcome: 'definite'}, name);
  }
  assert.throws(() => connect({endpoints: []}), {code: 'INVALID_ARGUMENT'});
  assert.throws(() => connect({} as never), {code: 'INVALID_ARGUMENT'});
  assert.throws(() => connect({endpoints: [9080]} as never), {code: 'INVALID_ARGUMENT'});
  assert.throws(() => connect({endpoints: 'ftp://host'}), {code: 'INVALID_ARGUMENT'});
  assert.throws(() => connect({endpoints: 'host:1/path'}), {code: 'INVALID_ARGUMENT'});
});
