import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {describe, test} from 'node:test';
import type {TestContext} from 'node:test';
import {MalformedBytesError} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import {limits} from '../base/limits.ts';
import {StateMeta} from '../kv/state-meta.ts';
import {logIndex, term} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import {BackupChecker} from './backup-checker.ts';
import {encodeBackupEnd} from './backup-format.ts';
import {BackupDamagedError, readBackup} from './backup-reader.ts';
import type {BackupWriter} from './backup-writer.ts';
import {openBackupWriter} from './backup-writer.ts';
import type {SnapshotExport} from './checkpoint-store.ts';
import {SnapshotEncoder} from './snapshot-stream.ts';

type Row = readonly [key: string, value: string];

const meta = {index: logIndex(12), term: term(3), membership: emptyMembership};
const origin = {clusterId: 'c1', nodeId: 'node1', version: '1.2.3', createdAtMs: 1_700_000_000_000};

function metaRow(): Row {
  const state = Object.assign(new StateMeta(), {revision: 9, compactedRevision: 4, keyCount: 2});
  const rows: Row[] = [];
  state.save({put: (key, value) => rows.push([latin1(key), latin1(value)])});
  const [row] = rows;
  assert.ok(row !== undefined);
  return row;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

/** A snapshot of these rows that counts whether it was closed; with `failure` it cannot be read. */
function snapshotOf(
  rows: readonly Row[],
  failure: Error | null = null,
): SnapshotExport & {closedCount: number} {
  const encoder = new SnapshotEncoder();
  const blocks = [encoder.header(meta)];
  const take = (): boolean => {
    const block = encoder.takeRows();
    if (block !== null) blocks.push(block);
    return block !== null;
  };
  for (const [key, value] of rows) {
    encoder.addRow(Buffer.from(key + value, 'latin1'), key.length);
    while (encoder.isFull()) take();
  }
  while (take());
  blocks.push(encoder.end());
  return {
    meta,
    sizeBytes: 1_000,
    closedCount: 0,
    open: () => ({
      next: callback => {
        setImmediate(() => callback(failure, failure === null ? (blocks.shift() ?? null) : null));
      },
      close: () => undefined,
    }),
    close() {
      this.closedCount += 1;
    },
  };
}

function opened(snapshot: SnapshotExport): Promise<BackupWriter> {
  return new Promise((resolve, reject) => {
    openBackupWriter(snapshot, origin, (error, writer) => {
      if (writer === null) reject(error ?? new Error('no writer'));
      else resolve(writer);
    });
  });
}

async function piecesOf(rows: readonly Row[]): Promise<Uint8Array[]> {
  const writer = await opened(snapshotOf(rows));
  const pieces: Uint8Array[] = [];
  for (;;) {
    const piece = await new Promise<Uint8Array | null>((resolve, reject) => {
      writer.next((error, next) => {
        if (error === null) resolve(next);
        else reject(error);
      });
    });
    if (piece === null) return pieces;
    pieces.push(piece);
  }
}

const small: readonly Row[] = [metaRow(), ['\x02a', 'one'], ['\x02b', 'two']];

function fileOf(t: TestContext, bytes: Uint8Array): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'backup-'));
  t.after(() => fs.rmSync(directory, {recursive: true}));
  const file = path.join(directory, 'a.backup');
  fs.writeFileSync(file, bytes);
  return file;
}

describe('a backup file', () => {
  test('says in its head what is in it, and gives back its rows', async t => {
    const large: Row[] = [...small, ['\x02c', 'x'.repeat(700_000)]];
    const pieces = await piecesOf(large);
    for (const piece of pieces) assert.ok(piece.length <= limits.snapshotBlockSizeBytesMax);
    const file = fileOf(t, Buffer.concat(pieces));
    const rows: Row[] = [];
    const {head, sizeBytes} = readBackup(file, {
      onRow: (key, value) => rows.push([latin1(key), latin1(value)]),
    });
    assert.deepEqual(rows, large);
    assert.equal(sizeBytes, fs.statSync(file).size);
    const {stateHash, ...rest} = head;
    assert.match(stateHash, /^[0-9a-f]{16}$/);
    assert.deepEqual(rest, {
      ...origin,
      revision: 9,
      compactedRevision: 4,
      keyCount: 2,
      index: 12,
      term: 3,
      estimatedSizeBytes: 1_000,
      membership: emptyMembership,
    });
  });

  test('of a store to which nothing was written is one of revision 1', async t => {
    const {head} = readBackup(fileOf(t, Buffer.concat(await piecesOf([]))));
    assert.equal(head.revision, 1);
    assert.equal(head.keyCount, 0);
  });

  test('is refused when cut anywhere, and with a byte too many', async t => {
    const whole = Buffer.concat(await piecesOf(small));
    for (let size = 0; size < whole.length; size++) {
      const checker = new BackupChecker();
      assert.throws(() => {
        checker.push(whole.subarray(0, size));
        checker.finish();
      }, MalformedBytesError);
    }
    const longer = Buffer.concat([whole, Buffer.alloc(1)]);
    assert.throws(() => readBackup(fileOf(t, longer)), BackupDamagedError);
    assert.throws(() => readBackup(fileOf(t, whole.subarray(0, -1))), /cut off/);
  });

  test('is refused with any bit of it flipped', async () => {
    const whole = Buffer.concat(await piecesOf(small));
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const damaged = Buffer.from(whole);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const checker = new BackupChecker();
      assert.throws(
        () => {
          checker.push(damaged);
          checker.finish();
        },
        MalformedBytesError,
        `bit ${bit}`,
      );
    }
  });

  test('may come in pieces of any size', async () => {
    const whole = Buffer.concat(await piecesOf(small));
    for (const size of [1, 2, 3, 7, 100]) {
      let blockCount = 0;
      const checker = new BackupChecker(() => (blockCount += 1));
      for (let at = 0; at < whole.length; at += size) checker.push(whole.subarray(at, at + size));
      checker.finish();
      assert.equal(blockCount, 3);
      assert.equal(checker.sizeBytes, whole.length);
      assert.equal(checker.head?.revision, 9);
    }
  });

  test('that misses a whole block is refused', async () => {
    const pieces = await piecesOf(small);
    const checker = new BackupChecker();
    const rest = Buffer.concat([...pieces.slice(0, 2), ...pieces.slice(3)]);
    assert.throws(() => checker.push(rest), /checksum of the whole/);
  });

  test('whose head is that of other rows is refused', async t => {
    const pieces = await piecesOf(small);
    const other: readonly Row[] = [
      ['\x02a', 'one'],
      ['\x02b', 'two'],
    ];
    const [head] = await piecesOf(other);
    const rest = pieces.slice(1, -1);
    const covered = Buffer.concat([head ?? assert.fail('no head'), ...rest]);
    const end = encodeBackupEnd({sizeBytes: covered.length, checksum: checksum(covered)});
    const file = fileOf(t, Buffer.concat([covered, end]));
    assert.throws(() => readBackup(file), /head says revision 1, its rows 9/);
  });

  test('closes the copy behind it, also when that cannot be read', async () => {
    const good = snapshotOf(small);
    (await opened(good)).close();
    assert.equal(good.closedCount, 1);
    const bad = snapshotOf(small, new Error('EIO'));
    await assert.rejects(opened(bad), /EIO/);
    assert.equal(bad.closedCount, 1);
  });
});
