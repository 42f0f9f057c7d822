/** The byte stream of a peer connection, cut anywhere and damaged, and the stream of a snapshot. */
import {EventEmitter} from 'node:events';
import type {IncomingMessage, ServerResponse} from 'node:http';
import fc from 'fast-check';
import {assert} from '../../src/base/assert.ts';
import type {Clock} from '../../src/base/clock.ts';
import {checksum} from '../../src/base/checksum.ts';
import {ByteWriter} from '../../src/base/bytes.ts';
import {logIndex, term} from '../../src/raft/ids.ts';
import {emptyMembership} from '../../src/raft/membership.ts';
import {FrameWriter} from '../../src/transport/frame-writer.ts';
import {FrameParser, encodeFrame, framePayloadSizeBytesMax} from '../../src/transport/frame.ts';
import type {FrameKind} from '../../src/transport/frame.ts';
import type {EncodableMessage} from '../../src/transport/message-codec.ts';
import {encodeMessage, findDamagedEntry} from '../../src/transport/message-codec.ts';
import {MessageReader} from '../../src/transport/message-reader.ts';
import {encodeOffer} from '../../src/transport/snapshot-frames.ts';
import {SnapshotReceiver} from '../../src/transport/snapshot-receiver.ts';
import type {Damage} from './damage.ts';
import {damaged, maybeDamages} from './damage.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {pureTarget} from './fuzz-target.ts';
import {mustBeSame} from './same-value.ts';
import {messages, route} from './transport-targets.ts';

const kinds: readonly FrameKind[] = [
  'messages',
  'fragment',
  'last-fragment',
  'ping',
  'ack',
  'snapshot-meta',
  'snapshot-block',
  'snapshot-end',
  'snapshot-position',
  'snapshot-accepted',
  'snapshot-refused',
];

interface Frame {
  readonly kind: FrameKind;
  readonly payload: Uint8Array;
}

interface StreamInput<T> {
  readonly items: readonly T[];
  readonly damage: Damage;
  /** Checksums are corrected after the damage, as a peer with a bug would have them. */
  readonly isSealed: boolean;
  /** Sizes of the pieces the stream arrives in, used in turn. */
  readonly cuts: readonly number[];
}

function streams<T>(items: fc.Arbitrary<T>, maxLength: number): fc.Arbitrary<StreamInput<T>> {
  return fc.record({
    items: fc.array(items, {maxLength}),
    damage: maybeDamages,
    isSealed: fc.boolean(),
    cuts: fc.array(fc.integer({min: 1, max: 200}), {minLength: 1, maxLength: 4}),
  });
}

function* pieces(bytes: Buffer, cuts: readonly number[]): Generator<Buffer> {
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = cuts[turn % cuts.length] ?? 1;
    // As a socket does it: memory of its own for every read.
    yield Buffer.from(bytes.subarray(at, at + size));
    at += size;
  }
}

/** Makes the checksum of every frame right that the headers, damaged as they are, delimit. */
function sealFrames(bytes: Buffer): void {
  let at = 0;
  while (at + 8 <= bytes.length) {
    const word = bytes.readUInt32LE(at);
    const end = at + 8 + (word & 0xff_ffff);
    if (end > bytes.length) return;
    bytes.writeUInt32LE(checksum(bytes.subarray(at + 8, end), word), at + 4);
    at = end;
  }
}

function streamBytes<T>(input: StreamInput<T>, encode: (items: readonly T[]) => Buffer): Buffer {
  const bytes = damaged(encode(input.items), input.damage);
  if (input.isSealed) sealFrames(bytes);
  return bytes;
}

function encodeFrames(items: readonly Frame[]): Buffer {
  return Buffer.concat(items.map(({kind, payload}) => encodeFrame(kind, payload)));
}

const frames: fc.Arbitrary<Frame> = fc.record({
  kind: fc.constantFrom(...kinds),
  payload: fc.uint8Array({maxLength: 80}),
});

function checkFrames(input: StreamInput<Frame>): Verdict {
  const received: Frame[] = [];
  const parser = new FrameParser((kind, payload) => {
    received.push({kind, payload});
    return true;
  });
  let problem: string | null = null;
  let fedSizeBytes = 0;
  for (const piece of pieces(streamBytes(input, encodeFrames), input.cuts)) {
    const before = received.length;
    const hadProblem = problem !== null;
    problem = parser.push(piece);
    fedSizeBytes += piece.length;
    assert(!hadProblem || problem !== null, 'a problem is for ever');
    assert(!hadProblem || received.length === before, 'a frame after a problem');
    assert(parser.payloadByteCount <= fedSizeBytes, 'more payload than bytes');
  }
  if (input.damage.length === 0) {
    mustBeSame(received, input.items, 'the frames');
    assert(problem === null && parser.isAtBoundary, 'a sound stream is taken whole');
    return 'accepted';
  }
  for (const {kind, payload} of received) {
    assert(payload.length <= framePayloadSizeBytesMax, 'a payload within its bound');
    if (input.isSealed || payload.length === 0) continue;
    const isSent = input.items.some(
      sent => sent.kind === kind && Buffer.compare(sent.payload, payload) === 0,
    );
    const isMirrored = !isSent && input.items.some(sent => areMirrored(sent, {kind, payload}));
    assert(!isMirrored, 'a frame whose kind and fourth byte are changed alike');
    assert(isSent, `a ${kind} frame that nobody sent`);
  }
  return problem === null ? 'accepted' : 'refused';
}

/** The header seeds the checksum: equal changes in it and in the payload cancel out. */
function areMirrored(sent: Frame, received: Frame): boolean {
  const [before, after] = [Buffer.from(sent.payload), Buffer.from(received.payload)];
  if (before.length < 4 || before.length !== after.length) return false;
  const kindChange = kinds.indexOf(sent.kind) ^ kinds.indexOf(received.kind);
  before.writeUInt8(before.readUInt8(3) ^ kindChange, 3);
  return kindChange !== 0 && before.equals(after);
}

type StreamItem =
  | {readonly type: 'message'; readonly message: EncodableMessage}
  | {readonly type: 'ping'}
  | {readonly type: 'fragments'; readonly message: EncodableMessage; readonly sizeBytes: number};

const streamItems: fc.Arbitrary<StreamItem> = fc.oneof(
  {weight: 6, arbitrary: fc.record({type: fc.constant('message'), message: messages})},
  {weight: 1, arbitrary: fc.record({type: fc.constant('ping')})},
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('fragments'),
      message: messages,
      sizeBytes: fc.integer({min: 1, max: 40}),
    }),
  },
);

export function encodeStream(items: readonly StreamItem[]): Buffer {
  const writer = new FrameWriter();
  for (const item of items) {
    if (item.type === 'ping') writer.frame('ping', new Uint8Array(0));
    else if (item.type === 'message') writer.message(item.message);
    else {
      const bytes = encodeMessage(item.message);
      for (let at = 0; at < bytes.length; at += item.sizeBytes) {
        const isLast = at + item.sizeBytes >= bytes.length;
        const piece = bytes.subarray(at, at + item.sizeBytes);
        writer.frame(isLast ? 'last-fragment' : 'fragment', piece);
      }
    }
  }
  return Buffer.concat(writer.take());
}

function checkMessages(input: StreamInput<StreamItem>): Verdict {
  const received: EncodableMessage[] = [];
  const reader = new MessageReader(route, {
    onPayload: () => undefined,
    onMessage: message => {
      assert(findDamagedEntry(message) === undefined, 'a damaged entry is delivered');
      received.push(message);
      return true;
    },
  });
  let isRefused = false;
  for (const piece of pieces(streamBytes(input, encodeStream), input.cuts)) {
    const before = received.length;
    const problem = reader.push(piece);
    assert(!isRefused || problem !== null, 'a problem is for ever');
    assert(!isRefused || received.length === before, 'a message after a problem');
    isRefused = problem !== null;
  }
  const sent = input.items.flatMap(item => (item.type === 'ping' ? [] : [item.message]));
  if (input.damage.length === 0) {
    assert(!isRefused, 'a sound stream is taken whole');
    mustBeSame(received, sent, 'the messages');
    return 'accepted';
  }
  return isRefused ? 'refused' : 'accepted';
}

const idleClock: Clock = {
  wallMs: () => 0,
  monotonicMs: () => 0,
  setTimer: () => ({cancel: () => undefined}),
  afterPoll: () => undefined,
};

const offer = {
  id: '3-1f-2',
  meta: {index: logIndex(9), term: term(2), membership: emptyMembership},
  sizeBytes: 2 ** 40,
};

export function snapshotFrames(blocks: readonly Uint8Array[]): Buffer {
  const end = new ByteWriter();
  end.u32(blocks.length);
  return encodeFrames([
    {kind: 'snapshot-meta', payload: encodeOffer(offer)},
    ...blocks.map(payload => ({kind: 'snapshot-block' as const, payload})),
    {kind: 'snapshot-end', payload: end.finish()},
  ]);
}

/** The import that a receiver fills: it must end once, in one way. */
class CountedImport {
  readonly blocks: Uint8Array[] = [];
  finishCount = 0;
  abortCount = 0;

  begin(callback: (error: Error | null, after: null) => void): void {
    callback(null, null);
  }

  write(block: Uint8Array, callback: (error: Error | null) => void): void {
    assert(this.finishCount + this.abortCount === 0, 'a block after the end');
    this.blocks.push(new Uint8Array(block));
    callback(null);
  }

  finish(callback: (error: Error | null) => void): void {
    this.finishCount += 1;
    callback(null);
  }

  install(): void {
    throw new Error('a receiver never installs');
  }

  abort(): void {
    this.abortCount += 1;
  }
}

/** The body of a request as the receiver uses it; pausing is of no account when all is at hand. */
class BodyEvents extends EventEmitter {
  pause(): void {
    // Chunks that were read before the pause arrive all the same.
  }

  resume(): void {
    // See pause.
  }
}

/** The answer to it, of which nothing is looked at here. */
class IdleResponse {
  headersSent = false;
  destroyed = false;

  writeHead(): void {
    this.headersSent = true;
  }

  write(): void {
    assert(this.headersSent, 'a head comes first');
  }

  end(): void {
    this.destroyed = true;
  }

  destroy(): void {
    this.destroyed = true;
  }
}

function checkSnapshotRequest(input: StreamInput<Uint8Array>): Verdict {
  const body = new BodyEvents();
  const exchange = {
    request: body as unknown as IncomingMessage,
    response: new IdleResponse() as unknown as ServerResponse,
  };
  const imported = new CountedImport();
  const outcomes: string[] = [];
  let offerCount = 0;
  const receiver = new SnapshotReceiver(exchange, idleClock, {
    onOffer: offered => {
      offerCount += 1;
      if (input.damage.length === 0) mustBeSame(offered, offer, 'the offer');
      return imported;
    },
    onBroken: () => assert(false, 'a body that ends does not break off'),
    onReceived: () => undefined,
    onEnd: refusal => outcomes.push(refusal === null ? 'complete' : refusal.code),
  });
  receiver.start();
  for (const piece of pieces(streamBytes(input, snapshotFrames), input.cuts)) {
    body.emit('data', piece);
  }
  body.emit('end');
  body.emit('close');
  assert(outcomes.length === 1, `${outcomes.length} outcomes`);
  const {finishCount, abortCount} = imported;
  if (outcomes[0] === 'complete') {
    assert(finishCount === 1 && abortCount === 0, 'a complete import is finished once');
    if (input.damage.length === 0) mustBeSame(imported.blocks, input.items, 'the blocks');
    return 'accepted';
  }
  assert(input.damage.length > 0, `a sound stream is refused: ${outcomes[0] ?? ''}`);
  assert(offerCount <= 1, 'a snapshot is offered once');
  assert(finishCount === 0 && abortCount === offerCount, 'a refused import is aborted, once');
  return 'refused';
}

export const frameTargets: readonly FuzzTarget[] = [
  pureTarget<StreamInput<Frame>>(
    {name: 'frames', share: 8},
    {
      inputs: streams(frames, 5),
      bytesOf: input => streamBytes(input, encodeFrames),
      check: checkFrames,
    },
  ),
  pureTarget<StreamInput<StreamItem>>(
    {name: 'message-stream', share: 8},
    {
      inputs: streams(streamItems, 4),
      bytesOf: input => streamBytes(input, encodeStream),
      check: checkMessages,
    },
  ),
  pureTarget<StreamInput<Uint8Array>>(
    {name: 'snapshot-request', share: 5},
    {
      inputs: streams(fc.uint8Array({maxLength: 60}), 4),
      bytesOf: input => streamBytes(input, snapshotFrames),
      check: checkSnapshotRequest,
    },
  ),
];
