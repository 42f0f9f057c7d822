/** Rows of the checkpoint with their checksums, its format row, and the stream of a snapshot. */
import fc from 'fast-check';
import {assert} from '../../src/base/assert.ts';
import {MalformedBytesError, compareBytes} from '../../src/base/bytes.ts';
import {checksum} from '../../src/base/checksum.ts';
import {RowSealer, decodeMeta, encodeMeta, openRowView} from '../../src/storage/checkpoint-row.ts';
import type {CheckpointMeta} from '../../src/storage/checkpoint-store.ts';
import {SnapshotDecoder, SnapshotEncoder, visitViews} from '../../src/storage/snapshot-stream.ts';
import {codecTarget, mustBeRefusal} from './codec-target.ts';
import type {Damage} from './damage.ts';
import {damaged, damages, maybeDamages} from './damage.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {pureTarget} from './fuzz-target.ts';
import {indices, memberships, terms} from './raft-values.ts';
import {isSameValue, mustBeSame} from './same-value.ts';

const metas: fc.Arbitrary<CheckpointMeta> = fc.record({
  index: indices,
  term: terms,
  membership: memberships,
});

interface RowInput {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly damage: Damage;
}

const sealer = new RowSealer();

function rowBytes({key, value, damage}: RowInput): Buffer {
  return damaged(sealer.sealView(key, value), damage);
}

function checkRow(input: RowInput): Verdict {
  const bytes = rowBytes(input);
  const opened = openRowView(input.key, bytes);
  if (opened === null) {
    assert(input.damage.length > 0, 'a sound row is refused');
    return 'refused';
  }
  // Edits can cancel each other out; nothing else opens.
  mustBeSame(opened, input.value, 'the row');
  return 'accepted';
}

interface SnapshotInput {
  readonly meta: CheckpointMeta;
  /** Value sizes of the rows, whose keys are their numbers. */
  readonly rows: readonly number[];
  /** Of a block by number: damaged, left out or given twice. */
  readonly changes: readonly {
    readonly block: number;
    readonly kind: 'damage' | 'remove' | 'repeat';
    readonly damage: Damage;
    readonly isSealed: boolean;
  }[];
}

const rowSizes = fc.oneof(
  {weight: 20, arbitrary: fc.nat(60)},
  {weight: 1, arbitrary: fc.constantFrom(262_128, 262_135, 262_140, 300_000, 600_000)},
);

const snapshotInputs: fc.Arbitrary<SnapshotInput> = fc.record({
  meta: metas,
  rows: fc.array(rowSizes, {maxLength: 6}),
  changes: fc.array(
    fc.record({
      block: fc.nat(5),
      kind: fc.oneof(
        {weight: 4, arbitrary: fc.constant('damage' as const)},
        {weight: 1, arbitrary: fc.constantFrom('remove' as const, 'repeat' as const)},
      ),
      damage: damages,
      isSealed: fc.boolean(),
    }),
    {maxLength: 2},
  ),
});

interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

function rowsOf(input: SnapshotInput): Row[] {
  return input.rows.map((size, i) => ({key: Uint8Array.of(1, i), value: Buffer.alloc(size, i)}));
}

function soundBlocksOf(input: SnapshotInput): Buffer[] {
  const encoder = new SnapshotEncoder();
  const blocks = [encoder.header(input.meta)];
  const takeRows = (): void => {
    const block = encoder.takeRows();
    if (block !== null) blocks.push(block);
  };
  for (const {key, value} of rowsOf(input)) {
    while (encoder.isFull()) takeRows();
    encoder.addRow(Buffer.concat([key, value]), key.length);
  }
  while (encoder.isFull()) takeRows();
  takeRows();
  blocks.push(encoder.end());
  return blocks.map(block => Buffer.from(block));
}

function blocksOf(input: SnapshotInput): Buffer[] {
  const result = soundBlocksOf(input);
  for (const {block, kind, damage, isSealed} of input.changes) {
    const at = block % Math.max(1, result.length);
    const bytes = result[at];
    if (bytes === undefined) continue;
    if (kind === 'remove') result.splice(at, 1);
    else if (kind === 'repeat') result.splice(at, 0, bytes);
    else {
      const changed = damaged(bytes, damage);
      if (isSealed) sealBlock(changed);
      result[at] = changed;
    }
  }
  return result;
}

function sealBlock(bytes: Buffer): void {
  if (bytes.length <= 8) return;
  bytes.writeUInt32LE(bytes.length - 8, 0);
  const end = bytes.length - 4;
  bytes.writeUInt32LE(checksum(bytes.subarray(4, end)), end);
}

function checkSnapshot(input: SnapshotInput): Verdict {
  const received: Row[] = [];
  const visitRow = visitViews((key, value) => {
    const last = received.at(-1);
    assert(last === undefined || compareBytes(last.key, key) < 0, 'rows in order');
    received.push({key: Uint8Array.from(key), value: Uint8Array.from(value)});
  });
  const decoder = new SnapshotDecoder(input.meta, visitRow);
  try {
    for (const block of blocksOf(input)) {
      const before = Buffer.from(block);
      decoder.takeBlock(block);
      mustBeSame(block, before, 'the block');
    }
  } catch (error) {
    mustBeRefusal(error, each => each instanceof MalformedBytesError);
    assert(!decoder.isComplete || input.changes.length > 0, 'a sound snapshot is refused');
    assert(input.changes.length > 0, 'a sound snapshot is refused');
    return 'refused';
  }
  if (!decoder.isComplete) {
    assert(input.changes.length > 0, 'a sound snapshot is complete');
    return 'refused';
  }
  // Whoever can write the last block can make its sums right for any rows.
  if (isSameValue(blocksOf(input).at(-1), soundBlocksOf(input).at(-1))) {
    mustBeSame(received, rowsOf(input), 'the rows');
  }
  return 'accepted';
}

export const snapshotTargets: readonly FuzzTarget[] = [
  codecTarget({
    name: 'format-row',
    share: 3,
    values: metas,
    encode: encodeMeta,
    decode: decodeMeta,
  }),
  pureTarget<RowInput>(
    {name: 'checkpoint-row', share: 5},
    {
      inputs: fc.record({
        key: fc.uint8Array({minLength: 1, maxLength: 40}),
        value: fc.uint8Array({maxLength: 60}),
        damage: maybeDamages,
      }),
      bytesOf: rowBytes,
      check: checkRow,
    },
  ),
  pureTarget<SnapshotInput>(
    {name: 'snapshot-stream', share: 2},
    {
      inputs: snapshotInputs,
      bytesOf: input => Buffer.concat(blocksOf(input)),
      check: checkSnapshot,
    },
  ),
];
