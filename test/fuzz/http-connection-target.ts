/**
 * The bytes of an HTTP connection, against a real server on a loopback socket over the fake
 * service. Whatever arrives, every answer is well-formed and one of the table, no more is written
 * than was answered with success, and the server goes on.
 */
import {STATUS_CODES} from 'node:http';
import fc from 'fast-check';
import {assert} from '../../src/base/assert.ts';
import {errorTable, isErrorCode} from '../../src/base/errors.ts';
import type {Service} from '../../src/node/service.ts';
import {put, transaction} from '../contract/commands.ts';
import {FakeService} from '../contract/fake-service.ts';
import {HttpFixture} from '../contract/http-fixture.ts';
import type {Manners} from './conversation.ts';
import {Conversation, answersOf, manners, nextTurn} from './conversation.ts';
import type {Damage} from './damage.ts';
import {damaged, maybeDamages} from './damage.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {openedTarget} from './fuzz-target.ts';

interface Request {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly string[];
  readonly body: Uint8Array | string | null;
  readonly isChunked: boolean;
}

interface ConnectionInput {
  readonly requests: readonly Request[];
  /** What follows the requests. */
  readonly tail: string;
  readonly damage: Damage;
  readonly manners: Manners;
}

const targets = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      '/kv/a',
      '/kv/a%2Fb',
      '/kv/%FF',
      '/kv',
      '/kv?prefix=a&limit=2',
      '/kv?start=a&end=b',
      '/compact',
      '/status',
      '/livez',
      '/metrics',
      '/txn',
      '/lease/1/keepalive',
      '*',
    ),
  },
  {weight: 1, arbitrary: fc.webPath().map(path => (path === '' ? '/' : path))},
);
const headers = fc.constantFrom(
  'If-Match: "2"',
  'If-None-Match: *',
  'Idempotency-Key: a',
  'Accept: application/octet-stream',
  'Origin: http://evil.example',
  'Expect: 100-continue',
  'Connection: close',
  'Upgrade: h2c',
  'Content-Type: text/plain',
  'X: y',
);
const jsonBodies = fc.oneof(
  fc
    .record({key: fc.string({minLength: 1}), value: fc.string()})
    .map(fields => JSON.stringify(fields)),
  fc.nat(9).map(revision => JSON.stringify({revision})),
  fc.json({maxDepth: 2}),
);

/** Such as a client sends. */
const usualRequests: fc.Arbitrary<Request> = fc
  .record({
    line: fc.constantFrom(
      ['GET', '/kv/a'],
      ['GET', '/kv'],
      ['GET', '/kv?prefix=a&limit=1'],
      ['GET', '/status'],
      ['HEAD', '/kv/a'],
      ['OPTIONS', '/kv'],
      ['PUT', '/kv/a'],
      ['PUT', '/kv/b%2F'],
      ['DELETE', '/kv/a'],
      ['DELETE', '/kv?prefix=b'],
    ),
    headers: fc.array(headers, {maxLength: 1}),
    value: fc.uint8Array({maxLength: 60}),
    isChunked: fc.boolean(),
  })
  .map(({line: [method = '', target = ''], headers: lines, value, isChunked}) => ({
    method,
    target,
    headers: lines,
    body: method === 'PUT' ? value : null,
    isChunked,
  }));

const oddRequests: fc.Arbitrary<Request> = fc.record({
  method: fc.oneof(
    {weight: 8, arbitrary: fc.constantFrom('GET', 'PUT', 'PUT', 'DELETE', 'POST', 'HEAD')},
    {weight: 1, arbitrary: fc.constantFrom('OPTIONS', 'CONNECT', 'TRACE', 'PATCH', 'get')},
  ),
  target: targets,
  headers: fc.array(headers, {maxLength: 3}),
  body: fc.oneof(fc.constant(null), jsonBodies, fc.uint8Array({maxLength: 60})),
  isChunked: fc.boolean(),
});

const inputs: fc.Arbitrary<ConnectionInput> = fc.record({
  requests: fc.array(fc.oneof(usualRequests, oddRequests), {minLength: 1, maxLength: 3}),
  tail: fc.oneof(
    {weight: 3, arbitrary: fc.constant('')},
    {weight: 1, arbitrary: fc.constantFrom('garbage\r\n\r\n', '\u0016\u0003\u0001', 'GET /kv HT')},
  ),
  damage: maybeDamages,
  manners,
});

function requestBytes({method, target, headers: lines, body, isChunked}: Request): Buffer {
  const head = [`${method} ${target} HTTP/1.1`, 'Host: localhost', ...lines];
  if (body === null) return Buffer.from(`${head.join('\r\n')}\r\n\r\n`);
  const bytes = Buffer.from(body);
  if (!isChunked) {
    head.push(`Content-Length: ${bytes.length}`);
    return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), bytes]);
  }
  head.push('Transfer-Encoding: chunked');
  const chunk = bytes.length === 0 ? '' : `${bytes.length.toString(16)}\r\n`;
  const end = bytes.length === 0 ? '0\r\n\r\n' : '\r\n0\r\n\r\n';
  return Buffer.concat([
    Buffer.from(`${head.join('\r\n')}\r\n\r\n${chunk}`),
    bytes,
    Buffer.from(end),
  ]);
}

function connectionBytes(input: ConnectionInput): Buffer {
  return damaged(
    Buffer.concat([...input.requests.map(requestBytes), Buffer.from(input.tail)]),
    input.damage,
  );
}

function checkProblem(status: number, body: string): void {
  const problem = JSON.parse(Buffer.from(body, 'latin1').toString('utf8')) as {code?: unknown};
  assert(typeof problem.code === 'string' && isErrorCode(problem.code), 'a code of the table');
  assert(errorTable[problem.code].status === status, `${problem.code} with status ${status}`);
  assert(status < 500, `${problem.code} for a request`);
}

/** A service that begins anew with every case, so that a case alone decides what happens in it. */
class FreshService implements Service {
  #inner = new FakeService();

  get store(): FakeService['store'] {
    return this.#inner.store;
  }

  /** Empty but for the keys that requests name. */
  renew(): void {
    this.#inner = new FakeService();
    for (const key of ['a', 'b/', 'a/b']) {
      const success = [put(key, 'value')];
      this.#inner.store.apply({idempotency: null, body: transaction({success})});
    }
  }

  propose(...parameters: Parameters<Service['propose']>): void {
    this.#inner.propose(...parameters);
  }

  read(...parameters: Parameters<Service['read']>): void {
    this.#inner.read(...parameters);
  }

  backup(...parameters: Parameters<Service['backup']>): void {
    this.#inner.backup(...parameters);
  }

  changeCluster(...parameters: Parameters<Service['changeCluster']>): void {
    this.#inner.changeCluster(...parameters);
  }

  status(): ReturnType<Service['status']> {
    return this.#inner.status();
  }

  leader(): ReturnType<Service['leader']> {
    return this.#inner.leader();
  }

  members(): ReturnType<Service['members']> {
    return this.#inner.members();
  }

  notReady(): ReturnType<Service['notReady']> {
    return this.#inner.notReady();
  }
}

async function checkConnection(
  http: HttpFixture,
  service: FreshService,
  input: ConnectionInput,
): Promise<Verdict> {
  service.renew();
  const {store} = service;
  const revision = store.revision();
  const received = await new Conversation(http.socket()).hold(
    connectionBytes(input),
    input.manners,
  );
  // A write that was under way when the client hung up is applied in a later turn.
  await nextTurn();
  const answers = answersOf(received);
  for (const {status, head, body, isWhole} of answers) {
    const hasLength = /\r\nContent-Length: [0-9]+/.test(head);
    assert(hasLength || status === 204 || status === 304, 'an answer has a length');
    if (status >= 400 && isWhole) checkProblem(status, body);
  }
  const successCount = answers.filter(({status}) => status === 200).length;
  const changeCount = store.revision() - revision;
  // The one whose answer was under way when the client hung up; a reset may lose others.
  const isPolite = input.manners.hangUp === 'end';
  assert(
    !isPolite || changeCount <= successCount + 1,
    `${changeCount} changes, ${successCount} answers with success`,
  );
  // An answer that closes the connection comes behind those of all writes before it, and no
  // request behind it is worked on (RFC 9112, section 9.6).
  const last = answers.at(-1);
  if (isPolite && last?.isWhole === true && /\r\nConnection: close/i.test(last.head)) {
    const {status, head} = last;
    // Answers to what never became a request have reasons of their own.
    const isRequest = head.startsWith(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`);
    const what = isRequest
      ? 'a write behind a closing answer is carried out'
      : 'a refusal of bytes stands in the place of the answer to a write';
    assert(changeCount <= successCount, what);
  }
  if (isPolite && input.damage.length === 0 && input.tail === '' && input.requests.length === 1) {
    const [request] = input.requests;
    const isSilent = request?.headers.includes('Expect: 100-continue') === true;
    assert(answers.length === 1 || isSilent, `${answers.length} answers to one request`);
    assert(changeCount <= successCount, 'a refused request has changed the store');
  }
  assert(http.api.bufferSizeBytes() === 0, 'memory is given back');
  http.observations.length = 0;
  return answers.some(({status}) => status < 400) ? 'accepted' : 'refused';
}

export const httpConnectionTarget: FuzzTarget = openedTarget<ConnectionInput>(
  {name: 'http-connection', share: 1},
  async () => {
    const service = new FreshService();
    const http = new HttpFixture({service});
    await new Promise<void>((resolve, reject) => {
      http.api.start(error => {
        if (error === null) resolve();
        else reject(error);
      });
    });
    return {
      inputs,
      bytesOf: connectionBytes,
      check: input => checkConnection(http, service, input),
      close: () => http.stop(),
    };
  },
);
