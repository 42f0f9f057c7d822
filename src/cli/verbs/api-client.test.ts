import assert from 'node:assert/strict';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
} from 'node:http';
import {createServer, type AddressInfo, type Server} from 'node:net';
import {PassThrough} from 'node:stream';
import {test, type TestContext} from 'node:test';
import type {Address} from '../../base/address.ts';
import {ApiClient, ApiError, chunksOf, contentOf} from './api-client.ts';
import {VerbError} from './verb.ts';

test('content that stops coming is given up, however long the reader takes for what came', async t => {
  t.mock.timers.enable({apis: ['setTimeout']});
  const content = new PassThrough();
  const stream = content as unknown as IncomingMessage;
  const chunks = chunksOf({stream}, 1_000);
  content.write('a');
  assert.equal(String((await chunks.next()).value), 'a');
  t.mock.timers.tick(5_000);
  content.write('b');
  assert.equal(String((await chunks.next()).value), 'b');
  const next = chunks.next();
  t.mock.timers.tick(999);
  assert.equal(content.destroyed, false);
  t.mock.timers.tick(1);
  await assert.rejects(next, /nothing came for 1000 ms/);
});

async function listening(t: TestContext, server: Server): Promise<Address> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return {host: '127.0.0.1', port: (server.address() as AddressInfo).port};
}

/** Accepts and never says anything. */
function silentNode(t: TestContext): Promise<Address> {
  const server = createServer(socket => {
    socket.on('error', () => undefined);
    t.after(() => socket.destroy());
  });
  return listening(t, server);
}

function nodeThat(t: TestContext, answer: RequestListener): Promise<Address> {
  const server = createHttpServer((request, response) => {
    if (request.url === '/livez') response.end('{}');
    else answer(request, response);
  });
  return listening(t, server);
}

function leaderless(t: TestContext): Promise<Address> {
  return nodeThat(t, (_request, response) => {
    response.statusCode = 503;
    response.end('{"code":"NO_LEADER","detail":"an election runs","outcome":"definite"}');
  });
}

const nobody: Address = {host: '127.0.0.1', port: 1};
const change = {method: 'POST', path: '/cluster/members', body: '{}'} as const;

test('an endpoint that accepts and says nothing is passed over, also by a write', async t => {
  let target = '';
  const good = await nodeThat(t, (request, response) => {
    target = request.url ?? '';
    response.end('done');
  });
  const client = new ApiClient([await silentNode(t), good]);
  const answer = await client.request({...change, timeoutMs: 600_000});
  assert.equal(String(await contentOf(answer)), 'done');
  assert.equal(target, '/cluster/members?timeout=60000');
});

test('one deadline bounds all endpoints, and the node is told what is left of it', async t => {
  const silent = await Promise.all([silentNode(t), silentNode(t), silentNode(t)]);
  const startedAtMs = performance.now();
  const client = new ApiClient(silent);
  const request = {method: 'GET', path: '/x', timeoutMs: 300} as const;
  await assert.rejects(client.request(request), {code: 'NO_ENDPOINT', outcome: 'definite'});
  // The last one is not passed over.
  await assert.rejects(client.request({...change, timeoutMs: 3_000}), {
    code: 'OUTCOME_UNKNOWN',
    outcome: 'unknown',
  });
  assert.ok(performance.now() - startedAtMs < 8_000);
  const [last] = silent.slice(-1);
  assert.ok(last !== undefined);
  const sent = new ApiClient([last]).request({...change, timeoutMs: 300});
  await assert.rejects(sent, {code: 'OUTCOME_UNKNOWN', outcome: 'unknown'});
});

test('a node that uses all the time it is given leaves time for the next ones', async t => {
  const toldMs: number[] = [];
  const told = (request: IncomingMessage): number => {
    const ms = Number(/timeout=(\d+)/.exec(request.url ?? '')?.[1]);
    toldMs.push(ms);
    return ms;
  };
  const slow = await nodeThat(t, (request, response) => {
    const refuse = (): void => {
      response.statusCode = 503;
      response.end('{"code":"NO_LEADER","detail":"cut off","outcome":"definite"}');
    };
    setTimeout(refuse, told(request));
  });
  const good = await nodeThat(t, (request, response) => {
    told(request);
    response.end('done');
  });
  const client = new ApiClient([slow, good, nobody]);
  const answer = await client.request({...change, timeoutMs: 6_000});
  assert.equal(String(await contentOf(answer)), 'done');
  const [first = 0, second = 0] = toldMs;
  assert.ok(first > 500 && first <= 2_000, `${first} ms`);
  assert.ok(second > 500 && second <= 3_000, `${second} ms`);
});

test('what a node said is kept when the next does not answer', async t => {
  const client = new ApiClient([await leaderless(t), nobody]);
  const request = client.request({...change, timeoutMs: 5_000});
  await assert.rejects(request, (error: unknown) => {
    assert.ok(error instanceof ApiError && error instanceof VerbError);
    assert.equal(error.code, 'NO_LEADER');
    assert.equal(error.outcome, 'definite');
    assert.match(error.message, /an election runs.*ECONNREFUSED/);
    return true;
  });
});

test('a refusal of a write that breaks off ends the attempts', async t => {
  const broken = await nodeThat(t, (_request, response) => {
    response.writeHead(503, {'Content-Length': 100});
    response.write('{', () => response.destroy());
  });
  const client = new ApiClient([broken, nobody]);
  const request = client.request({...change, timeoutMs: 5_000});
  await assert.rejects(request, {code: 'HTTP_503', outcome: 'unknown'});
});
