/**
 * Checks the data directory of a node that does not run, record by record: the small files, every
 * batch and entry of the log, every page and row of the checkpoint, the state hash anew, and that
 * log and checkpoint fit. Reads only. The caller holds the directory's lock.
 */
import path from 'node:path';
import {AssertionError} from '../base/assert.ts';
import {compareBytes, MalformedBytesError} from '../base/bytes.ts';
import type {RowStore} from '../kv/rows.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import {noIndex, noTerm} from '../raft/ids.ts';
import {readDamagedMark} from './checkpoint-directory.ts';
import {emptyMeta} from './checkpoint-opening.ts';
import {walkPages} from './checkpoint-pages.ts';
import {CheckpointDamagedError, formatRowKey, openRowView} from './checkpoint-row.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import {readDurableFile} from './durable-file.ts';
import type {Identity} from './identity.ts';
import type {LmdbEnvironment} from './lmdb-environment.ts';
import {readOnlyDisk} from './read-only-disk.ts';
import type {LogSummary} from './resting-directory.ts';
import {
  decodeFormatRow,
  restingCheckpointFile,
  restingIdentity,
  restingLog,
  restingStartCount,
  withCheckpoint,
} from './resting-directory.ts';
import {StorageError} from './storage-error.ts';

export interface Damage {
  readonly path: string;
  /** Null: the file as a whole. */
  readonly offset: number | null;
  readonly problem: string;
}

/** One part of the directory. `findings`: what is right with it, or worth knowing. */
export interface PartReport {
  readonly part: 'identity' | 'log' | 'checkpoint' | 'state hash' | 'log and checkpoint';
  readonly findings: readonly string[];
  readonly damages: readonly Damage[];
  /** Of all damages, also of those that are too many to tell. */
  readonly damageCount: number;
}

/** What the identity says beside who it is. */
export interface MemberStanding {
  /** It has taken part: a log exists and must not vanish. */
  readonly isMember: boolean;
  /** How its state was found to differ from the cluster's; null: it was not. */
  readonly divergence: string | null;
}

/** Told one by one; the rest is counted. */
const damageCountMax = 20;

class Part {
  readonly #part: PartReport['part'];
  readonly findings: string[] = [];
  readonly #damages: Damage[] = [];
  #damageCount = 0;

  constructor(part: PartReport['part']) {
    this.#part = part;
  }

  get isSound(): boolean {
    return this.#damageCount === 0;
  }

  damage(file: string, offset: number | null, problem: string): void {
    this.#damageCount += 1;
    if (this.#damages.length < damageCountMax) this.#damages.push({path: file, offset, problem});
  }

  /** What `check` returns; null when it met damage. */
  try<Result>(check: () => Result): Result | null {
    try {
      return check();
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      // The advice is for somebody who wants to start the node, and the place is told anyway.
      const sentence = error.message.replace(`: ${error.advice}`, '');
      const problem = / is damaged(?: at byte [0-9]+)? \((.*)\)$/s.exec(sentence)?.[1];
      this.damage(error.path, error.offset ?? null, problem ?? sentence);
      return null;
    }
  }

  report(): PartReport {
    const {findings} = this;
    return {
      part: this.#part,
      findings,
      damages: this.#damages,
      damageCount: this.#damageCount,
    };
  }
}

/**
 * `standingOf` may throw StorageError. Throws StorageError when there is no node's directory at
 * all, and the system's errors.
 */
export function checkDirectory(
  root: string,
  standingOf: (identity: Identity) => MemberStanding,
): readonly PartReport[] {
  const identityPart = new Part('identity');
  const identity = checkIdentity(root, identityPart);
  const standing = identity === null ? null : identityPart.try(() => standingOf(identity));
  const divergence = standing?.divergence ?? null;
  if (divergence !== null) {
    const problem = `the state is not that of the other members: ${divergence}`;
    identityPart.damage(path.join(root, 'identity.json'), null, problem);
  }
  const checkpointPart = new Part('checkpoint');
  const file = checkpointPart.try(() => restingCheckpointFile(root));
  const meta = file === null ? null : checkCheckpoint(file, checkpointPart);
  checkMark(root, checkpointPart);
  const parts = [identityPart];
  let log: LogSummary | null = null;
  if (identity !== null) {
    const logPart = new Part('log');
    log = checkLog(root, identity, meta, logPart);
    const index = meta?.index ?? noIndex;
    if (log === null && logPart.isSound) {
      checkMissingLog(root, {mustExist: standing?.isMember === true || index > 0}, logPart);
    }
    parts.push(logPart);
  }
  if (file === null && checkpointPart.isSound) checkpointPart.findings.push('none yet');
  parts.push(checkpointPart);
  if (file !== null && checkpointPart.isSound) {
    const hashPart = new Part('state hash');
    withCheckpoint(file, environment => checkStateHash(environment, hashPart));
    parts.push(hashPart);
  }
  const isEmpty = file === null && checkpointPart.isSound;
  const fitting = meta ?? (isEmpty ? emptyMeta : null);
  if (log !== null && fitting !== null) {
    const fitPart = new Part('log and checkpoint');
    checkFit(root, log, fitting, fitPart);
    parts.push(fitPart);
  }
  return parts.map(part => part.report());
}

/** The first damage of the checkpoint, of all its pages and rows; null: none was found. */
export function checkpointDamage(root: string): string | null {
  const part = new Part('checkpoint');
  const file = part.try(() => restingCheckpointFile(root));
  if (file !== null) checkCheckpoint(file, part);
  const [first] = part.report().damages;
  if (first === undefined) return null;
  const {path: where, offset, problem} = first;
  return `${offset === null ? where : `${where} at byte ${offset}`}: ${problem}`;
}

function checkIdentity(root: string, part: Part): Identity | null {
  const identity = part.try(() => restingIdentity(root));
  part.try(() => restingStartCount(root));
  part.try(() => readDurableFile(readOnlyDisk, path.join(root, 'peers.json')));
  if (identity === null) return null;
  const {nodeId, incarnation, clusterId} = identity;
  part.findings.push(`${nodeId}, incarnation ${incarnation}, cluster ${clusterId ?? 'none yet'}`);
  return identity;
}

function checkLog(
  root: string,
  identity: Identity,
  meta: CheckpointMeta | null,
  part: Part,
): LogSummary | null {
  const checkpointIndex = meta?.index ?? noIndex;
  const log = part.try(() => restingLog(root, identity, {checkpointIndex, trustedIndex: noIndex}));
  if (log === null) return null;
  const {start, last, segmentCount, sizeBytes, hardState, warnings} = log;
  const entries =
    start.index === last.index ? 'no entries' : `entries ${start.index + 1} to ${last.index}`;
  part.findings.push(`${entries}, ${segmentCount} segments, ${sizeBytes} bytes`);
  part.findings.push(`term ${hardState.term}, known to be committed up to ${hardState.commit}`);
  for (const warning of warnings) part.findings.push(`the next start will say: ${warning}`);
  return log;
}

/** A member's vote and entries are gone with its log, whatever else is there. */
function checkMissingLog(
  root: string,
  {mustExist}: {readonly mustExist: boolean},
  part: Part,
): void {
  if (!mustExist) part.findings.push('none yet');
  else part.damage(path.join(root, 'wal'), null, 'there is no log, but it has taken part before');
}

/** What the last run left for the next start, which will move the checkpoint aside. */
function checkMark(root: string, part: Part): void {
  const directory = path.join(root, 'checkpoint');
  const problem = readDamagedMark(directory);
  if (problem !== null) part.damage(directory, null, `the last run found: ${problem}`);
}

/** Null when its format row cannot be read. */
function checkCheckpoint(file: string, part: Part): CheckpointMeta | null {
  const metas: CheckpointMeta[] = [];
  let lastKey: Uint8Array | null = null;
  const onDamage = (offset: number, problem: string): void => part.damage(file, offset, problem);
  const {rowCount, pageCount} = walkPages(file, {
    onDamage,
    onFreeListDamage: onDamage,
    onRow: (rowKey, stored, offset) => {
      if (lastKey !== null && compareBytes(lastKey, rowKey) >= 0) {
        part.damage(file, offset, 'a row is out of order');
      }
      lastKey = Uint8Array.from(rowKey);
      const value = openRowView(rowKey, stored);
      if (value === null) part.damage(file, offset, 'the checksum of a row does not match');
      else if (compareBytes(rowKey, formatRowKey) === 0) metas.push(...decodeFormatRow(value));
    },
  });
  const [meta] = metas;
  if (meta === undefined) {
    if (part.isSound) part.damage(file, null, 'there is no valid format row');
    return null;
  }
  const {index, term} = meta;
  part.findings.push(`index ${index} of term ${term}, ${rowCount} rows in ${pageCount} pages`);
  return meta;
}

function checkStateHash(environment: LmdbEnvironment, part: Part): void {
  try {
    const machine = new KvStateMachine(rowsOf(environment));
    const kept = machine.stateHash();
    const recomputed = machine.recomputeStateHash();
    if (kept === recomputed) {
      part.findings.push(`${kept} at revision ${machine.revision()}, ${machine.keyCount()} keys`);
    } else {
      part.damage(environment.path, null, `the rows have ${recomputed}, the state says ${kept}`);
    }
  } catch (error) {
    const isAboutRows =
      error instanceof AssertionError ||
      error instanceof MalformedBytesError ||
      error instanceof CheckpointDamagedError;
    if (!isAboutRows) throw error;
    part.damage(environment.path, null, `its rows contradict each other (${error.message})`);
  }
}

function rowsOf(environment: LmdbEnvironment): RowStore {
  const refuse = (): never => {
    throw new AssertionError('a check writes nothing');
  };
  return {
    get: rowKey => environment.get(rowKey),
    scan: (range, visit) => environment.scan(range, visit),
    put: refuse,
    delete: refuse,
    prune: refuse,
    prunedTo: () => null,
    isReadyToScan: () => true,
    prepareScans: () => undefined,
  };
}

function checkFit(root: string, log: LogSummary, meta: CheckpointMeta, part: Part): void {
  const directory = path.join(root, 'wal');
  const {start, last, terms} = log;
  const {index} = meta;
  const term = terms.at(index);
  if (start.index > index) {
    const problem = `the log begins behind entry ${start.index}, the checkpoint ends at ${index}`;
    part.damage(directory, null, problem);
  } else if (term === undefined) {
    part.findings.push(
      `the log ends at ${last.index}, before the checkpoint: it goes on behind it`,
    );
  } else if (term !== (index === noIndex ? noTerm : meta.term)) {
    const problem = `entry ${index} is of term ${term} in the log, of ${meta.term} in the checkpoint`;
    part.findings.push(`${problem}: the log goes on behind the checkpoint`);
  } else {
    part.findings.push(`${last.index - index} entries of the log follow the checkpoint`);
  }
}
