/**
 * One LMDB environment of checkpoint rows. The main thread opens it to read, the checkpoint's
 * thread to write: within a process both share the same environment underneath. Damage shows as
 * CheckpointDamagedError, whether LMDB or a row's checksum noticed it.
 */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import type {RootDatabase} from 'lmdb';
import {ABORT, open} from 'lmdb';
import {assert, must} from '../base/assert.ts';
import type {RowRange} from '../kv/rows.ts';
import {newestMeta} from './checkpoint-page.ts';
import {
  CheckpointDamagedError,
  decodeMeta,
  encodeMeta,
  formatRowKey,
  openRowView,
  RowSealer,
} from './checkpoint-row.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';

/** Address space, not memory or disk: the map is never moved under a reader. */
const mapSizeBytes = 2 ** 40;

const metaPageCount = 2;

/**
 * Of LMDB's codes those about the file itself (lmdb.h). The others are about the moment: MDB_PANIC,
 * for one, follows a meta page that could not be written.
 */
const damageCodes: ReadonlySet<unknown> = new Set([
  -30_797, // MDB_PAGE_NOTFOUND
  -30_796, // MDB_CORRUPTED
  -30_794, // MDB_VERSION_MISMATCH
  -30_793, // MDB_INVALID
  -30_787, // MDB_CURSOR_FULL: the tree is deeper than any can be
]);

/** LMDB's lock file with room for its usual 126 readers. */
const lockSizeBytes = 16 * 1024;

/** Pages that LMDB may number and never write: freed again in the transaction that took them. */
const unwrittenPageCountMax = 1024;

/** LMDB's list of the pages that a transaction has changed ends at 2^17 - 1; a few to spare. */
const changedPageCountMax = 130_000;
const pagesOfRowMax = 6;

/** Options of the binding that its types do not name. */
const unnamedOptions = {
  // The binding's LMDB keeps the list of free pages from one transaction to the next, and of a list
  // that takes several records it writes back those that it thinks have changed. Which they are it
  // reckons from the size of a record, and that size may be another one by then: a transaction
  // failed, the process was aborted, pages in use were called free. A list that is not kept is
  // read again where pages are needed, and what was read is always written as a whole.
  maxFreeSpaceToRetain: 0,
} as const;

/** What LMDB says about one of its trees. */
interface TreeStatistics {
  readonly pageSize: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

interface EnvironmentStatistics {
  readonly root: TreeStatistics;
  readonly free: TreeStatistics;
}

export interface EnvironmentOptions {
  readonly isReadOnly?: boolean;
  /** Commits reach the disk with `syncFile` only: for a file that nobody relies on yet. */
  readonly isUnsynced?: boolean;
}

export class LmdbEnvironment {
  readonly path: string;
  readonly #database: RootDatabase<Buffer, Uint8Array>;
  readonly #sealer = new RowSealer();
  /** Held for `padFile`: by the time of a commit there may be no descriptor left. */
  readonly #descriptor: number | null;
  #isClosed = false;

  constructor(path: string, options: EnvironmentOptions = {}) {
    this.path = path;
    prepareLockFile(path);
    this.#database = open<Buffer, Uint8Array>({
      ...unnamedOptions,
      path,
      noSubdir: true,
      keyEncoding: 'binary',
      encoding: 'binary',
      mapSize: mapSizeBytes,
      // Otherwise a commit would be visible before it is durable.
      overlappingSync: false,
      noSync: options.isUnsynced === true,
      readOnly: options.isReadOnly === true,
    });
    try {
      // LMDB creates files that others may read.
      if (options.isReadOnly !== true) {
        for (const file of [path, `${path}-lock`]) fs.chmodSync(file, 0o600);
      }
      this.#descriptor = options.isReadOnly === true ? null : fs.openSync(path, 'r+');
    } catch (error) {
      this.#closeDatabase();
      throw error;
    }
  }

  /** Forgets the cached read transaction: the next read sees the newest commit. */
  refresh(): void {
    this.#database.resetReadTxn();
  }

  /** A view that is valid until the next call of any environment; undefined: no such row. */
  get(rowKey: Uint8Array): Uint8Array | undefined {
    const stored = this.#guard(() => this.#database.getBinaryFast(rowKey));
    return stored === undefined ? undefined : this.#open(rowKey, stored);
  }

  /** As RowReader.scan. */
  scan(range: RowRange, visit: (rowKeyView: Uint8Array, valueView: Uint8Array) => boolean): void {
    const rows = this.#database
      .getRange(
        range.isReverse
          ? {
              start: range.end,
              exclusiveStart: true,
              end: range.start,
              inclusiveEnd: true,
              reverse: true,
            }
          : {start: range.start, end: range.end},
      )
      [Symbol.iterator]();
    try {
      for (;;) {
        const step = this.#guard(() => rows.next());
        if (step.done === true) return;
        const {key, value} = step.value;
        if (!visit(key, this.#open(key, value))) return;
      }
    } finally {
      // However the scan ends: an open cursor pins its read transaction, and with it freed pages.
      rows.return?.();
    }
  }

  /** Null: there is no format row. */
  readMeta(): CheckpointMeta | null {
    const row = this.get(formatRowKey);
    if (row === undefined) return null;
    try {
      return decodeMeta(row);
    } catch (error) {
      throw new CheckpointDamagedError(this.path, 'format row', error);
    }
  }

  /** Everything `write` puts and removes becomes durable as a whole, or nothing does. */
  transaction(write: () => void): void {
    this.#database.transactionSync(write);
    // An aborted one drops a list of free pages that was used up, too: `maxFreeSpaceToRetain` keeps
    // that, and pages that come to it later are not written back.
    this.#database.transactionSync(() => ABORT);
  }

  /**
   * Inside `transaction` only, one behind the other: what `write` puts and removes becomes a part
   * of the whole. LMDB keeps the pages that a transaction has changed in order, and makes room for
   * each by moving all behind it; those of a part are few, and merged at once.
   */
  part(write: () => void): void {
    this.#database.transactionSync(write);
  }

  /**
   * How many rows the parts of the next transaction may write, all together. A transaction that has
   * changed more pages than LMDB's list takes writes some of them to the file; a part can do that
   * with its own only, and fails when those before it have filled the list. The branches that are
   * there counted apart, a row changes its leaf, another one that it is split into or merged with,
   * the first page of a large value, and makes new branches: about one where keys are so long that
   * each row comes into a full leaf under full branches, where 40,000 rows still fit and 48,000 do
   * not. Six pages leave room for twice as many.
   */
  partedRowCountMax(): number {
    const {treeBranchPageCount} = this.#statistics().root;
    return Math.max(0, Math.floor((changedPageCountMax - treeBranchPageCount) / pagesOfRowMax));
  }

  /** Inside `transaction` only. */
  put(rowKey: Uint8Array, value: Uint8Array): void {
    this.#database.putSync(rowKey, this.#sealer.sealView(rowKey, value) as Buffer);
  }

  /** Inside `transaction` only; faster than `put`. `rowKey` is above all keys there are. */
  append(rowKey: Uint8Array, value: Uint8Array): void {
    const sealed = this.#sealer.sealView(rowKey, value) as Buffer;
    this.#database.putSync(rowKey, sealed, {append: true});
  }

  /** Inside `transaction` only. */
  remove(rowKey: Uint8Array): void {
    this.#database.removeSync(rowKey);
  }

  /**
   * Inside `transaction` only, before its first part, with `putMeta` behind the last. A part that
   * cannot begin, for want of memory, makes the binding commit what is there: without a format row
   * that is a damaged checkpoint and not half of one that passes for the former.
   */
  removeMeta(): void {
    this.remove(formatRowKey);
  }

  /** Inside `transaction` only. */
  putMeta(meta: CheckpointMeta): void {
    this.put(formatRowKey, encodeMeta(meta));
  }

  /** All pages of the file but those that are free. */
  usedSizeBytes(): number {
    // Beside the rows there is a tree of free pages, which takes pages of its own.
    const {root, free} = this.#statistics();
    return (metaPageCount + pageCount(root) + pageCount(free)) * root.pageSize;
  }

  /** A compact copy of the last commit. Runs in LMDB's own thread. */
  copyTo(path: string): Promise<void> {
    return this.#database.backup(path, true);
  }

  /** Makes the file as long as its meta page says, which `checkFileLength` relies on. */
  padFile(): void {
    assert(!this.#isClosed, '% is written after it was closed', this.path);
    const descriptor = must(this.#descriptor, 'an environment that is written');
    const length = readFileLength(descriptor);
    if (length !== null && length.hasBytes < length.wantsBytes) {
      fs.ftruncateSync(descriptor, length.wantsBytes);
    }
  }

  close(): void {
    if (this.#descriptor !== null && !this.#isClosed) fs.closeSync(this.#descriptor);
    this.#isClosed = true;
    this.#closeDatabase();
  }

  #closeDatabase(): void {
    // Closing is synchronous as long as nothing was written asynchronously, and nothing ever is.
    this.#database.close().catch(() => undefined);
  }

  #statistics(): EnvironmentStatistics {
    return this.#guard(() => this.#database.getStats()) as EnvironmentStatistics;
  }

  #open(rowKey: Uint8Array, stored: Uint8Array): Uint8Array {
    const value = openRowView(rowKey, stored);
    if (value === null) {
      const name = Buffer.from(rowKey.subarray(0, 64)).toString('hex');
      throw new CheckpointDamagedError(this.path, `checksum of row ${name}`);
    }
    return value;
  }

  #guard<Result>(read: () => Result): Result {
    assert(!this.#isClosed, '% is read after it was closed', this.path);
    try {
      return read();
    } catch (error) {
      if (!isDamage(error)) throw error;
      throw new CheckpointDamagedError(this.path, messageOf(error), error);
    }
  }
}

/**
 * Whether LMDB, or its binding, found something in the file that cannot be there. Whatever else
 * fails (no memory, no descriptor, no room among the readers) says nothing about it.
 */
export function isDamage(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (!('code' in error)) return error.message.startsWith('Invalid key size');
  return damageCodes.has(error.code);
}

/**
 * A compact copy has no list of free pages. LMDB aborts the process when the first commit to such a
 * file frees so many pages that their list needs a page of its own: it looks for free pages in the
 * tree it is just beginning. This first commit frees a handful.
 */
export function beginFreeList(file: string): void {
  const environment = new LmdbEnvironment(file, {isUnsynced: true});
  try {
    const meta = must(environment.readMeta(), 'a copy has a format row');
    environment.transaction(() => environment.putMeta(meta));
    environment.padFile();
  } finally {
    environment.close();
  }
}

/**
 * Refuses a file that is shorter than its meta page says, before LMDB maps it: a read behind the
 * end of a mapped file kills the process.
 */
export function checkFileLength(path: string): void {
  const file = fs.openSync(path, 'r+');
  try {
    const length = readFileLength(file);
    if (length === null) throw new CheckpointDamagedError(path, 'no valid meta page');
    const {hasBytes, wantsBytes, pageSize} = length;
    if (hasBytes >= wantsBytes) return;
    if (wantsBytes - hasBytes > unwrittenPageCountMax * pageSize) {
      throw new CheckpointDamagedError(path, `${hasBytes} bytes of ${wantsBytes}`);
    }
    // Possibly pages that were never written. If they are in use after all, they read as zeros and
    // fail their checksum.
    fs.ftruncateSync(file, wantsBytes);
  } finally {
    fs.closeSync(file);
  }
}

/**
 * Opens LMDB's lock file and gives a new one its blocks. The binding crashes the process when the
 * system refuses that file, or when it has no space for a page of it: here it is an error.
 */
function prepareLockFile(path: string): void {
  const {O_RDWR, O_CREAT} = fs.constants;
  const file = fs.openSync(`${path}-lock`, O_RDWR | O_CREAT, 0o600);
  try {
    if (fs.fstatSync(file).size > 0) return;
    const size = fs.writeSync(file, Buffer.alloc(lockSizeBytes));
    // Half a file would be taken for a whole one by the next start.
    if (size < lockSizeBytes) fs.ftruncateSync(file, 0);
  } finally {
    fs.closeSync(file);
  }
}

export function syncFile(path: string): void {
  const file = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function pageCount(tree: TreeStatistics): number {
  return tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages;
}

interface FileLength {
  readonly hasBytes: number;
  readonly wantsBytes: number;
  readonly pageSize: number;
}

/** Null: neither meta page is valid. */
function readFileLength(file: number): FileLength | null {
  const meta = newestMeta(file);
  if (meta === null) return null;
  const {pageSize, lastPage} = meta;
  const wantsBytes = (lastPage + 1) * pageSize;
  // No file is as long as that.
  if (!Number.isSafeInteger(wantsBytes)) return null;
  return {hasBytes: fs.fstatSync(file).size, wantsBytes, pageSize};
}
