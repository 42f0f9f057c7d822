import assert from 'node:assert/strict';
import type {IncomingMessage, ServerResponse} from 'node:http';
import {Duplex, Readable} from 'node:stream';
import {test} from 'node:test';
import {FakeService} from '../../../test/contract/fake-service.ts';
import {MachineService} from '../../../test/contract/machine-service.ts';
import {startHttp} from '../../../test/contract/http-fixture.ts';
import {TurnClock} from '../../../test/contract/turn-clock.ts';
import {silentLogger} from '../../base/logger.ts';
import {TurnBudget} from '../../base/turn-budget.ts';
import {BufferBudget} from './buffer-budget.ts';
import {Exchange, type ApiContext} from './exchange.ts';
import {NodeWire} from './node-wire.ts';
import {readBody} from './request-body.ts';
import {readRequestHeaders} from './request-headers.ts';

const chunkSizeBytes = 64 * 1024;
const turnSizeBytes = 4 * chunkSizeBytes;
const limit = {sizeBytesMax: 64 * chunkSizeBytes, code: 'BODY_TOO_LARGE'} as const;

/** A body that has arrived and is handed over as long as somebody reads. */
class ArrivedBody extends Readable {
  readonly method = 'PUT';
  readonly socket = new Duplex();
  takenCount = 0;
  #left: Buffer;

  constructor(bytes: Buffer) {
    super({highWaterMark: chunkSizeBytes});
    this.#left = bytes;
  }

  override _read(): void {
    const chunk = this.#left.subarray(0, chunkSizeBytes);
    this.#left = this.#left.subarray(chunk.length);
    if (chunk.length > 0) this.takenCount++;
    this.push(chunk.length > 0 ? chunk : null);
  }
}

/** A body that comes as the test says. */
class EmittedBody extends ArrivedBody {
  override _read(): void {
    return;
  }
}

function makeContext(clock: TurnClock): ApiContext {
  return {
    service: new FakeService(),
    watches: new MachineService().watches,
    clock,
    logger: silentLogger,
    budget: new BufferBudget(),
    turnBudget: new TurnBudget(clock, turnSizeBytes),
    corsOrigins: new Set(),
    hostNames: new Set(),
    metricsText: () => Promise.resolve(''),
    openApiText: () => '',
    observe: () => undefined,
    isStopping: false,
  };
}

/** `announced`: the Content-Length, or null. */
function exchangeWith(context: ApiContext, body: ArrivedBody, announced: number | null): Exchange {
  const length = announced === null ? [] : ['Content-Length', String(announced)];
  const headers = readRequestHeaders(['Host', 'a', ...length], {mustHaveHost: true});
  // Of request and response the reader of a body uses what a stream has.
  const request = body as unknown as IncomingMessage;
  const response = new Duplex() as unknown as ServerResponse;
  return new Exchange(context, new NodeWire(request, response, context.clock), {
    headers,
    query: '',
    route: '/kv',
    rest: '',
    isHeldBack: false,
  });
}

/** Streams flow in ticks of their own; none is left when the next immediate runs. */
function flow(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

test('large bodies that arrive at once are read and finished over several turns', async () => {
  const clock = new TurnClock();
  const context = makeContext(clock);
  const sizes = Array.from({length: 8}, (_, i) => 6 * chunkSizeBytes + i);
  const finished: Buffer[] = [];
  const bodies = sizes.map((size, i) => {
    const bytes = Buffer.alloc(size, i + 1);
    const body = new ArrivedBody(bytes);
    const exchange = exchangeWith(context, body, i % 2 === 0 ? size : null);
    readBody(exchange, limit, whole => finished.push(Buffer.from(whole)));
    return body;
  });
  const takenCount = (): number => bodies.reduce((sum, body) => sum + body.takenCount, 0);
  let turnCount = 0;
  for (; finished.length < sizes.length; turnCount++) {
    assert.ok(turnCount < 200, 'all is finished in the end');
    const before = {taken: takenCount(), finished: finished.length};
    await flow();
    clock.turn();
    // A reader stops after the chunk that it has, and its stream holds one or two in advance.
    assert.ok(takenCount() - before.taken <= 3 * bodies.length, 'a bounded part is read');
    assert.ok(finished.length - before.finished <= 1, 'one body alone exceeds the budget');
  }
  assert.ok(turnCount > sizes.length, `${turnCount} turns`);
  const order = finished.toSorted((a, b) => a.length - b.length);
  for (const [i, body] of order.entries()) {
    assert.equal(body.length, sizes[i]);
    assert.ok(body.every(byte => byte === i + 1));
  }
  assert.equal(context.budget.totalSizeBytes, 0);
});

test('a small body never waits for large ones', async () => {
  const clock = new TurnClock();
  const context = makeContext(clock);
  context.turnBudget.spend(100 * turnSizeBytes);
  const small = Buffer.from('value');
  let finished: string | null = null;
  readBody(exchangeWith(context, new ArrivedBody(small), small.length), limit, whole => {
    finished = whole.toString();
  });
  await flow();
  assert.equal(finished, 'value');
});

test('large bodies come through whole, of announced length or not', async t => {
  const http = await startHttp(t);
  const sizeBytes = 1_000_000;
  const puts = Array.from({length: 12}, (_, i) => {
    const headers = i % 2 === 0 ? {} : {'Transfer-Encoding': 'chunked'};
    const body = Buffer.alloc(sizeBytes + i, i + 1);
    return http.request('PUT', `/kv/large${i}`, {body, headers});
  });
  for (const {status} of await Promise.all(puts)) assert.equal(status, 200);
  for (let i = 0; i < puts.length; i++) {
    const headers = {Accept: 'application/octet-stream'};
    const {bytes} = await http.request('GET', `/kv/large${i}`, {headers});
    assert.equal(bytes.length, sizeBytes + i);
    assert.ok(bytes.every(byte => byte === i + 1));
  }
  assert.equal(http.api.bufferSizeBytes(), 0);
});

test('a body that comes byte by byte costs no more memory than its bytes', async () => {
  const clock = new TurnClock();
  const context = makeContext(clock);
  const pieceCount = 300_000;
  const body = new EmittedBody(Buffer.alloc(0));
  const exchange = exchangeWith(context, body, null);
  let whole: Buffer | null = null;
  readBody(exchange, limit, bytes => (whole = Buffer.from(bytes)));
  const piece = (i: number): Buffer => Buffer.from([i % 251]);
  const before = process.memoryUsage();
  for (let i = 0; i < pieceCount; i++) body.emit('data', piece(i));
  const after = process.memoryUsage();
  const grown = after.heapUsed + after.external - before.heapUsed - before.external;
  assert.ok(context.budget.totalSizeBytes >= pieceCount, 'what is held is counted');
  assert.ok(context.budget.totalSizeBytes <= 2 * pieceCount);
  body.emit('end');
  clock.turn();
  await flow();
  clock.turn();
  const bytes = whole as Buffer | null;
  assert.ok(bytes?.every((byte, i) => byte === i % 251));
  assert.equal(bytes?.length, pieceCount);
  assert.equal(context.budget.totalSizeBytes, 0);
  assert.ok(grown < 50 * pieceCount, `${grown} bytes`);
});
