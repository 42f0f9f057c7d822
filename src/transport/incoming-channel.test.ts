import assert from 'node:assert/strict';
import {once} from 'node:events';
import {Duplex} from 'node:stream';
import {test} from 'node:test';
import {startsOf} from '../../test/contract/starts.ts';
import {TurnClock} from '../../test/contract/turn-clock.ts';
import {TurnBudget} from '../base/turn-budget.ts';
import {nodeId} from '../raft/ids.ts';
import {FrameWriter} from './frame-writer.ts';
import {IncomingChannel} from './incoming-channel.ts';

const turnSizeBytes = 256 * 1024;
const chunkSizeBytes = 64 * 1024;

/** A socket that hands over what has arrived as long as somebody reads. */
class ArrivedBytes extends Duplex {
  #left: Buffer;

  constructor(bytes: Buffer) {
    super({highWaterMark: chunkSizeBytes});
    this.#left = bytes;
  }

  override _read(): void {
    const chunk = this.#left.subarray(0, chunkSizeBytes);
    this.#left = this.#left.subarray(chunk.length);
    if (chunk.length > 0) this.push(chunk);
  }

  override _write(_chunk: unknown, _encoding: string, callback: () => void): void {
    callback();
  }
}

function open(bytes: Buffer, budget: TurnBudget, onMessage: () => void): ArrivedBytes {
  const socket = new ArrivedBytes(bytes);
  const handshake = {
    clusterId: '0'.repeat(32),
    from: nodeId('node1'),
    to: nodeId('node2'),
    incarnation: '0'.repeat(16),
    starts: startsOf(1),
    listen: 'a:1',
    http: 'a:2',
    log: null,
  };
  const listener = {onContact: () => undefined, onMessage, onClosed: () => undefined};
  const channel = new IncomingChannel({handshake, channel: 'data'}, socket, {listener, budget});
  channel.start(Buffer.alloc(0));
  return socket;
}

/** `count` messages of 64 KiB. */
function bulk(count: number): Buffer {
  const writer = new FrameWriter();
  const command = new Uint8Array(chunkSizeBytes);
  for (let i = 0; i < count; i++) {
    writer.message({type: 'forward', requestId: i, timeoutMs: 1, command});
  }
  return Buffer.concat(writer.take());
}

test('much that arrives at once on several channels is read over several turns', async () => {
  const clock = new TurnClock();
  const budget = new TurnBudget(clock, turnSizeBytes);
  let received = 0;
  const messageCount = 40;
  const sockets = [1, 2].map(() => open(bulk(messageCount), budget, () => received++));
  let turnCount = 0;
  for (; received < 2 * messageCount; turnCount++) {
    assert.ok(turnCount < 100, 'all is read in the end');
    const before = received;
    // Streams flow in ticks of their own; none is left when the next immediate runs.
    await new Promise(resolve => setImmediate(resolve));
    // Each channel may be one chunk late, and a chunk may complete two messages.
    assert.ok((received - before - 4) * chunkSizeBytes <= turnSizeBytes, `${received - before}`);
    clock.turn();
  }
  assert.ok(turnCount >= (2 * messageCount * chunkSizeBytes) / turnSizeBytes / 2);
  for (const socket of sockets) socket.destroy();
});

test('a channel that is closed while it waits stays closed', async () => {
  const clock = new TurnClock();
  const budget = new TurnBudget(clock, chunkSizeBytes);
  let received = 0;
  const socket = open(bulk(40), budget, () => received++);
  await new Promise(resolve => setImmediate(resolve));
  const before = received;
  assert.ok(before < 40);
  const closed = once(socket, 'close');
  socket.destroy();
  await closed;
  clock.turn();
  await new Promise(resolve => setImmediate(resolve));
  assert.equal(received, before);
});
