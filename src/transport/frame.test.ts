import assert from 'node:assert/strict';
import {test} from 'node:test';
import {limits} from '../base/limits.ts';
import {Prng} from '../base/prng.ts';
import {oneOfEach, plain} from '../../test/contract/transport-contract.ts';
import {makeEntry} from '../raft/entry.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import {FrameParser, encodeFrame, framePayloadSizeBytesMax} from './frame.ts';
import {FrameWriter} from './frame-writer.ts';
import type {EncodableMessage} from './message-codec.ts';
import {MessageReader} from './message-reader.ts';

const route = {from: nodeId('node1'), to: nodeId('node2')};

function parse(chunks: readonly Buffer[]): {frames: string[]; problem: string | null} {
  const frames: string[] = [];
  const parser = new FrameParser((kind, payload) => {
    frames.push(`${kind} ${payload.toString('hex')}`);
    return true;
  });
  let problem: string | null = null;
  for (const chunk of chunks) problem = parser.push(chunk);
  return {frames, problem};
}

/** Cuts bytes at random places. */
function shred(bytes: Buffer, prng: Prng): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = prng.integer({min: 1, max: 1 + prng.integer({min: 0, max: bytes.length})});
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

test('frames are the same wherever the stream is cut', () => {
  const stream = Buffer.concat([
    encodeFrame('ping'),
    encodeFrame('messages', Buffer.from('some payload')),
    encodeFrame('ack'),
    encodeFrame('fragment', Buffer.alloc(300, 7)),
    encodeFrame('last-fragment', Buffer.from([1])),
  ]);
  const whole = parse([stream]);
  assert.equal(whole.frames.length, 5);
  assert.equal(whole.problem, null);
  for (let cut = 1; cut < stream.length; cut++) {
    assert.deepEqual(parse([stream.subarray(0, cut), stream.subarray(cut)]), whole);
  }
  assert.deepEqual(parse(Array.from(stream, byte => Buffer.from([byte]))), whole);
});

test('a truncated frame is never delivered', () => {
  const frame = encodeFrame('messages', Buffer.from('payload'));
  for (let size = 0; size < frame.length; size++) {
    assert.deepEqual(parse([frame.subarray(0, size)]), {frames: [], problem: null});
  }
});

test('every flipped bit of a frame is found, or makes the parser wait for more', () => {
  const frame = encodeFrame('messages', Buffer.from('payload'));
  for (let bit = 0; bit < frame.length * 8; bit++) {
    const damaged = Buffer.from(frame);
    damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.deepEqual(parse([damaged]).frames, [], `bit ${bit}`);
  }
});

test('a frame above the bound is refused by its header alone', () => {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(framePayloadSizeBytesMax + 1);
  assert.match(parse([header]).problem ?? '', /^frame of 262145 bytes/);
});

test('after a problem the parser takes nothing more', () => {
  const bad = encodeFrame('messages', Buffer.from('x'));
  bad[8] = 0;
  assert.deepEqual(parse([bad, encodeFrame('ping')]), {frames: [], problem: 'frame checksum'});
});

function read(chunks: readonly Buffer[]): {messages: EncodableMessage[]; problem: string | null} {
  const messages: EncodableMessage[] = [];
  const reader = new MessageReader(route, {
    onPayload: () => undefined,
    onMessage: message => {
      messages.push(message);
      return true;
    },
  });
  for (const chunk of chunks) {
    const problem = reader.push(chunk);
    if (problem !== null) return {messages, problem: problem.reason};
  }
  return {messages, problem: null};
}

test('the messages of a turn share a frame, and large ones get frames of their own', () => {
  const writer = new FrameWriter();
  const hash: EncodableMessage = {type: 'state-hash', index: 1, hash: 'ab'};
  for (let i = 0; i < 10; i++) writer.message(hash);
  const one = Buffer.concat(writer.take());
  assert.equal(parse([one]).frames.length, 1);
  const command = new Uint8Array(600 * 1024).fill(3);
  writer.message(hash);
  writer.message({type: 'forward', requestId: 1, timeoutMs: 2, command});
  writer.message(hash);
  assert.equal(writer.sizeBytes, 2 * (8 + 4 + 11) + 600 * 1024 + 13 + 3 * 8);
  const mixed = Buffer.concat(writer.take());
  assert.equal(writer.sizeBytes, 0);
  assert.equal(parse([mixed]).frames.length, 5);
  const {messages, problem} = read([mixed]);
  assert.equal(problem, null);
  assert.deepEqual(
    messages.map(each => each.type),
    ['state-hash', 'forward', 'state-hash'],
  );
});

test('the data of large messages go out as they are, whatever their size', () => {
  const sizes = [1, 3, 4].flatMap(count => {
    return [-70, -40, -20, -1, 0, 1, 20].map(more => count * framePayloadSizeBytesMax + more);
  });
  for (const size of sizes) {
    const data = new Uint8Array(size).map((_, i) => i % 251);
    const entries = [1, 2, 3].map(index =>
      makeEntry({
        term: term(1),
        index: logIndex(index),
        type: 'command',
        proposedAtMs: 5,
        data: index === 2 ? data : data.subarray(0, 100),
      }),
    );
    const previous = {term: term(0), index: logIndex(0)};
    const append = {type: 'append', ...route, term: term(1), commit: logIndex(0)} as const;
    const sent: EncodableMessage[] = [
      {...append, previous, entries},
      {type: 'forward', requestId: 1, timeoutMs: 2, command: data},
      {type: 'forward-response', requestId: 1, result: data, error: null},
    ];
    const writer = new FrameWriter();
    for (const message of sent) writer.message(message);
    const announcedSizeBytes = writer.sizeBytes;
    const chunks = writer.take();
    const stream = Buffer.concat(chunks);
    assert.ok(stream.length >= announcedSizeBytes);
    if (size > framePayloadSizeBytesMax) {
      const shared = chunks.filter(chunk => chunk.buffer === data.buffer);
      const sharedSizeBytes = shared.reduce((sum, chunk) => sum + chunk.length, 0);
      assert.ok(sharedSizeBytes >= 2 * size, 'entry and command are not copied');
    }
    const {messages, problem} = read([stream]);
    assert.equal(problem, null);
    assert.deepEqual(messages.map(plain), sent.map(plain), `${size} bytes`);
  }
});

test('fragments that never end are cut off at the largest message', () => {
  const fragment = encodeFrame('fragment', Buffer.alloc(framePayloadSizeBytesMax));
  const count = limits.messageSizeBytesMax / framePayloadSizeBytesMax + 1;
  assert.equal(read(Array.from({length: count}, () => fragment)).problem, 'bad-frame');
});

test('a stream of messages survives any cutting, and damage only ever shortens it', () => {
  const prng = new Prng(20_000);
  const sent = oneOfEach(route.from, route.to) as EncodableMessage[];
  const writer = new FrameWriter();
  for (const [i, message] of sent.entries()) {
    writer.message(message);
    if (i % 3 === 0) writer.frame('ping', new Uint8Array(0));
  }
  const stream = Buffer.concat(writer.take());
  const expected = sent.map(each => JSON.stringify(plain(each)));
  for (let i = 0; i < 20_000; i++) {
    const isCutOnly = i % 20 === 0;
    const bytes = isCutOnly ? stream : Buffer.from(stream);
    for (let n = isCutOnly ? 0 : prng.integer({min: 1, max: 4}); n > 0; n--) {
      bytes[prng.integer({min: 0, max: bytes.length - 1})] = prng.integer({min: 0, max: 255});
    }
    const {messages, problem} = read(shred(bytes, prng));
    assert.ok(messages.length <= sent.length);
    if (isCutOnly) {
      assert.equal(problem, null);
      assert.equal(messages.length, sent.length);
    }
    if (i % 100 !== 0) continue;
    const received = messages.map(each => JSON.stringify(plain(each)));
    assert.deepEqual(received, expected.slice(0, received.length));
  }
});
