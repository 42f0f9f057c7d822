/**
 * The answers of commands that carry an idempotency key: the same key again gets the first
 * committed answer instead of a second run. Kept limits.idempotencyAgeMs of the log's time, oldest
 * dropped first, a few per command. When younger ones fill the table a keyed command is refused.
 */
import {Buffer} from 'node:buffer';
import {assert, must} from '../base/assert.ts';
import {ByteReader, ByteWriter, equalBytes} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {Command, Idempotency, Operation} from './command.ts';
import {decodeResult, encodeResult} from './result-codec.ts';
import type {CommandResult} from './result.ts';
import type {RowStore} from './rows.ts';
import type {StateMeta} from './state-meta.ts';
import {idempotencyKeyRow, idempotencyQueueKeyView} from './tables.ts';
import {isKeyTransaction} from './transaction.ts';

/** Two rows and their bookkeeping, beside key and answer. */
const answerOverheadSizeBytes = 128;
const dropCountMax = 4;
const plainResultSizeBytes = 32;
/** Of a result with one record, beside its key and value. */
const recordOverheadSizeBytes = 64;
const recordsSizeBytesMax = 2 * limits.resultSizeBytesMax;

export class IdempotencyTable {
  readonly #rows: RowStore;
  readonly #meta: StateMeta;
  /** Of the oldest kept answer; Infinity when there is none. Derived from the rows. */
  #oldestMs = Infinity;

  constructor(rows: RowStore, meta: StateMeta) {
    this.#rows = rows;
    this.#meta = meta;
  }

  /** After the meta was loaded. */
  reload(): void {
    this.#oldestMs = this.#readOldestMs();
  }

  /** Drops expired answers; to be called for every command, so that the work stays small. */
  dropExpired(nowMs: number): void {
    for (let i = 0; i < dropCountMax; i++) {
      if (this.#oldestMs + limits.idempotencyAgeMs >= nowMs) return;
      this.#dropOldest();
    }
  }

  /**
   * The answer to give without running the command: the kept one, or a refusal. Null: run it, and
   * then `keep` the result. `sizeBytesMax`: answerSizeBytesMax of the command.
   */
  answerFor(idempotency: Idempotency, sizeBytesMax: number): CommandResult | null {
    const {revision} = this.#meta;
    const bytes = this.#rows.get(idempotencyKeyRow(idempotency.key));
    if (bytes !== undefined) {
      const reader = new ByteReader(bytes, 8);
      if (equalBytes(reader.rawView(16), idempotency.fingerprint)) {
        return decodeResult(reader.rawView(reader.remaining));
      }
      const detail = 'The idempotency key came before with another request; use a new one.';
      return {type: 'refused', revision, code: 'IDEMPOTENCY_KEY_REUSED', detail};
    }
    if (sizeBytesMax <= this.roomSizeBytes(idempotency)) return null;
    const detail = 'The table of idempotency keys is full; try later, or without a key.';
    return {type: 'refused', revision, code: 'OVERLOADED', detail};
  }

  /** For the next answer. */
  roomSizeBytes(idempotency: Idempotency): number {
    const usedSizeBytes = this.#meta.idempotencySizeBytes + sizeBesideAnswer(idempotency);
    return limits.idempotencySizeBytesMax - usedSizeBytes;
  }

  keep(idempotency: Idempotency, result: CommandResult, nowMs: number): void {
    const meta = this.#meta;
    const answer = encodeResult(result);
    const sizeBytes = answer.length + sizeBesideAnswer(idempotency);
    const sequence = meta.idempotencyNext++;
    const writer = new ByteWriter(32 + answer.length);
    writer.u64(sequence);
    writer.raw(idempotency.fingerprint);
    writer.raw(answer);
    this.#rows.put(idempotencyKeyRow(idempotency.key), writer.contentView());
    writer.reset();
    writer.u64(nowMs);
    writer.u32(sizeBytes);
    writer.raw(Buffer.from(idempotency.key, 'latin1'));
    this.#rows.put(idempotencyQueueKeyView(sequence), writer.contentView());
    meta.idempotencySizeBytes += sizeBytes;
    if (this.#oldestMs === Infinity) this.#oldestMs = nowMs;
    const total = meta.idempotencySizeBytes;
    assert(total <= limits.idempotencySizeBytesMax, '% bytes of idempotency answers', total);
  }

  #dropOldest(): void {
    const meta = this.#meta;
    const sequence = meta.idempotencyFirst;
    assert(sequence < meta.idempotencyNext, 'an empty queue has no oldest');
    const bytes = this.#rows.get(idempotencyQueueKeyView(sequence));
    const reader = new ByteReader(must(bytes, 'answer % is missing', sequence));
    reader.u64();
    const sizeBytes = reader.u32();
    const key = Buffer.from(reader.rawView(reader.remaining)).toString('latin1');
    this.#rows.delete(idempotencyKeyRow(key));
    this.#rows.delete(idempotencyQueueKeyView(sequence));
    meta.idempotencyFirst++;
    meta.idempotencySizeBytes -= sizeBytes;
    assert(meta.idempotencySizeBytes >= 0, 'the bytes of kept answers add up');
    this.#oldestMs = this.#readOldestMs();
  }

  #readOldestMs(): number {
    const {idempotencyFirst: sequence, idempotencyNext} = this.#meta;
    if (sequence === idempotencyNext) return Infinity;
    const bytes = this.#rows.get(idempotencyQueueKeyView(sequence));
    return new ByteReader(must(bytes, 'answer % is missing', sequence)).u64();
  }
}

/**
 * Before the command runs: what its answer may take. Only answers with records can be large. Of a
 * transaction of single keys their values are not in it: its checks look at them, and refuse it
 * when there is no room (command-budget.ts). Of one that walks over ranges it is the most.
 */
export function answerSizeBytesMax({body}: Command): number {
  if (body.type !== 'transaction') return 1024;
  const ofRecords = isKeyTransaction(body) ? keyRecordSizeBytes : () => recordsSizeBytesMax;
  const {success, failure} = body;
  let size = 1024;
  for (const operation of [...success, ...failure]) {
    size += wantsRecords(operation) ? ofRecords(operation) : plainResultSizeBytes;
  }
  return Math.min(size, recordsSizeBytesMax);
}

function keyRecordSizeBytes(operation: Operation): number {
  return recordOverheadSizeBytes + ('key' in operation ? operation.key.length : 0);
}

function wantsRecords(operation: Operation): boolean {
  switch (operation.type) {
    case 'put':
    case 'delete':
    case 'delete-range':
      return operation.wantsPrevious;
    case 'get':
    case 'range':
    case 'transaction':
      return true;
    default:
      return operation satisfies never;
  }
}

function sizeBesideAnswer(idempotency: Idempotency): number {
  return answerOverheadSizeBytes + 2 * idempotency.key.length;
}
