/**
 * Whole directories of the write-ahead log, damaged. A directory is recovered or refused. What is
 * recovered holds entries that were written there, and after one flipped bit every entry that was
 * known to be durable; what is refused is refused again.
 */
import fc from 'fast-check';
import {assert, must} from '../../src/base/assert.ts';
import type {Clock} from '../../src/base/clock.ts';
import type {Entry} from '../../src/raft/entry.ts';
import {makeEntry} from '../../src/raft/entry.ts';
import {logIndex, nodeId, term} from '../../src/raft/ids.ts';
import {emptyMembership, encodeMembership} from '../../src/raft/membership.ts';
import type {CheckpointMeta} from '../../src/storage/checkpoint-store.ts';
import type {LogStore} from '../../src/storage/log-store.ts';
import {StorageError} from '../../src/storage/storage-error.ts';
import type {OpenedLog} from '../../src/storage/wal-log-store.ts';
import {openLog} from '../../src/storage/wal-log-store.ts';
import type {WalOptions} from '../../src/storage/wal-options.ts';
import {batchNeedle} from '../../src/storage/wal-record.ts';
import {segmentId, segmentSequence} from '../../src/storage/wal-segment.ts';
import {allEntries, appended, closed, someEntries} from '../contract/log-store-contract.ts';
import {FakeDisk} from '../sim/fake-disk.ts';
import {realClock} from '../sim/real-clock.ts';
import {mustBeRefusal} from './codec-target.ts';
import type {Damage} from './damage.ts';
import {damaged, damages} from './damage.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {openedTarget} from './fuzz-target.ts';
import {isSameValue, mustBeSame} from './same-value.ts';
import {sealBatch, sealSegmentHeader} from './wal-record-targets.ts';

const identity = {clusterId: 'c', nodeId: 'node1', incarnation: '0123456789abcdef'};
const directory = '/wal';
const options: Partial<WalOptions> = {
  segmentSizeBytes: 32 * 1024,
  fillStepSizeBytes: 8 * 1024,
  tailSizeBytesMax: 2 * 1024,
  retentionSizeBytesMax: 1024 * 1024,
  syncMarkDelayMs: 60_000,
  retryDelayMs: 60_000,
};
/** While a case runs nothing else does: no write that was begun goes on. */
const idleClock: Clock = {...realClock, setTimer: () => ({cancel: () => undefined})};

type Files = ReadonlyMap<string, Uint8Array>;

/** A log as some process left it. */
interface LogImage {
  readonly files: Files;
  /** Every version of every entry that was written, by index. */
  readonly written: ReadonlyMap<number, readonly Entry[]>;
  readonly checkpoint: CheckpointMeta | null;
  /** Up to here every entry was known to be durable. */
  readonly syncedIndex: number;
}

function filesOf(disk: FakeDisk): Files {
  return new Map(
    disk.listSync(directory).map(name => [name, disk.content(`${directory}/${name}`)]),
  );
}

function diskOf(files: Files): FakeDisk {
  const disk = new FakeDisk(() => undefined);
  disk.makeDirectorySync(directory);
  for (const [name, bytes] of files) {
    disk.openSync(`${directory}/${name}`, 'create').closeSync();
    disk.replace(`${directory}/${name}`, bytes);
  }
  disk.syncDirectorySync(directory);
  return disk;
}

function openOn(disk: FakeDisk, checkpoint: CheckpointMeta | null, clock = idleClock): OpenedLog {
  return openLog({disk, directory, clock, identity, checkpoint, options});
}

const hardState = {term: term(2), vote: nodeId('node1'), commit: logIndex(0)};

/** Writes the batches to a new log, one after the other. `isClosed`: down to the last sync mark. */
async function makeImage(
  batches: readonly (readonly Entry[])[],
  fields: {readonly isClosed: boolean; readonly checkpointIndex: number},
): Promise<LogImage> {
  const disk = new FakeDisk();
  const {store} = openOn(disk, null, realClock);
  const written = new Map<number, Entry[]>();
  for (const batch of batches) {
    for (const entry of batch) {
      written.set(entry.index, [...(written.get(entry.index) ?? []), entry]);
    }
    await appended(store, batch, hardState);
  }
  const open = filesOf(disk);
  const last = store.lastIndex();
  const {checkpointIndex} = fields;
  const checkpoint =
    checkpointIndex === 0
      ? null
      : {
          index: logIndex(checkpointIndex),
          term: must(store.term(logIndex(checkpointIndex)), 'a term'),
          membership: emptyMembership,
        };
  await closed(store);
  const files = fields.isClosed ? filesOf(disk) : open;
  // Without a sync mark the last batch is not known to be durable.
  const lastBatch = must(batches.at(-1), 'a batch');
  const syncedIndex = fields.isClosed ? last : last - lastBatch.length;
  return {files, written, checkpoint, syncedIndex};
}

function inBatches(entries: readonly Entry[], size: number): Entry[][] {
  const batches: Entry[][] = [];
  for (let i = 0; i < entries.length; i += size) batches.push(entries.slice(i, i + size));
  return batches;
}

function membershipEntry(index: number, termValue: number): Entry {
  const fields = {term: term(termValue), index: logIndex(index), proposedAtMs: index};
  return makeEntry({...fields, type: 'membership', data: encodeMembership(emptyMembership)});
}

async function makeImages(): Promise<LogImage[]> {
  const small = inBatches(someEntries(1, 12), 3);
  const long = inBatches(someEntries(1, 60, {sizeBytes: 2000}), 4);
  const replaced = [
    ...inBatches(someEntries(1, 30, {sizeBytes: 1500}), 3),
    [membershipEntry(31, 1)],
    ...inBatches(someEntries(25, 20, {term: 2, sizeBytes: 1500}), 5),
    [membershipEntry(45, 2)],
    ...inBatches(someEntries(46, 6, {term: 2}), 2),
  ];
  return [
    await makeImage(small, {isClosed: true, checkpointIndex: 0}),
    await makeImage(small, {isClosed: false, checkpointIndex: 5}),
    await makeImage(long, {isClosed: true, checkpointIndex: 0}),
    await makeImage(long, {isClosed: false, checkpointIndex: 40}),
    await makeImage(replaced, {isClosed: true, checkpointIndex: 0}),
    await makeImage(replaced, {isClosed: false, checkpointIndex: 20}),
  ];
}

/** By number, taken modulo the count of what there is. */
interface FileChange {
  readonly kind: 'damage' | 'remove' | 'copy' | 'rename';
  readonly file: number;
  readonly other: number;
  readonly damage: Damage;
  /** The checksums of headers are corrected after the damage. */
  readonly isSealed: boolean;
}

interface DirectoryInput {
  readonly image: number;
  readonly changes: readonly FileChange[];
}

const fileChanges: fc.Arbitrary<FileChange> = fc.record({
  kind: fc.oneof(
    {weight: 6, arbitrary: fc.constant('damage' as const)},
    {weight: 1, arbitrary: fc.constantFrom('remove' as const, 'copy' as const, 'rename' as const)},
  ),
  file: fc.nat(9),
  other: fc.nat(9),
  damage: damages,
  isSealed: fc.integer({min: 0, max: 3}).map(each => each === 0),
});

/** The damage whose outcome is certain. */
const oneFlippedBit: fc.Arbitrary<FileChange> = fc
  .tuple(fc.nat(9), fc.nat(), fc.nat(7))
  .map(([file, at, bit]) => ({
    kind: 'damage',
    file,
    other: 0,
    damage: [['flip', at, bit]],
    isSealed: false,
  }));

const inputs: fc.Arbitrary<DirectoryInput> = fc.record({
  image: fc.nat(5),
  changes: fc.oneof(
    {weight: 2, arbitrary: fc.array(fileChanges, {maxLength: 3})},
    {weight: 1, arbitrary: oneFlippedBit.map(change => [change])},
  ),
});

/** As if a wrong header had been written: what it says is wrong, its checksum is right. */
function sealSegment(bytes: Buffer, name: string): void {
  const sequence = segmentSequence(name);
  if (sequence === null) return;
  sealSegmentHeader(bytes, sequence, identity.incarnation);
  const id = segmentId(sequence, identity.incarnation);
  const needle = batchNeedle(id);
  for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + 8)) {
    sealBatch(bytes.subarray(at), id);
  }
}

function changed(files: Files, changes: readonly FileChange[]): Files {
  const result = new Map(files);
  for (const {kind, file, other, damage, isSealed} of changes) {
    const names = [...result.keys()].sort();
    const name = names[file % Math.max(1, names.length)];
    if (name === undefined) continue;
    const bytes = must(result.get(name), 'a file');
    // Names of segments are 16 digits: 1 to 10.
    const target = `${String(1 + other).padStart(16, '0')}.wal`;
    if (kind === 'damage') {
      const spoiled = damaged(bytes, damage);
      if (isSealed) sealSegment(spoiled, name);
      result.set(name, spoiled);
    }
    if (kind === 'remove') result.delete(name);
    if (kind === 'rename') result.delete(name);
    if (kind === 'rename' || kind === 'copy') result.set(target, bytes);
  }
  // In the order in which a disk lists them.
  return new Map([...result].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function isStorageError(error: unknown): boolean {
  return error instanceof StorageError;
}

function opened(disk: FakeDisk, image: LogImage): OpenedLog | null {
  try {
    return openOn(disk, image.checkpoint);
  } catch (error) {
    mustBeRefusal(error, isStorageError);
    return null;
  }
}

/**
 * All entries, or, when one that the checkpoint holds is damaged, those behind the checkpoint: of
 * the others only the headers are checked at the start.
 */
function readableEntries(store: LogStore, {checkpoint}: LogImage): Entry[] {
  try {
    return allEntries(store);
  } catch (error) {
    mustBeRefusal(error, isStorageError);
    assert(checkpoint !== null, 'every entry of a recovered log can be read');
    const from = logIndex(Math.max(store.firstIndex(), checkpoint.index + 1));
    if (from > store.lastIndex()) return [];
    return [...store.entries({from, to: store.lastIndex(), sizeBytesMax: 1 << 30})];
  }
}

/**
 * A torn tail may have been cut off before the reason was found; everything else is as it was, and
 * the next start finds a reason too.
 */
function checkRefused(before: Files, after: Files, image: LogImage): void {
  for (const [name, bytes] of before) {
    const left = after.get(name);
    assert(left !== undefined, `${name} of a refused directory is gone`);
    const isPrefix = Buffer.compare(left, bytes.subarray(0, left.length)) === 0;
    assert(isPrefix, `${name} of a refused directory has changed`);
    const isWhole = left.length === bytes.length;
    assert(isWhole || after.has(`${name}.broken`), `${name} is cut and nothing kept of it`);
  }
  assert(opened(diskOf(after), image) === null, 'a refused directory opens the second time');
}

function checkDirectory(image: LogImage, changes: readonly FileChange[]): Verdict {
  const files = changed(image.files, changes);
  const disk = diskOf(files);
  const log = opened(disk, image);
  if (log === null) {
    assert(changes.length > 0, 'a sound log is refused');
    checkRefused(files, filesOf(disk), image);
    return 'refused';
  }
  const {store} = log;
  const entries = readableEntries(store, image);
  let previous = (entries[0]?.index ?? store.firstIndex()) - 1;
  for (const entry of entries) {
    assert(entry.index === previous + 1, `entry ${entry.index} follows ${previous}`);
    previous = entry.index;
    const isWritten = image.written.get(entry.index)?.some(each => isSameValue(each, entry));
    assert(isWritten === true, `entry ${entry.index} was never written`);
  }
  const isOneBit =
    changes.length === 0 ||
    (changes.length === 1 &&
      changes[0]?.kind === 'damage' &&
      !changes[0].isSealed &&
      changes[0].damage.length === 1 &&
      changes[0].damage[0]?.[0] === 'flip');
  const last = store.lastIndex();
  if (isOneBit) assert(last >= image.syncedIndex, `${last} of ${image.syncedIndex} entries`);
  // As a process that dies here leaves it.
  const again = must(opened(diskOf(filesOf(disk)), image), 'a recovered log opens');
  mustBeSame(readableEntries(again.store, image), entries, 'the log recovered twice');
  const cut = again.warnings.find(warning => warning.includes('cut at byte'));
  assert(cut === undefined, 'a recovered log has no torn tail');
  return 'accepted';
}

/** Bit rot under an open log: every entry is read as it was written, or the read is refused. */
function checkReading(image: LogImage, changes: readonly FileChange[]): Verdict {
  const disk = diskOf(image.files);
  const {store} = must(opened(disk, image), 'a sound log opens');
  const rot = changes.filter(change => change.kind === 'damage');
  const files = changed(
    filesOf(disk),
    rot.map(change => ({...change, isSealed: false})),
  );
  for (const [name, bytes] of files) disk.replace(`${directory}/${name}`, bytes);
  let verdict: Verdict = 'accepted';
  for (let from: number = store.firstIndex(); from <= store.lastIndex(); from += 7) {
    const to = logIndex(Math.min(from + 6, store.lastIndex()));
    try {
      const found = store.entries({from: logIndex(from), to, sizeBytesMax: 8 * 1024});
      assert(found[0]?.index === from, `entry ${from} is read`);
      for (const entry of found) {
        const isWritten = image.written.get(entry.index)?.some(each => isSameValue(each, entry));
        assert(isWritten === true, `entry ${entry.index} was never written`);
      }
    } catch (error) {
      mustBeRefusal(error, isStorageError);
      verdict = 'refused';
    }
  }
  return verdict;
}

function directoryTarget(
  head: {readonly name: string; readonly share: number},
  check: (image: LogImage, changes: readonly FileChange[]) => Verdict,
): FuzzTarget {
  return openedTarget<DirectoryInput>(head, async () => {
    const images = await makeImages();
    const imageOf = ({image}: DirectoryInput): LogImage =>
      must(images[image % images.length], 'an image');
    return {
      inputs,
      check: input => check(imageOf(input), input.changes),
      bytesOf: input => {
        const files = changed(imageOf(input).files, input.changes);
        return Buffer.concat([...files].flatMap(([name, bytes]) => [Buffer.from(name), bytes]));
      },
      close: () => undefined,
    };
  });
}

export const walDirectoryTargets: readonly FuzzTarget[] = [
  directoryTarget({name: 'wal-directory', share: 2}, checkDirectory),
  directoryTarget({name: 'wal-reading', share: 1}, checkReading),
];
