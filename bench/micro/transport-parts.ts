/** What the peer connections carry: the codec alone, and two transports on loopback. */
import type {Entry} from '../../src/raft/entry.ts';
import {makeEntry} from '../../src/raft/entry.ts';
import {logIndex, nodeId, term} from '../../src/raft/ids.ts';
import {FrameWriter} from '../../src/transport/frame-writer.ts';
import type {EncodableMessage} from '../../src/transport/message-codec.ts';
import {decodeMessage, encodeMessage, findDamagedEntry} from '../../src/transport/message-codec.ts';
import {MessageReader} from '../../src/transport/message-reader.ts';
import type {PeerMessage} from '../../src/transport/transport.ts';
import {httpHarness} from '../../test/contract/http-transport-harness.ts';
import {startPair} from '../../test/contract/transport-contract.ts';
import type {Stopwatch} from './stopwatch.ts';

const route = {from: nodeId('node1'), to: nodeId('node2')};
const batchSize = 26;
/** Messages of one `work` on loopback. */
const exchangeCount = 2_048;

export async function measureTransport(stopwatch: Stopwatch): Promise<void> {
  measureCodec(stopwatch);
  await measureLoopback(stopwatch, {
    name: 'transport: small messages, one in flight',
    message: {type: 'forward', requestId: 1, timeoutMs: 1, command: new Uint8Array(120)},
    windowCount: 1,
  });
  await measureLoopback(stopwatch, {
    name: 'transport: small messages, 64 in flight',
    message: {type: 'forward', requestId: 1, timeoutMs: 1, command: new Uint8Array(120)},
    windowCount: 64,
  });
  await measureLoopback(stopwatch, {
    name: 'transport: appends of 26 × 120 B, 4 in flight',
    message: append(batchSize, 120),
    windowCount: 4,
  });
  await measureLoopback(stopwatch, {
    name: 'transport: appends of 250 KB, 8 in flight',
    message: append(250, 1000),
    windowCount: 8,
  });
}

function append(count: number, sizeBytes: number): EncodableMessage & {type: 'append'} {
  const entries = Array.from({length: count}, (_, i): Entry =>
    makeEntry({
      term: term(3),
      index: logIndex(11 + i),
      type: 'command',
      proposedAtMs: 1_700_000_000_000 + i,
      data: new Uint8Array(sizeBytes).fill(i),
    }),
  );
  const previous = {term: term(3), index: logIndex(10)};
  return {type: 'append', ...route, term: term(3), previous, entries, commit: logIndex(10)};
}

function measureCodec(stopwatch: Stopwatch): void {
  const message = append(batchSize, 120);
  const bytes = encodeMessage(message);
  const writer = new FrameWriter();
  stopwatch.measure('append of 26 × 120 B: encode into a frame', 1, () => {
    writer.message(message);
    writer.take();
  });
  stopwatch.measure('append of 26 × 120 B: decode', 1, () => void decodeMessage(bytes, route));
  const decoded = decodeMessage(bytes, route);
  stopwatch.measure('append of 26 × 120 B: verify its checksums', 1, () => {
    findDamagedEntry(decoded);
  });
  writer.message(message);
  const frames = Buffer.concat(writer.take());
  const reader = new MessageReader(route, {onPayload: () => undefined, onMessage: () => true});
  stopwatch.measure('append of 26 × 120 B: unframe, decode, verify', 1, () => {
    reader.push(frames);
  });
}

/** Keeps `windowCount` messages in flight, each answered by a small one, as replication does. */
async function measureLoopback(
  stopwatch: Stopwatch,
  {
    name,
    message,
    windowCount,
  }: {readonly name: string; readonly message: PeerMessage; readonly windowCount: number},
): Promise<void> {
  const harness = httpHarness();
  const [a, b] = await startPair(harness);
  b.handler.onMessage = () => {
    b.transport.send(a.id, {
      type: 'append-accepted',
      from: b.id,
      to: a.id,
      term: term(3),
      matchIndex: logIndex(1),
    });
  };
  const exchange = (): Promise<void> =>
    new Promise(resolve => {
      let sentCount = 0;
      let answeredCount = 0;
      const pump = (): void => {
        while (sentCount < exchangeCount && sentCount - answeredCount < windowCount) {
          if (!a.transport.send(b.id, message)) return;
          sentCount += 1;
        }
      };
      a.handler.onMessage = () => {
        answeredCount += 1;
        if (answeredCount === exchangeCount) resolve();
        else pump();
      };
      pump();
    });
  await stopwatch.measureAsync(name, exchangeCount, exchange);
  await harness.close();
}
