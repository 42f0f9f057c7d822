/**
 * A Service without a cluster: an in-memory model of the store with revisions and history, plain
 * enough to be believed. Front doors are tested against it. Answers come in a later turn, as the
 * interface demands; `failNext` makes the next call fail, `hold` keeps answers back.
 */
import {compareBytes, equalBytes} from '../../src/base/bytes.ts';
import {RosettaError} from '../../src/base/errors.ts';
import {limits} from '../../src/base/limits.ts';
import {decodeCommand} from '../../src/kv/command-codec.ts';
import type {
  Command,
  Compare,
  KeyRange,
  Operation,
  PutOperation,
  Transaction,
} from '../../src/kv/command.ts';
import {LeaseTable} from '../../src/kv/lease-table.ts';
import type {CommandResult, KeyRecord, OperationResult} from '../../src/kv/result.ts';
import type {RangeSlice, RangeSliceRequest, StateReader} from '../../src/kv/state-reader.ts';
import type {
  Backup,
  BackupCallback,
  ClusterChange,
  ClusterChangeCallback,
  Consistency,
  LeaderStatus,
  MemberStatus,
  NodeStatus,
  ProposeCallback,
  ReadCallback,
  ReadOptions,
  Service,
} from '../../src/node/service.ts';
import {FakeRows} from './fake-rows.ts';

/** A key's state from `revision` on; null: absent. */
interface Version {
  readonly revision: number;
  readonly record: KeyRecord | null;
}

interface Remembered {
  readonly fingerprint: Uint8Array;
  readonly result: CommandResult;
}

export class FakeService implements Service {
  readonly store = new FakeStore();
  readonly proposed: Command[] = [];
  readonly changes: ClusterChange[] = [];
  readonly readOptions: {consistency: Consistency; timeoutMs: number}[] = [];
  failNext: RosettaError | null = null;
  unready: RosettaError | null = null;
  leaderStatus: LeaderStatus | null = {
    id: 'node1',
    listen: '127.0.0.1:8080',
    http: '127.0.0.1:9080',
    term: 3,
  };
  readonly #remembered = new Map<string, Remembered>();
  #held: (() => void)[] | null = null;

  get heldCount(): number {
    return this.#held?.length ?? 0;
  }

  /** Answers wait until `letGo`. */
  hold(): void {
    this.#held = [];
  }

  letGo(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const answer of held) answer();
  }

  propose(
    bytes: Uint8Array,
    _options: {readonly timeoutMs: number},
    callback: ProposeCallback,
  ): void {
    const failure = this.#takeFailure();
    const command = decodeCommand(bytes.slice());
    this.#later(() => {
      if (failure !== null) {
        callback(failure, null);
        return;
      }
      this.proposed.push(command);
      callback(null, this.#applyOnce(command));
    });
  }

  read(
    options: {readonly consistency: Consistency; readonly timeoutMs: number},
    callback: ReadCallback,
  ): void {
    const failure = this.#takeFailure();
    this.readOptions.push(options);
    this.#later(() => {
      if (failure !== null) callback(failure, null);
      else callback(null, this.store);
    });
  }

  /** The pieces that the next backup consists of; after the last comes `backupError`, if any. */
  backupPieces: readonly Uint8Array[] = [];
  backupError: Error | null = null;
  /** Backups handed out and not closed. */
  openBackupCount = 0;
  /** Pieces handed out of all of them. */
  backupPieceCount = 0;

  backup(options: ReadOptions, callback: BackupCallback): void {
    const failure = this.#takeFailure();
    this.readOptions.push(options);
    this.#later(() => {
      if (failure !== null) callback(failure, null);
      else callback(null, this.#openBackup());
    });
  }

  #openBackup(): Backup {
    this.openBackupCount += 1;
    const pieces = [...this.backupPieces];
    return {
      clusterId: 'c1',
      revision: this.store.revision(),
      next: callback => {
        const piece = pieces.shift() ?? null;
        if (piece !== null) this.backupPieceCount += 1;
        setImmediate(() => callback(piece === null ? this.backupError : null, piece));
      },
      close: () => {
        this.openBackupCount -= 1;
      },
    };
  }

  status(): NodeStatus {
    return {
      id: 'node1',
      clusterId: 'c1',
      version: '0.1.0',
      state: 'leader',
      term: 3,
      leader: this.leaderStatus?.id ?? null,
      ready: this.unready === null,
      commitIndex: 5,
      appliedIndex: 5,
      lastLogIndex: 5,
      log: {entries: 5, bytes: 500},
      revision: this.store.revision(),
      compactedRevision: this.store.compactedRevision(),
      keys: this.store.keyCount(),
      checkpointIndex: 0,
      uptimeSeconds: 1,
      stateHash: '0000000000000000',
      diverged: false,
    };
  }

  leader(): LeaderStatus | null {
    return this.leaderStatus;
  }

  changeCluster(
    change: ClusterChange,
    _options: {readonly timeoutMs: number},
    callback: ClusterChangeCallback,
  ): void {
    const error = this.failNext;
    this.failNext = null;
    if (error === null) this.changes.push(change);
    this.#later(() => callback(error));
  }

  members(): readonly MemberStatus[] {
    const {listen, http} = {listen: '127.0.0.1:8080', http: '127.0.0.1:9080'};
    return [{id: 'node1', listen, http, role: 'voter', state: 'leader', matchIndex: 5}];
  }

  notReady(): RosettaError | null {
    return this.unready;
  }

  #later(answer: () => void): void {
    if (this.#held === null) setImmediate(answer);
    else this.#held.push(answer);
  }

  #takeFailure(): RosettaError | null {
    const failure = this.failNext;
    this.failNext = null;
    return failure;
  }

  #applyOnce(command: Command): CommandResult {
    const {idempotency} = command;
    if (idempotency === null) return this.store.apply(command);
    const known = this.#remembered.get(idempotency.key);
    if (known === undefined) {
      const result = this.store.apply(command);
      this.#remembered.set(idempotency.key, {fingerprint: idempotency.fingerprint, result});
      return result;
    }
    if (equalBytes(known.fingerprint, idempotency.fingerprint)) return known.result;
    const revision = this.store.revision();
    return {type: 'refused', revision, code: 'IDEMPOTENCY_KEY_REUSED', detail: 'another request'};
  }
}

class FakeStore implements StateReader {
  readonly leases = new LeaseTable(new FakeRows());
  readonly #versions = new Map<string, Version[]>();
  #revision = 1;
  #compactedRevision = 0;

  revision(): number {
    return this.#revision;
  }

  compactedRevision(): number {
    return this.#compactedRevision;
  }

  keyCount(): number {
    return this.#recordsAt(this.#revision).length;
  }

  get(key: Uint8Array, revision: number): KeyRecord | null {
    return this.#at(key, this.#checked(revision));
  }

  rangeSlice(request: RangeSliceRequest): RangeSlice {
    const {range, isReverse, keysOnly, countOnly} = request;
    const found = this.#recordsAt(this.#checked(request.revision)).filter(({key}) =>
      isWithin(key, range),
    );
    if (isReverse) found.reverse();
    const records: KeyRecord[] = [];
    let sizeBytes = 0;
    let rest: KeyRange | null = null;
    const countMax = Math.min(request.countMax, request.rowCountMax);
    for (const record of found) {
      if (records.length === countMax || sizeBytes > request.sizeBytesMax) break;
      sizeBytes += record.key.length + record.value.length;
      records.push(keysOnly ? {...record, value: new Uint8Array(0)} : record);
      // As a real store does, say that there may be more whenever the end was not looked at.
      const after = Buffer.concat([record.key, Buffer.of(0)]);
      rest = isReverse ? {start: range.start, end: record.key} : {start: after, end: range.end};
    }
    const isAll = records.length === found.length && records.length < countMax;
    return {
      records: countOnly ? [] : records,
      count: records.length,
      rest: isAll ? null : rest,
    };
  }

  apply(command: Command): CommandResult {
    const {body} = command;
    if (body.type === 'compact') {
      if (body.revision > this.#revision) return this.#refused('REVISION_IN_FUTURE');
      this.#compactedRevision = Math.max(this.#compactedRevision, body.revision);
      const compactedRevision = this.#compactedRevision;
      return {type: 'compact', revision: this.#revision, compactedRevision};
    }
    if (body.type === 'session') return {type: 'session', revision: this.#revision};
    // It has no leases, so there is none with any id.
    if (body.type !== 'transaction') return this.#refused('LEASE_NOT_FOUND');
    return this.#applyTransaction(body);
  }

  #applyTransaction(transaction: Transaction): CommandResult {
    const succeeded = transaction.compare.every(compare => this.#holds(compare));
    const operations = succeeded ? transaction.success : transaction.failure;
    for (const operation of operations) {
      if (operation.type !== 'delete-range') continue;
      const count = this.#recordsAt(this.#revision).filter(({key}) =>
        isWithin(key, operation.range),
      ).length;
      if (count > limits.deleteRangeKeyCountMax) return this.#refused('TOO_MANY_KEYS');
    }
    const next = this.#revision + 1;
    const results = operations.map(operation => this.#perform(operation, next));
    const hasChanged = [...this.#versions.values()].some(list => list.at(-1)?.revision === next);
    if (hasChanged) this.#revision = next;
    return {type: 'transaction', revision: this.#revision, succeeded, results};
  }

  #perform(operation: Operation, revision: number): OperationResult {
    switch (operation.type) {
      case 'put':
        return this.#put(operation, revision);
      case 'get':
        return {type: 'get', record: this.#at(operation.key, revision)};
      case 'delete':
        return this.#delete([operation.key], revision);
      case 'delete-range': {
        const keys = this.#recordsAt(revision).map(({key}) => key);
        return this.#delete(
          keys.filter(key => isWithin(key, operation.range)),
          revision,
        );
      }
      default:
        throw new Error(`the fake knows no ${operation.type}`);
    }
  }

  #put(operation: PutOperation, revision: number): OperationResult {
    const previous = this.#at(operation.key, revision);
    const version = (previous?.version ?? 0) + 1;
    this.#record(operation.key, revision, {
      key: operation.key,
      value: operation.value,
      createRevision: previous?.createRevision ?? revision,
      modRevision: revision,
      version,
      leaseId: operation.leaseId,
    });
    return {type: 'put', version, previous: null};
  }

  #delete(keys: readonly Uint8Array[], revision: number): OperationResult {
    const existing = keys.filter(key => this.#at(key, revision) !== null);
    for (const key of existing) this.#record(key, revision, null);
    return {type: 'delete', deletedCount: existing.length, previous: []};
  }

  #holds({keys, operator, target}: Compare): boolean {
    if (!('key' in keys) || target.type === 'value' || target.type === 'lease') {
      throw new Error('the fake compares versions and revisions of one key');
    }
    const actual = this.#at(keys.key, this.#revision)?.[target.type] ?? 0;
    switch (operator) {
      case '=':
        return actual === target.value;
      case '!=':
        return actual !== target.value;
      case '<':
        return actual < target.value;
      case '>':
        return actual > target.value;
    }
  }

  #record(key: Uint8Array, revision: number, record: KeyRecord | null): void {
    const name = Buffer.from(key).toString('hex');
    const versions = this.#versions.get(name) ?? [];
    versions.push({revision, record});
    this.#versions.set(name, versions);
  }

  #at(key: Uint8Array, revision: number): KeyRecord | null {
    const versions = this.#versions.get(Buffer.from(key).toString('hex')) ?? [];
    return versions.findLast(version => version.revision <= revision)?.record ?? null;
  }

  #recordsAt(revision: number): KeyRecord[] {
    const records: KeyRecord[] = [];
    for (const versions of this.#versions.values()) {
      const record = versions.findLast(version => version.revision <= revision)?.record;
      if (record !== undefined && record !== null) records.push(record);
    }
    return records.sort((a, b) => compareBytes(a.key, b.key));
  }

  #checked(revision: number): number {
    if (revision > this.#revision) {
      throw new RosettaError('REVISION_IN_FUTURE', `the store is at revision ${this.#revision}`);
    }
    if (revision !== 0 && revision < this.#compactedRevision) {
      throw new RosettaError('REVISION_COMPACTED', `compacted up to ${this.#compactedRevision}`);
    }
    return revision === 0 ? this.#revision : revision;
  }

  #refused(code: 'REVISION_IN_FUTURE' | 'TOO_MANY_KEYS' | 'LEASE_NOT_FOUND'): CommandResult {
    return {type: 'refused', revision: this.#revision, code, detail: 'refused by the store'};
  }
}

function isWithin(key: Uint8Array, range: KeyRange): boolean {
  return (
    compareBytes(key, range.start) >= 0 && (range.end === null || compareBytes(key, range.end) < 0)
  );
}
