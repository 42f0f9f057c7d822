/**
 * `./rosetta restore`: a backup file becomes the only member of a new cluster, in an empty data
 * directory. The directory is a member's when this returns, and as it was before when it throws.
 */
import fs from 'node:fs';
import path from 'node:path';
import {nodeId} from '../raft/ids.ts';
import type {BackupHead} from '../storage/backup-format.ts';
import {readBackup} from '../storage/backup-reader.ts';
import type {DataDirectory} from '../storage/data-directory.ts';
import {holderName, lockNames} from '../storage/directory-lock.ts';
import {nodeDisk} from '../storage/node-disk.ts';
import {isPrepared, PreparedMember, putInPlace} from '../storage/prepared-member.ts';
import {StorageError} from '../storage/storage-error.ts';
import {toIdentity} from './identity-file.ts';
import {lockedDataDirectory} from './locked-directory.ts';
import {drawNewCluster} from './new-cluster.ts';

export interface RestoreOptions {
  readonly file: string;
  /** Empty, or not there yet. */
  readonly data: string;
  /** The one member: its name, and its addresses as others are told. */
  readonly first: {readonly id: string; readonly listen: string; readonly http: string};
  /** How far revisions move forward, above 0. */
  readonly revisionBump: number;
}

export interface RestoreResult {
  readonly head: BackupHead;
  readonly clusterId: string;
  /** Of the new cluster: everything up to it is compacted. */
  readonly revision: number;
  readonly data: string;
}

/** What a file system keeps in its root. */
const ignoredNames = new Set(['lost+found']);

/** Rejects with StorageError. */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreResult> {
  const root = path.resolve(options.data);
  refuseUsed(root);
  const isNew = !fs.existsSync(root);
  const directory = await lockedDataDirectory(root);
  let result: RestoreResult;
  try {
    result = restoreInto(directory, options);
  } catch (error) {
    giveBack(directory, isNew);
    throw error;
  }
  directory.release();
  return result;
}

function restoreInto(directory: DataDirectory, options: RestoreOptions): RestoreResult {
  const root = directory.path;
  const {record, membership} = drawNewCluster({...options.first, id: nodeId(options.first.id)});
  const member = new PreparedMember(nodeDisk, root, {revisionBump: options.revisionBump});
  let head: BackupHead;
  try {
    ({head} = readBackup(options.file, {
      inBlock: addRows => member.transaction(addRows),
      onRow: (rowKey, value) => member.addRow(rowKey, value),
    }));
  } catch (error) {
    member.discard();
    throw error;
  }
  const meta = {index: head.index, term: head.term, membership};
  member.finish(toIdentity(record), meta, head.term);
  putInPlace(nodeDisk, root);
  return {
    head,
    clusterId: record.clusterId ?? '',
    revision: head.revision + options.revisionBump,
    data: root,
  };
}

function refuseUsed(root: string): void {
  const found = fs.statSync(root, {throwIfNoEntry: false});
  if (found === undefined) return;
  if (found.isDirectory()) {
    const used = fs.readdirSync(root).filter(name => !ignoredNames.has(name));
    if (used.length === 0) return;
    // A restore that was killed left this, and perhaps a start that was refused then.
    if (!isPrepared(root) && used.every(name => isLeftByRestore(root, name))) return;
  }
  throw new StorageError(`${root} is not an empty directory`, {
    path: root,
    advice: 'restore makes a new cluster and needs a directory of its own; name another with -data',
  });
}

function isLeftByRestore(root: string, name: string): boolean {
  if (['prepared', 'tmp'].includes(name) || lockNames.has(name)) return true;
  if (name !== 'wal' && name !== 'checkpoint') return false;
  return fs.readdirSync(path.join(root, name)).length === 0;
}

/** It was empty before. Whoever may use it afterwards finds nothing, and loses nothing. */
function giveBack(directory: DataDirectory, isNew: boolean): void {
  const root = directory.path;
  try {
    for (const name of fs.readdirSync(root)) {
      if (ignoredNames.has(name) || lockNames.has(name)) continue;
      fs.rmSync(path.join(root, name), {recursive: true, force: true});
    }
  } catch {
    // What went wrong first is what is told.
  }
  directory.release();
  try {
    const holder = path.join(root, holderName);
    if (fs.existsSync(holder)) fs.rmdirSync(holder);
    if (isNew) fs.rmdirSync(root);
  } catch {
    // Somebody else uses it by now.
  }
}
