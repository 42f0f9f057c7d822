/**
 * The replicated state machine: the same entries in the same order give the same rows that matter,
 * the same results and the same state hash on every replica. Pure and synchronous; its only time
 * is the entries' proposedAtMs. This class composes; the parts are in the files around it.
 */
import {AssertionError, assert, must, unreachable} from '../base/assert.ts';
import {MalformedBytesError} from '../base/bytes.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {decodeCommand, decodePlainPut} from './command-codec.ts';
import type {Command, CompactCommand, Idempotency, Transaction} from './command.ts';
import {readEvent, readRecordBefore} from './event-reader.ts';
import type {EventLink, EventSource, StoredEvent} from './event-reader.ts';
import {EventWriter} from './event-writer.ts';
import {newestEvent, recordAt} from './history.ts';
import {IdempotencyTable, answerSizeBytesMax} from './idempotency-table.ts';
import {LeaseExecutor} from './lease-executor.ts';
import {LeaseTable} from './lease-table.ts';
import {readRangeSlice} from './range-reader.ts';
import {decodeRecordRow, toKeyRecord} from './record-row.ts';
import type {CommandResult, KeyRecord} from './result.ts';
import type {RowStore} from './rows.ts';
import {SessionTable, parseSessionKey} from './session-table.ts';
import type {SessionKey} from './session-table.ts';
import {Scrubber} from './scrubber.ts';
import {formatStateHash, hashRow} from './state-hash.ts';
import {StateMeta} from './state-meta.ts';
import type {RangeSlice, RangeSliceRequest, StateReader} from './state-reader.ts';
import type {Steps} from './steps.ts';
import {latestBound, latestKeyView, tables} from './tables.ts';
import {TimeIndex} from './time-index.ts';
import {isKeyTransaction, TransactionExecutor} from './transaction.ts';

/** The part of a log entry that the state machine sees. */
interface AppliedEntry {
  readonly index: number;
  readonly proposedAtMs: number;
  /** An encoded command. */
  readonly data: Uint8Array;
}

/** Between two steps of a command. */
interface Suspended {
  readonly steps: Steps<CommandResult>;
  readonly proposedAtMs: number;
}

export class KvStateMachine implements StateReader, EventSource {
  /** As the newest command, also a suspended one, has left them. */
  readonly leases: LeaseTable;
  readonly #rows: RowStore;
  readonly #meta = new StateMeta();
  readonly #events: EventWriter;
  readonly #transactions: TransactionExecutor;
  readonly #leaseExecutor: LeaseExecutor;
  readonly #idempotency: IdempotencyTable;
  readonly #sessions: SessionTable;
  readonly #timeIndex: TimeIndex;
  readonly #scrubber: Scrubber;
  /** Of the newest entry begun since the last (re)load. */
  #appliedIndex = 0;
  /** The revision before the command that has begun, or will begin next. */
  #revisionBefore = 0;
  /** The command that has begun and not ended. */
  #suspended: Suspended | null = null;
  #onRevision: (() => void) | null = null;

  constructor(rows: RowStore) {
    this.#rows = rows;
    const meta = this.#meta;
    this.leases = new LeaseTable(rows, () => this.#suspended !== null);
    const parts = {
      rows,
      meta,
      events: new EventWriter(rows, meta, this.leases),
      leases: this.leases,
    };
    this.#events = parts.events;
    this.#transactions = new TransactionExecutor(parts);
    this.#leaseExecutor = new LeaseExecutor(parts);
    this.#idempotency = new IdempotencyTable(rows, meta);
    this.#sessions = new SessionTable(rows);
    this.#timeIndex = new TimeIndex(rows, meta);
    this.#scrubber = new Scrubber({rows, meta, timeIndex: this.#timeIndex});
    this.reload();
  }

  /**
   * Executes the command of one entry at one stretch. Deterministic. Throws only AssertionError: an
   * entry that cannot be decoded passed a door's checks and raft's checksum, so the program is
   * wrong.
   */
  apply(entry: AppliedEntry): CommandResult {
    let result = this.begin(entry);
    while (result === null) result = this.resume();
    return result;
  }

  /**
   * Executes the first step of the entry's command. Null: there are more, call `resume` until it
   * returns the result; nothing else may be begun, saved or scrubbed meanwhile. Reads may go on:
   * until the last step they see the state before the command. How the steps fall in time has no
   * influence on rows or results.
   */
  begin(entry: AppliedEntry): CommandResult | null {
    assert(this.#suspended === null, 'entry % in the middle of a command', entry.index);
    assert(entry.index > this.#appliedIndex, 'entry % after %', entry.index, this.#appliedIndex);
    const {data, proposedAtMs} = entry;
    this.#appliedIndex = entry.index;
    this.#idempotency.dropExpired(proposedAtMs);
    this.#sessions.dropExpired(proposedAtMs);
    let command: Command;
    try {
      const plainPut = decodePlainPut(data);
      if (plainPut !== null) {
        return this.#applied(this.#transactions.put(plainPut.key, plainPut.value), proposedAtMs);
      }
      command = decodeCommand(data);
    } catch (error) {
      if (!(error instanceof MalformedBytesError)) throw error;
      throw new AssertionError(`entry ${entry.index} holds no command: ${error.message}`);
    }
    const {idempotency, body} = command;
    if (idempotency === null && body.type === 'transaction' && isKeyTransaction(body)) {
      const result = this.#transactions.executeAtOnce(body);
      if ('type' in result) return this.#applied(result, proposedAtMs);
      this.#suspended = {steps: result, proposedAtMs};
      return null;
    }
    this.#suspended = {steps: this.#execute(command, proposedAtMs), proposedAtMs};
    return this.resume();
  }

  /** The next step of the command that has begun; null: there are more. */
  resume(): CommandResult | null {
    const {steps, proposedAtMs} = must(this.#suspended, 'no command has begun');
    const step = steps.next();
    if (step.done !== true) return null;
    this.#suspended = null;
    return this.#applied(step.value, proposedAtMs);
  }

  /** Bytes of the rows that the newest step of a command that looks at keys has read. */
  readSizeBytes(): number {
    return this.#events.readSizeBytes();
  }

  /** In the middle of a command: some of its rows are written, and must not become durable. */
  isSuspended(): boolean {
    return this.#suspended !== null;
  }

  /** One short piece of work for scans that could not begin; nothing when there are none. */
  prepareScans(): void {
    this.#rows.prepareScans();
  }

  /** Writes the meta row. Right before the rows are frozen for a checkpoint. */
  saveMeta(): void {
    assert(this.#suspended === null, 'a checkpoint in the middle of a command');
    this.#scrubber.notePruned();
    this.#meta.save(this.#rows);
    this.#sessions.save();
    this.leases.save();
  }

  /** After other rows took the place of these: a snapshot was installed. */
  reload(): void {
    this.#meta.load(this.#rows);
    this.#idempotency.reload();
    this.#sessions.load();
    this.leases.load();
    this.#timeIndex.reload();
    this.#appliedIndex = 0;
    this.#revisionBefore = this.#meta.revision;
    // Rows that a suspended command has written are gone with all others.
    this.#suspended = null;
    this.#events.begin();
    this.#onRevision?.();
  }

  /** `onRevision` is called when a revision can be read that could not before. It must be quick. */
  observe(onRevision: () => void): void {
    this.#onRevision = onRevision;
  }

  /** 16 hexadecimal digits, equal for equal logical state. */
  stateHash(): string {
    const {hashLow: low, hashHigh: high, compactedRevision} = this.#meta;
    return formatStateHash({low, high}, compactedRevision);
  }

  /**
   * Removes large values made obsolete by compaction, looking at no more than `rowCountMax`; true
   * when more remain. When none do, all else that is obsolete goes with the next checkpoints. Any
   * time between two commands.
   */
  scrub(rowCountMax: number): boolean {
    assert(this.#suspended === null, 'scrubbing in the middle of a command');
    if (this.#rows.isReadyToScan(tables.replacedLarge)) return this.#scrubber.scrub(rowCountMax);
    this.#rows.prepareScans();
    return true;
  }

  /** The revision that the leader should compact to, or 0. */
  compactionTarget(retention: {
    readonly nowMs: number;
    readonly ageMs: number;
    readonly sizeBytesMax: number;
  }): number {
    return this.#timeIndex.compactionTarget(retention);
  }

  /** The state hash by a scan of all rows, in one go, between two commands: for tests. */
  recomputeStateHash(): string {
    assert(this.#suspended === null, 'the rows in the middle of a command are no state');
    let low = 0;
    let high = 0;
    let keyCount = 0;
    const table = {start: latestBound(new Uint8Array(0)), end: latestBound(null), isReverse: false};
    this.#rows.scan(table, (rowKeyView, valueView) => {
      const row = decodeRecordRow(valueView);
      if (row.isTombstone) return true;
      const hash = hashRow(rowKeyView.subarray(1), row);
      low = (low + hash.low) >>> 0;
      high = (high + hash.high) >>> 0;
      keyCount++;
      return true;
    });
    assert(keyCount === this.#meta.keyCount, '% keys, counted %', keyCount, this.#meta.keyCount);
    return formatStateHash({low, high}, this.#meta.compactedRevision);
  }

  revision(): number {
    return this.#meta.revision;
  }

  compactedRevision(): number {
    return this.#meta.compactedRevision;
  }

  keyCount(): number {
    return this.#meta.keyCount;
  }

  get(key: Uint8Array, revision: number): KeyRecord | null {
    const at = this.#readable(revision);
    const bytes = this.#rows.get(latestKeyView(key));
    if (bytes === undefined) return null;
    const row = decodeRecordRow(bytes);
    if (row.modRevision > at) {
      const {compactedRevision} = this.#meta;
      const wanted = {revision: at, compactedRevision, keysOnly: false};
      return recordAt(this.#rows, key, newestEvent(row), wanted);
    }
    return row.isTombstone ? null : toKeyRecord(key, row, {keysOnly: false});
  }

  event(revision: number, sub: number): StoredEvent | null {
    // Behind it may be rows of a command that has not ended.
    return revision > this.#meta.revision ? null : readEvent(this.#rows, revision, sub);
  }

  recordBefore(key: Uint8Array, event: EventLink): KeyRecord | null {
    const {compactedRevision} = this.#meta;
    return readRecordBefore(this.#rows, key, event, {compactedRevision, keysOnly: false});
  }

  eventFloor(): number {
    const {revision, sub} = this.#meta.scrubbed;
    return sub === 0 ? revision : revision + 1;
  }

  rangeSlice(request: RangeSliceRequest): RangeSlice {
    const revision = this.#readable(request.revision);
    const {start, end} = request.range;
    const isWhole = start.length === 0 && end === null;
    if (request.countOnly && isWhole && revision === this.#meta.revision) {
      return {records: [], count: this.#meta.keyCount, rest: null};
    }
    if (!this.#rows.isReadyToScan(tables.latest)) {
      return {records: [], count: 0, rest: request.range};
    }
    return readRangeSlice(this.#rows, this.#meta.compactedRevision, {...request, revision});
  }

  #readable(revision: number): number {
    const {revision: newest, compactedRevision} = this.#meta;
    if (revision === 0) return newest;
    if (revision > newest) {
      const detail = `Revision ${revision} has not happened; the newest is ${newest}.`;
      throw new RosettaError('REVISION_IN_FUTURE', detail);
    }
    if (revision < compactedRevision) {
      const detail = `Revision ${revision} is gone; the oldest kept is ${compactedRevision}.`;
      throw new RosettaError('REVISION_COMPACTED', detail);
    }
    return revision;
  }

  /** The last step of every command, after which it can be read. */
  #applied(result: CommandResult, proposedAtMs: number): CommandResult {
    const {revision} = this.#meta;
    assert(result.type === 'refused' || result.revision <= revision, 'an answer of the past');
    if (revision !== this.#revisionBefore) {
      assert(revision === this.#revisionBefore + 1, 'a command takes at most one revision');
      this.#revisionBefore = revision;
      this.#timeIndex.maybeSample(proposedAtMs);
      this.#onRevision?.();
    }
    return result;
  }

  *#execute(command: Command, proposedAtMs: number): Steps<CommandResult> {
    const {idempotency} = command;
    if (idempotency === null) return yield* this.#run(command, proposedAtMs, Infinity);
    const sessionKey = parseSessionKey(idempotency.key);
    if (sessionKey !== null) {
      return yield* this.#executeOfSession(sessionKey, idempotency, command, proposedAtMs);
    }
    const sizeBytesMax = answerSizeBytesMax(command);
    const kept = this.#idempotency.answerFor(idempotency, sizeBytesMax);
    if (kept !== null) return kept;
    const roomSizeBytes = this.#idempotency.roomSizeBytes(idempotency) - sizeBytesMax;
    const result = yield* this.#run(command, proposedAtMs, valueRoomOf(roomSizeBytes));
    if (isAnswer(result)) this.#idempotency.keep(idempotency, result, proposedAtMs);
    return result;
  }

  *#executeOfSession(
    key: SessionKey,
    idempotency: Idempotency,
    command: Command,
    nowMs: number,
  ): Steps<CommandResult> {
    const {revision} = this.#meta;
    const needs = {answerSizeBytesMax: answerSizeBytesMax(command), revision, nowMs};
    const kept = this.#sessions.answerFor(key, idempotency, needs);
    if (kept !== null) return kept;
    const roomSizeBytes = this.#sessions.roomSizeBytes() - needs.answerSizeBytesMax;
    const result = yield* this.#run(command, nowMs, valueRoomOf(roomSizeBytes));
    if (isAnswer(result)) this.#sessions.keep(key, idempotency, result);
    else this.#sessions.pass(key);
    return result;
  }

  /** `roomSizeBytes`: for what the answer, if it is to be kept, has beyond answerSizeBytesMax. */
  *#run({body}: Command, nowMs: number, roomSizeBytes: number): Steps<CommandResult> {
    switch (body.type) {
      case 'transaction':
        return yield* this.#runTransaction(body, roomSizeBytes);
      case 'compact':
        return this.#compact(body);
      case 'lease-grant':
        return this.#leaseExecutor.grant(body);
      case 'lease-revoke':
        return yield* this.#leaseExecutor.revoke(body);
      case 'lease-query':
        return this.#leaseExecutor.query(body);
      case 'session': {
        const {revision} = this.#meta;
        if (body.action === 'close') return this.#sessions.close(body.id, revision);
        return this.#sessions.open(body.id, revision, nowMs);
      }
      default:
        return unreachable(body);
    }
  }

  *#runTransaction(transaction: Transaction, roomSizeBytes: number): Steps<CommandResult> {
    if (!isKeyTransaction(transaction)) return yield* this.#transactions.execute(transaction);
    const result = this.#transactions.executeAtOnce(transaction, roomSizeBytes);
    if ('type' in result) return result;
    yield;
    return yield* result;
  }

  #compact(command: CompactCommand): CommandResult {
    const meta = this.#meta;
    const {revision} = meta;
    if (command.revision > revision) {
      const detail = `Revision ${command.revision} has not happened; the newest is ${revision}.`;
      return {type: 'refused', revision, code: 'REVISION_IN_FUTURE', detail};
    }
    meta.compactedRevision = Math.max(meta.compactedRevision, command.revision);
    return {type: 'compact', revision, compactedRevision: meta.compactedRevision};
  }
}

/** What answers with values may take: a few large ones must not keep all other writes out. */
function valueRoomOf(roomSizeBytes: number): number {
  return Math.max(0, roomSizeBytes - limits.keptAnswersReserveSizeBytes);
}

/** Not of a refusal for the moment, which changed nothing: the same request may be made later. */
function isAnswer(result: CommandResult): boolean {
  return result.type !== 'refused' || result.code !== 'OVERLOADED';
}
