/** The small files of a data directory, and the rows and snapshots of the checkpoint. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import {AssertionError, assert} from '../../src/base/assert.ts';
import {checksum} from '../../src/base/checksum.ts';
import {RosettaError} from '../../src/base/errors.ts';
import {nodeId} from '../../src/raft/ids.ts';
import {openIdentity, saveIdentity} from '../../src/server/identity-file.ts';
import {SeenStartsFile} from '../../src/server/seen-starts.ts';
import {CheckpointDirectory} from '../../src/storage/checkpoint-directory.ts';
import {CheckpointDamagedError} from '../../src/storage/checkpoint-row.ts';
import type {JsonValue} from '../../src/storage/durable-file.ts';
import {readDurableFile, writeDurableFile} from '../../src/storage/durable-file.ts';
import {readIdentity} from '../../src/storage/identity.ts';
import {
  toStartHistory,
  raiseStartHistory,
  readStartHistory,
} from '../../src/storage/start-history.ts';
import {StorageError} from '../../src/storage/storage-error.ts';
import {FakeDisk} from '../sim/fake-disk.ts';
import {mustBeRefusal} from './codec-target.ts';
import type {Damage} from './damage.ts';
import {damaged, damages, maybeDamages} from './damage.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {openedTarget, pureTarget} from './fuzz-target.ts';
import {mustBeSame} from './same-value.ts';
import {hexOf} from './text-values.ts';

const file = '/data/file.json';
const ownId = nodeId('node1');

/** One reader of a durable file. Reading must not write. */
interface DurableReader {
  readonly name: string;
  readonly contents: fc.Arbitrary<JsonValue>;
  /** Throws StorageError or RosettaError. */
  read(disk: FakeDisk): void;
}

/** The content as it should be, and then some field replaced by any JSON. */
interface DurableInput {
  readonly content: JsonValue;
  /** Brackets around it. */
  readonly depth: number;
  readonly damage: Damage;
}

const anyJson = fc.jsonValue({maxDepth: 3}) as fc.Arbitrary<JsonValue>;

function spoiled(contents: fc.Arbitrary<Readonly<Record<string, JsonValue>>>): typeof anyJson {
  const changes = fc.array(fc.tuple(fc.nat(9), anyJson), {maxLength: 2});
  const withChanges = fc.tuple(contents, changes).map(([content, list]) => {
    const fields = Object.entries(content);
    for (const [place, value] of list) {
      const field = fields[place % fields.length];
      if (field !== undefined) field[1] = value;
    }
    return Object.fromEntries(fields);
  });
  return fc.oneof({weight: 5, arbitrary: withChanges}, {weight: 1, arbitrary: anyJson});
}

const hexTexts = hexOf(16);
const markTexts = hexOf(8);
/** As this build keeps them, and as earlier ones did. */
const seenStarts = fc.oneof(
  fc.maxSafeNat(),
  fc.record({count: fc.maxSafeNat(), mark: fc.option(markTexts)}),
);
const memberRows = fc.array(
  fc.record({
    id: fc.constantFrom('node1', 'node2'),
    incarnation: hexTexts,
    listen: fc.constant('localhost:8080'),
    http: fc.constant('localhost:9080'),
  }),
  {maxLength: 3},
);
const identities = spoiled(
  fc.record({
    clusterId: fc.option(hexTexts),
    nodeId: fc.constantFrom('node1', 'node1', 'node1', 'node2'),
    incarnation: hexTexts,
    members: fc.record({
      stage: fc.constantFrom('fresh', 'founded', 'adopted', 'member'),
      members: memberRows,
    }),
  }),
);

const durableReaders: readonly DurableReader[] = [
  {
    name: 'durable-file',
    contents: anyJson,
    read: disk => {
      const content = readDurableFile(disk, file);
      const copy = new FakeDisk();
      copy.makeDirectorySync('/data');
      writeDurableFile(copy, file, content);
      mustBeSame(readDurableFile(copy, file), content, 'the content once more');
    },
  },
  {
    name: 'identity-file',
    contents: identities,
    read: disk => {
      readIdentity(disk, file);
      const drawIncarnation = (): string => {
        throw new AssertionError('an identity that is there is never drawn again');
      };
      // A content of null stands for no file at all.
      if (readDurableFile(disk, file) === null) return;
      const record = openIdentity(disk, file, {id: ownId, drawIncarnation});
      assert(record.nodeId === ownId, 'the identity of another');
      assert(/^[0-9a-f]{16}$/.test(record.incarnation), `incarnation ${record.incarnation}`);
      const copy = new FakeDisk();
      copy.makeDirectorySync('/data');
      saveIdentity(copy, file, record);
      const again = openIdentity(copy, file, {id: ownId, drawIncarnation});
      mustBeSame(again, record, 'the identity once more');
    },
  },
  {
    name: 'start-history',
    contents: spoiled(fc.record({count: fc.maxSafeNat(), marks: fc.array(markTexts)})),
    read: disk => {
      const {count, marks} = readStartHistory(disk, file);
      assert(toStartHistory(count, marks) !== null, 'a history of starts');
      const copy = new FakeDisk();
      copy.makeDirectorySync('/data');
      copy.openSync(file, 'create').closeSync();
      copy.replace(file, disk.content(file));
      if (count < Number.MAX_SAFE_INTEGER) {
        const raised = raiseStartHistory(copy, file, 'abcdef01');
        assert(raised.count === count + 1 && raised.marks.at(-1) === 'abcdef01', 'raised by one');
        mustBeSame(readStartHistory(copy, file), raised, 'and kept');
      }
    },
  },
  {
    name: 'seen-starts',
    contents: spoiled(fc.dictionary(hexTexts, seenStarts, {maxKeys: 4})),
    read: disk => {
      const seen = new SeenStartsFile(disk, file).get('0123456789abcdef');
      assert(seen === null || Number.isSafeInteger(seen.count), 'a start');
    },
  },
];

function durableTarget(reader: DurableReader): FuzzTarget {
  return pureTarget<DurableInput>(
    {name: reader.name, share: 3},
    {
      inputs: fc.record({
        content: reader.contents,
        depth: fc.oneof(
          {weight: 60, arbitrary: fc.constant(0)},
          {weight: 1, arbitrary: fc.constantFrom(1, 500, 60_000)},
        ),
        damage: fc.oneof(fc.constant<Damage>([]), damages),
      }),
      bytesOf: durableBytes,
      check: input => checkDurable(reader, input),
    },
  );
}

function durableBytes({content, depth, damage}: DurableInput): Buffer {
  const text = '['.repeat(depth) + JSON.stringify(content) + ']'.repeat(depth);
  const sum = checksum(Buffer.from(text));
  return damaged(Buffer.from(`{"formatVersion":1,"checksum":${sum},"content":${text}}`), damage);
}

function checkDurable(reader: DurableReader, input: DurableInput): Verdict {
  const bytes = durableBytes(input);
  const disk = new FakeDisk();
  disk.makeDirectorySync('/data');
  disk.openSync(file, 'create').closeSync();
  disk.replace(file, bytes);
  let verdict: Verdict = 'accepted';
  try {
    reader.read(disk);
  } catch (error) {
    mustBeRefusal(error, each => each instanceof StorageError || each instanceof RosettaError);
    verdict = 'refused';
  }
  mustBeSame(disk.listSync('/data'), ['file.json'], 'the files');
  mustBeSame(disk.content(file), bytes, 'the file');
  return verdict;
}

interface CheckpointFilesInput {
  readonly name: string;
  readonly damage: Damage;
  /** What OPENING holds; null: there is none. */
  readonly opening: Uint8Array | null;
}

const generations = fc.integer({min: 1, max: 999_999}).map(each => String(each).padStart(6, '0'));
/** More than the starts that may die while the environment is opened. */
const openingCountMax = 10;

function currentBytes({name, damage}: CheckpointFilesInput): Buffer {
  const sum = checksum(Buffer.from(name)).toString(16).padStart(8, '0');
  return damaged(Buffer.from(`${name}\n${sum}\n`), damage);
}

function isDamage(error: unknown): boolean {
  return error instanceof CheckpointDamagedError;
}

/** CURRENT names a directory or is refused; starts that die one after the other come to an end. */
function checkCheckpointFiles(root: string, input: CheckpointFilesInput): Verdict {
  const directory = new CheckpointDirectory(root);
  const bytes = currentBytes(input);
  fs.writeFileSync(path.join(directory.root, 'CURRENT'), bytes);
  const opening = path.join(directory.root, 'OPENING');
  if (input.opening === null) fs.rmSync(opening, {force: true});
  else fs.writeFileSync(opening, input.opening);
  let startCount = 0;
  try {
    while (startCount <= openingCountMax) {
      directory.beginOpening();
      startCount += 1;
    }
  } catch (error) {
    mustBeRefusal(error, isDamage);
  }
  assert(startCount <= openingCountMax, 'starts that die while opening go on for ever');
  try {
    const name = directory.readCurrent();
    assert(name !== null && /^[0-9]{6,12}$/.test(name), 'the name of a directory');
    assert(input.damage.length > 0 || name === input.name, 'the name that was written');
    return 'accepted';
  } catch (error) {
    mustBeRefusal(error, isDamage);
    assert(input.damage.length > 0, 'a sound CURRENT is refused');
    return 'refused';
  }
}

export const smallFileTargets: readonly FuzzTarget[] = [
  ...durableReaders.map(durableTarget),
  openedTarget<CheckpointFilesInput>({name: 'checkpoint-files', share: 1}, () => {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-fuzz-'));
    return {
      inputs: fc.record({
        name: generations,
        damage: maybeDamages,
        opening: fc.option(
          fc.oneof(
            fc.uint8Array({maxLength: 6}),
            fc.nat(99).map(count => Buffer.from(String(count))),
          ),
        ),
      }),
      bytesOf: currentBytes,
      check: input => checkCheckpointFiles(root, input),
      close: () => fs.rmSync(root, {recursive: true, force: true}),
    };
  }),
];
