/**
 * The one member of a new cluster, built in `prepared/` of a data directory from rows in order, and
 * then put in place of what is there, which is kept in a directory of its own. A crash leaves the
 * old member until everything is prepared durably; from then on the change can only be completed.
 * Layout: docs/formats.md, "Data directory". For offline use, with the directory locked.
 */
import fs from 'node:fs';
import path from 'node:path';
import {assert} from '../base/assert.ts';
import {equalBytes} from '../base/bytes.ts';
import {metaKey} from '../kv/tables.ts';
import type {Term} from '../raft/ids.ts';
import {CheckpointDirectory} from './checkpoint-directory.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import type {Disk} from './disk.ts';
import {damagedFileError, isJsonObject, readDurableFile, writeDurableFile} from './durable-file.ts';
import type {Identity} from './identity.ts';
import {writeIdentity} from './identity.ts';
import {LmdbEnvironment, syncFile} from './lmdb-environment.ts';
import {bumpedMetaRow} from './revision-bump.ts';
import type {StartHistory} from './start-history.ts';
import {StorageError} from './storage-error.ts';
import {createFirstSegment} from './wal-directory.ts';
import {walOptions} from './wal-options.ts';
import {encodeSegmentHeader} from './wal-segment.ts';

const preparedName = 'prepared';
const readyName = 'ready.json';
/** The identity comes last: without one a directory takes part in nothing. */
const replacedNames = ['checkpoint', 'wal', 'start-count.json', 'identity.json'] as const;

export class PreparedMember {
  readonly #disk: Disk;
  readonly #root: string;
  readonly #directory: string;
  readonly #checkpoint: CheckpointDirectory;
  readonly #generation: string;
  readonly #environment: LmdbEnvironment;
  readonly #revisionBump: number;
  #hasMeta = false;

  /** Whatever an interrupted attempt left in `prepared/` is removed. */
  constructor(disk: Disk, root: string, options: {readonly revisionBump: number}) {
    assert(!isPrepared(root), 'what is prepared is put in place first');
    this.#disk = disk;
    this.#root = root;
    this.#revisionBump = options.revisionBump;
    this.#directory = path.join(root, preparedName);
    disk.removeSync(this.#directory);
    disk.makeDirectorySync(this.#directory);
    this.#checkpoint = new CheckpointDirectory(this.#directory);
    this.#generation = this.#checkpoint.nextGeneration();
    const file = this.#checkpoint.dataFile(this.#generation);
    fs.mkdirSync(path.dirname(file), {mode: 0o700});
    this.#environment = new LmdbEnvironment(file, {isUnsynced: true});
  }

  /** Around a bounded number of `addRow`. */
  transaction(addRows: () => void): void {
    this.#environment.transaction(addRows);
  }

  /** In ascending order of the row keys; the meta row, which is the first, is moved forward. */
  addRow(rowKey: Uint8Array, value: Uint8Array): void {
    const isMeta = equalBytes(rowKey, metaKey);
    if (isMeta || !this.#hasMeta) {
      this.#hasMeta = true;
      const metaRow = isMeta ? value : undefined;
      this.#environment.append(metaKey, bumpedMetaRow(metaRow, this.#revisionBump));
    }
    if (!isMeta) this.#environment.append(rowKey, value);
  }

  /** Durable at return. `term`: the highest this member knows, at least that of `meta`. */
  finish(identity: Identity, meta: CheckpointMeta, term: Term): void {
    assert(term >= meta.term, 'term % after %', term, meta.term);
    this.#environment.transaction(() => {
      if (!this.#hasMeta) {
        this.#environment.append(metaKey, bumpedMetaRow(undefined, this.#revisionBump));
      }
      this.#environment.putMeta(meta);
    });
    this.#environment.padFile();
    this.#environment.close();
    syncFile(this.#environment.path);
    this.#checkpoint.switchSync(this.#generation);
    this.#writeLog(identity, meta, term);
    // The starts of another incarnation: none so far, and nobody has said that they are old.
    const startHistory = {count: 0, marks: []} satisfies StartHistory;
    writeDurableFile(this.#disk, path.join(this.#directory, 'start-count.json'), startHistory);
    writeIdentity(this.#disk, path.join(this.#directory, 'identity.json'), identity);
    this.#disk.syncDirectorySync(this.#root);
    const saved = `before-${identity.incarnation}`;
    writeDurableFile(this.#disk, path.join(this.#directory, readyName), {saved});
  }

  /** Gives up; nothing has changed. */
  discard(): void {
    this.#environment.close();
    this.#disk.removeSync(this.#directory);
  }

  #writeLog(identity: Identity, meta: CheckpointMeta, term: Term): void {
    const directory = path.join(this.#directory, 'wal');
    this.#disk.makeDirectorySync(directory);
    const {clusterId, nodeId, incarnation} = identity;
    const {index, membership} = meta;
    const previous = {index, term: meta.term};
    const walIdentity = {clusterId, nodeId, incarnation};
    const bytes = encodeSegmentHeader({
      sequence: 1,
      isStart: true,
      previous,
      previousEnd: 0,
      hardState: {term, vote: null, commit: index},
      membership: {index, membership},
      identity: walIdentity,
      preceding: null,
    });
    const wal = {disk: this.#disk, directory, identity: walIdentity, options: walOptions()};
    createFirstSegment(wal, 1, bytes, previous).close();
  }
}

/** Whether a member is prepared and only has to be put in place. */
export function isPrepared(root: string): boolean {
  return fs.existsSync(path.join(root, preparedName, readyName));
}

/**
 * Throws StorageError: the directory is neither the old member any more nor the new one yet, or was
 * to become the new one and has no old one that could run instead.
 */
export function refusePrepared(root: string): void {
  if (isPrepared(root)) {
    throw new StorageError(`${root} holds a new member that was not put in place`, {
      path: root,
      advice: `finish it with: ./rosetta recover -data=${root} -force`,
    });
  }
  if (!isUnfinishedRestore(root)) return;
  throw new StorageError(`${root} holds a restore that was interrupted`, {
    path: root,
    advice: `type the restore again, or remove ${path.join(root, preparedName)} to start without it`,
  });
}

/** Whether a new member was begun here, and nothing else is. */
function isUnfinishedRestore(root: string): boolean {
  const hasBegun = fs.existsSync(path.join(root, preparedName)) && !isPrepared(root);
  return hasBegun && !fs.existsSync(path.join(root, 'identity.json'));
}

/** What an interrupted attempt left of a new member beside the one that is in force. */
export function discardUnfinished(disk: Disk, root: string): void {
  assert(!isPrepared(root), 'what is prepared is put in place');
  const prepared = path.join(root, preparedName);
  if (disk.existsSync(prepared)) disk.removeSync(prepared);
}

/**
 * Puts the prepared member in place, durably. Returns the directory with what was there before,
 * null when there was nothing. May be repeated after a crash at any point.
 */
export function putInPlace(disk: Disk, root: string): string | null {
  const prepared = path.join(root, preparedName);
  const saved = path.join(root, readSavedName(disk, path.join(prepared, readyName)));
  for (const name of replacedNames) {
    const source = path.join(prepared, name);
    const target = path.join(root, name);
    if (!disk.existsSync(source)) continue;
    if (isEmptyDirectory(target)) disk.removeSync(target);
    if (disk.existsSync(target)) {
      disk.makeDirectorySync(saved);
      disk.renameSync(target, path.join(saved, name));
      disk.syncDirectorySync(saved);
      // The old name is gone for good before the new one comes: never both, never mixed.
      disk.syncDirectorySync(root);
    }
    disk.renameSync(source, target);
    disk.syncDirectorySync(root);
    disk.syncDirectorySync(prepared);
  }
  disk.removeSync(prepared);
  disk.syncDirectorySync(root);
  return disk.existsSync(saved) ? saved : null;
}

function readSavedName(disk: Disk, file: string): string {
  const content = readDurableFile(disk, file);
  const saved = isJsonObject(content) ? content['saved'] : undefined;
  if (typeof saved === 'string' && /^before-[0-9a-f]{16}$/.test(saved)) return saved;
  throw damagedFileError(file, 'it names no directory');
}

function isEmptyDirectory(target: string): boolean {
  const found = fs.statSync(target, {throwIfNoEntry: false});
  return found?.isDirectory() === true && fs.readdirSync(target).length === 0;
}
