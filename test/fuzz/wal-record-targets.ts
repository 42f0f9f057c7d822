/** Batches and segment headers of the write-ahead log, each by itself. */
import fc from 'fast-check';
import {AssertionError, assert} from '../../src/base/assert.ts';
import {checksum} from '../../src/base/checksum.ts';
import type {Entry} from '../../src/raft/entry.ts';
import type {HardState} from '../../src/raft/hard-state.ts';
import {logIndex, maxIndex, minIndex, noIndex, noTerm} from '../../src/raft/ids.ts';
import type {SegmentContents} from '../../src/storage/segment-contents.ts';
import {encodeContents} from '../../src/storage/segment-contents.ts';
import type {WalPosition} from '../../src/storage/wal-record.ts';
import {
  areCommandsIntact,
  batchSizeBytes,
  commandTerm,
  decodeBatchHeader,
  encodeBatch,
  visitEntries,
} from '../../src/storage/wal-record.ts';
import type {SegmentHeader} from '../../src/storage/wal-segment.ts';
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  segmentId,
} from '../../src/storage/wal-segment.ts';
import {codecTarget} from './codec-target.ts';
import type {FuzzTarget} from './fuzz-target.ts';
import {entryRuns, hardStates, indices, memberships, nodeIds, terms} from './raft-values.ts';

/** Bytes that the log does not take for a record; it answers null where others throw. */
class NoRecordError extends Error {}

const isNoRecord = (error: unknown): boolean => error instanceof NoRecordError;

interface Batch {
  readonly hardState: HardState;
  readonly synced: WalPosition;
  readonly entries: readonly Entry[];
}

const batchSegmentId = 0x1234_5678;
const batchOffset = 4096;

const batches: fc.Arbitrary<Batch> = fc.record({
  hardState: hardStates,
  synced: fc.record({sequence: fc.maxSafeNat(), offset: fc.nat(0xffff_ffff)}),
  entries: entryRuns.map(run => run.entries),
});

function encode({hardState, synced, entries}: Batch): Buffer {
  let dataSizeBytes = 0;
  for (const entry of entries) dataSizeBytes += entry.data.length;
  const voteLength = hardState.vote?.length ?? 0;
  const entryCount = entries.length;
  const sizeBytes = batchSizeBytes({voteLength, entryCount, dataSizeBytes});
  const bytes = Buffer.alloc(sizeBytes);
  const place = {segmentId: batchSegmentId, offset: batchOffset, sizeBytes, entryCount};
  encodeBatch(bytes, {...place, hardState, synced, groups: [entries]});
  return bytes;
}

function decode(bytes: Buffer): Batch {
  const place = {at: 0, offset: batchOffset, segmentId: batchSegmentId, available: bytes.length};
  const header = decodeBatchHeader(bytes, place);
  if (header === null) throw new NoRecordError('header');
  assert(header.sizeBytes <= bytes.length, 'a batch within its bytes');
  const common = commandTerm(bytes, 0, header);
  const entries: Entry[] = [];
  const visited = visitEntries(bytes, 0, header, entry => entries.push(entry));
  if (common !== null) {
    const areIntact = areCommandsIntact(bytes, 0, header, common);
    assert(areIntact === visited, 'a run of commands is intact when each of them is');
  }
  if (!visited) {
    assert(entries.length === 0, 'nothing of a damaged batch is visited');
    throw new NoRecordError('entries');
  }
  assert(entries.length === header.entryCount, 'every entry is visited');
  const [first] = entries;
  const isRun =
    first !== undefined &&
    entries.every(entry => entry.type !== 'membership' && entry.term === first.term);
  assert(common === (isRun ? first.term : null), 'the term of a run of commands');
  return {hardState: header.hardState, synced: header.synced, entries};
}

/** Makes the checksum of the batch's header right. */
export function sealBatch(bytes: Buffer, id: number): void {
  if (bytes.length < 64) return;
  const dataAt = 64 + Math.ceil(bytes.readUInt32LE(52) / 8) * 8 + bytes.readUInt32LE(16) * 28;
  if (dataAt > bytes.length) return;
  bytes.writeUInt32LE(checksum(bytes.subarray(12, dataAt), id), 8);
}

const sequence = 7;
const incarnation = '0123456789abcdef';
const shortTexts = fc.string({maxLength: 20});

/** Places rise, and so do their offsets. */
const segmentContents: fc.Arbitrary<SegmentContents> = fc.record({
  places: fc
    .array(fc.record({more: fc.nat(1000), sizeBytes: fc.nat(100_000)}), {maxLength: 20})
    .map(steps => {
      let [firstIndex, offset] = [0, 0];
      return steps.map(({more, sizeBytes}) => {
        firstIndex += more;
        offset += sizeBytes;
        return {firstIndex: logIndex(firstIndex), offset};
      });
    }),
  terms: fc.array(fc.record({index: indices, term: terms}), {maxLength: 5}),
  memberships: fc.array(fc.record({index: indices, membership: memberships}), {maxLength: 3}),
});
/** What takes too many bytes is not stated. */
const statedContents = segmentContents.filter(contents => encodeContents(contents).length > 0);

const segmentHeaders: fc.Arbitrary<SegmentHeader> = fc
  .record({
    sequence: fc.constant(sequence),
    isStart: fc.boolean(),
    previous: fc.record({index: indices, term: terms}),
    previousEnd: fc.maxSafeNat(),
    hardState: hardStates,
    membership: fc.record({index: indices, membership: memberships}),
    identity: fc.record({
      clusterId: fc.option(fc.string({minLength: 1, maxLength: 32})),
      nodeId: fc.oneof(nodeIds, shortTexts),
      incarnation: fc.constant(incarnation),
    }),
    preceding: fc.option(statedContents),
  })
  .map(withoutContradictions);

/** No membership of a later entry, no term before the first entry. */
function withoutContradictions(header: SegmentHeader): SegmentHeader {
  const {previous, membership} = header;
  const index = maxIndex(previous.index, membership.index);
  return {
    ...header,
    previous: {index, term: index === noIndex ? noTerm : previous.term},
    membership: {...membership, index: minIndex(previous.index, membership.index)},
  };
}

function decodeHeader(bytes: Buffer): SegmentHeader {
  const reading = decodeSegmentHeader(bytes, {sequence, incarnation});
  if (reading.kind !== 'valid') throw new NoRecordError(reading.kind);
  if (reading.sizeBytes > bytes.length) throw new AssertionError('a header within its bytes');
  // Another incarnation's header would be encoded under another id.
  const {identity} = reading.header;
  return {...reading.header, identity: {...identity, incarnation}};
}

/** Makes the checksum of the segment's header right. */
export function sealSegmentHeader(bytes: Buffer, own: number, whose: string): void {
  if (bytes.length < 32) return;
  const id = segmentId(own, whose);
  const sizeBytes = Math.max(20, Math.min(bytes.length, bytes.readUInt32LE(12)));
  bytes.writeUInt32LE(id, 20);
  bytes.writeUInt32LE(checksum(bytes.subarray(20, sizeBytes), id), 16);
}

export const walRecordTargets: readonly FuzzTarget[] = [
  codecTarget<Batch>({
    name: 'wal-batch',
    share: 10,
    values: batches,
    encode,
    decode,
    seal: bytes => sealBatch(bytes, batchSegmentId),
    isRefusal: isNoRecord,
  }),
  codecTarget<SegmentHeader>({
    name: 'wal-segment-header',
    share: 4,
    values: segmentHeaders,
    encode: encodeSegmentHeader,
    decode: decodeHeader,
    seal: bytes => sealSegmentHeader(bytes, sequence, incarnation),
    isRefusal: isNoRecord,
  }),
];
