/**
 * What the peer connections carry: two transports of one process on loopback, and the codec alone.
 * Run: node dist/bench/transport.bench.js. Figures of one run mean little; compare runs.
 */
import {makeEntry} from '../src/raft/entry.ts';
import type {Entry} from '../src/raft/entry.ts';
import {logIndex, nodeId, term} from '../src/raft/ids.ts';
import {decodeMessage, findDamagedEntry} from '../src/transport/message-codec.ts';
import {FrameWriter} from '../src/transport/frame-writer.ts';
import {MessageReader} from '../src/transport/message-reader.ts';
import type {PeerMessage} from '../src/transport/transport.ts';
import {encodeMessage} from '../src/transport/message-codec.ts';
import type {EncodableMessage} from '../src/transport/message-codec.ts';
import {httpHarness} from '../test/contract/http-transport-harness.ts';
import {startPair} from '../test/contract/transport-contract.ts';

const route = {from: nodeId('node1'), to: nodeId('node2')};

function append(count: number, sizeBytes: number): EncodableMessage & {type: 'append'} {
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    entries.push(
      makeEntry({
        term: term(3),
        index: logIndex(11 + i),
        type: 'command',
        proposedAtMs: 1_700_000_000_000 + i,
        data: new Uint8Array(sizeBytes).fill(i),
      }),
    );
  }
  const previous = {term: term(3), index: logIndex(10)};
  return {type: 'append', ...route, term: term(3), previous, entries, commit: logIndex(10)};
}

function measure(name: string, roundCount: number, round: () => void): void {
  for (let i = 0; i < roundCount / 10; i++) round();
  const startedAtMs = performance.now();
  for (let i = 0; i < roundCount; i++) round();
  const microseconds = ((performance.now() - startedAtMs) * 1000) / roundCount;
  process.stdout.write(`${name.padEnd(56)} ${microseconds.toFixed(2)} µs\n`);
}

function measureCodec(): void {
  const message = append(26, 120);
  const bytes = encodeMessage(message);
  const writer = new FrameWriter();
  measure('encode an append of 26 entries of 120 B into a frame', 100_000, () => {
    writer.message(message);
    writer.take();
  });
  measure('decode it', 100_000, () => void decodeMessage(bytes, route));
  const decoded = decodeMessage(bytes, route);
  measure('verify its 26 checksums', 100_000, () => void findDamagedEntry(decoded));
  writer.message(message);
  const frames = Buffer.concat(writer.take());
  const reader = new MessageReader(route, {onPayload: () => undefined, onMessage: () => true});
  measure('frame, decode and verify it', 100_000, () => void reader.push(frames));
}

/** Keeps `windowCount` messages in flight, each answered by a small one, as replication does. */
async function measureLoopback(
  name: string,
  options: {
    readonly message: PeerMessage;
    readonly perTurnCount: number;
    readonly windowCount: number;
  },
): Promise<void> {
  const harness = httpHarness();
  const [a, b] = await startPair(harness);
  const durationMs = 2_000;
  let sentCount = 0;
  let answeredCount = 0;
  let isOver = false;
  const pump = (): void => {
    if (isOver) return;
    for (let i = 0; i < options.perTurnCount; i++) {
      if (sentCount - answeredCount >= options.windowCount) return;
      if (a.transport.send(b.id, options.message)) sentCount += 1;
    }
  };
  b.handler.onMessage = () => {
    b.transport.send(a.id, {
      type: 'append-accepted',
      from: b.id,
      to: a.id,
      term: term(3),
      matchIndex: logIndex(1),
    });
  };
  a.handler.onMessage = () => {
    answeredCount += 1;
    pump();
  };
  const cpu = process.cpuUsage();
  const startedAtMs = performance.now();
  pump();
  await new Promise(resolve => setTimeout(resolve, durationMs));
  isOver = true;
  const seconds = (performance.now() - startedAtMs) / 1000;
  const {user, system} = process.cpuUsage(cpu);
  const cpuMicroseconds = (user + system) / answeredCount;
  await harness.close();
  const perSecond = Math.round(answeredCount / seconds);
  process.stdout.write(
    `${name.padEnd(56)} ${perSecond}/s, ${cpuMicroseconds.toFixed(1)} µs of CPU each\n`,
  );
}

measureCodec();
await measureLoopback('loopback: small messages, one in flight', {
  message: {type: 'forward', requestId: 1, timeoutMs: 1, command: new Uint8Array(120)},
  perTurnCount: 1,
  windowCount: 1,
});
await measureLoopback('loopback: small messages, 64 in flight', {
  message: {type: 'forward', requestId: 1, timeoutMs: 1, command: new Uint8Array(120)},
  perTurnCount: 64,
  windowCount: 64,
});
await measureLoopback('loopback: appends of 26 × 120 B, 4 in flight', {
  message: append(26, 120),
  perTurnCount: 4,
  windowCount: 4,
});
await measureLoopback('loopback: appends of 250 KB, 8 in flight', {
  message: append(250, 1000),
  perTurnCount: 8,
  windowCount: 8,
});
