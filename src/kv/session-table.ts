/**
 * Sessions make a client's commands run exactly once, however late they are sent again (Raft
 * dissertation §6.3). A session numbers its commands; the answer of each number is kept until the
 * client says that it has it, so a session costs what it has under way and not what it has ever
 * sent. A command of a session that is unknown is refused and never run: it may have run before.
 *
 * Idle sessions end by the log's time. A queue in order of opening is looked at from its head; who
 * has been heard of since is queued again, so a session ends between one and two ages after its
 * last command. What an ended session leaves goes a few rows at a time, from a queue of its own.
 * Bytes: docs/formats.md, "Store rows".
 */
import {Buffer} from 'node:buffer';
import {assert, must} from '../base/assert.ts';
import {ByteReader, ByteWriter, equalBytes} from '../base/bytes.ts';
import type {ErrorCode} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {Idempotency} from './command.ts';
import {decodeResult, encodeResult} from './result-codec.ts';
import type {CommandResult} from './result.ts';
import type {RowStore} from './rows.ts';
import {
  endedSessionRow,
  sessionAnswerRow,
  sessionMetaKey,
  sessionQueueRow,
  sessionRow,
} from './tables.ts';

/** A number of a session: what an idempotency key of the form `<session>/<number>` says. */
export interface SessionKey {
  readonly id: string;
  /** At least 1. */
  readonly number: number;
}

interface Session {
  usedMs: number;
  /** The client has the answers up to this number, inclusive. */
  acknowledged: number;
  /** Rows of answers up to this number are gone. Invariant: at most `acknowledged`. */
  dropped: number;
  /** The highest number that was answered. */
  highest: number;
  isEnded: boolean;
}

/** Rows removed, and rows looked for, by one command beside its own work. */
const dropCountMax = 4;
const lookCountMax = 64;
/** So many acknowledged numbers may still have rows: a client that leaves gaps has to wait. */
const undroppedCountMax = 4 * limits.sessionWindow;
const answerOverheadSizeBytes = 96;
const sessionForm = /^([^/]+)\/([0-9]+)$/;

/** Null: the key is not of a session. */
export function parseSessionKey(key: string): SessionKey | null {
  const match = sessionForm.exec(key);
  if (match === null) return null;
  const number = Number(match[2]);
  return {id: match[1] ?? '', number: Number.isSafeInteger(number) ? number : 0};
}

export class SessionTable {
  readonly #rows: RowStore;
  /** The queue has the positions from first (inclusive) to next (exclusive). */
  #first = 1;
  #next = 1;
  /** As above, for ended sessions whose rows are still here. */
  #endedFirst = 1;
  #endedNext = 1;
  #openCount = 0;
  /** Of all kept answers. */
  #sizeBytes = 0;
  /** When the head of the queue is to be looked at; Infinity without one. Derived from the rows. */
  #dueMs = Infinity;

  constructor(rows: RowStore) {
    this.#rows = rows;
  }

  load(): void {
    const bytes = this.#rows.get(sessionMetaKey);
    const reader = new ByteReader(bytes ?? freshMeta);
    this.#first = reader.u64();
    this.#next = reader.u64();
    this.#endedFirst = reader.u64();
    this.#endedNext = reader.u64();
    this.#openCount = reader.u64();
    this.#sizeBytes = reader.u64();
    reader.end();
    this.#dueMs = this.#readDueMs();
  }

  /** Right before a freeze, as the meta row; nothing when there never was a session. */
  save(): void {
    if (this.#next === 1) return;
    const fields = [this.#first, this.#next, this.#endedFirst, this.#endedNext, this.#openCount];
    this.#rows.put(sessionMetaKey, encodeMeta([...fields, this.#sizeBytes]));
  }

  /** For every command, so that the work of each stays small. */
  dropExpired(nowMs: number): void {
    if (this.#endedFirst !== this.#endedNext) this.#dropEnded();
    if (this.#dueMs >= nowMs) return;
    const {id} = this.#readQueued(this.#first);
    const session = this.#read(id);
    this.#dequeue();
    // Closed before its time.
    if (session === null || session.isEnded) return;
    if (session.usedMs + limits.sessionAgeMs >= nowMs) this.#enqueue(id, session.usedMs);
    else this.#end(id, session);
  }

  /** Opening a session that is open changes nothing. */
  open(id: string, revision: number, nowMs: number): CommandResult {
    if (this.#read(id) === null) {
      // What an ended session leaves goes slowly: sessions must not end faster than that for ever.
      const count = this.#openCount + (this.#endedNext - this.#endedFirst);
      // A session that was closed leaves its place in the queue until its age is over.
      if (this.#next - this.#first >= limits.sessionQueueCountMax) {
        const detail =
          'Too many sessions were opened and closed within an hour; keep one for longer.';
        return {type: 'refused', revision, code: 'OVERLOADED', detail};
      }
      if (count >= limits.sessionCountMax) {
        const detail = `There are ${limits.sessionCountMax} sessions; close some, or try later.`;
        return {type: 'refused', revision, code: 'OVERLOADED', detail};
      }
      const numbers = {acknowledged: 0, dropped: 0, highest: 0};
      this.#write(id, {usedMs: nowMs, ...numbers, isEnded: false});
      this.#openCount++;
      this.#enqueue(id, nowMs);
    }
    return {type: 'session', revision};
  }

  close(id: string, revision: number): CommandResult {
    const session = this.#read(id);
    if (session !== null && !session.isEnded) this.#end(id, session);
    return {type: 'session', revision};
  }

  /** The answer to give without running the command. Null: run it, and then `keep` the result. */
  answerFor(
    key: SessionKey,
    idempotency: Idempotency,
    needs: {readonly answerSizeBytesMax: number; readonly revision: number; readonly nowMs: number},
  ): CommandResult | null {
    const {revision, nowMs} = needs;
    const refuse = (code: ErrorCode, detail: string): CommandResult => {
      return {type: 'refused', revision, code, detail};
    };
    const {id, number} = key;
    const session = this.#read(id);
    if (session === null || session.isEnded) {
      const detail =
        'The session is unknown or has ended, so nobody knows whether this was done before; ' +
        'open a new one (POST /session) for new requests.';
      return refuse('SESSION_EXPIRED', detail);
    }
    session.usedMs = Math.max(session.usedMs, nowMs);
    // Also of numbers that never came: the client has given them up, and they must never run.
    const reach = session.highest + limits.sessionWindow;
    const acknowledged = Math.min(idempotency.acknowledged, number - 1, reach);
    session.acknowledged = Math.max(session.acknowledged, acknowledged);
    this.#dropAnswers(id, session);
    this.#write(id, session);
    if (number <= session.acknowledged) {
      return refuse(
        'IDEMPOTENCY_KEY_REUSED',
        `The answer of number ${number} was acknowledged; use a higher one.`,
      );
    }
    const kept = this.#rows.get(sessionAnswerRow(id, number));
    if (kept !== undefined) {
      const reader = new ByteReader(kept);
      if (equalBytes(reader.rawView(16), idempotency.fingerprint)) {
        return decodeResult(reader.rawView(reader.remaining));
      }
      const detail = 'The number came before with another request; use a new one.';
      return refuse('IDEMPOTENCY_KEY_REUSED', detail);
    }
    if (session.acknowledged - session.dropped > undroppedCountMax) {
      return refuse('OVERLOADED', 'Answers are acknowledged faster than they can be dropped.');
    }
    if (number > session.acknowledged + limits.sessionWindow) {
      const detail = `At most ${limits.sessionWindow} numbers beyond the acknowledged one.`;
      return refuse('OVERLOADED', detail);
    }
    if (needs.answerSizeBytesMax <= this.roomSizeBytes()) return null;
    return refuse('OVERLOADED', 'The answers kept for sessions are full; acknowledge, or wait.');
  }

  /** For the next answer. */
  roomSizeBytes(): number {
    return limits.sessionAnswersSizeBytesMax - this.#sizeBytes - answerOverheadSizeBytes;
  }

  keep({id, number}: SessionKey, idempotency: Idempotency, result: CommandResult): void {
    const session = must(this.#read(id), 'session % has a command running', id);
    const answer = encodeResult(result);
    const writer = new ByteWriter(16 + answer.length);
    writer.raw(idempotency.fingerprint);
    writer.raw(answer);
    this.#rows.put(sessionAnswerRow(id, number), writer.contentView());
    this.#sizeBytes += answer.length + answerOverheadSizeBytes;
    session.highest = Math.max(session.highest, number);
    this.#write(id, session);
    const total = this.#sizeBytes;
    assert(total <= limits.sessionAnswersSizeBytesMax, '% bytes of session answers', total);
  }

  /** The number was refused for the moment: it may come again, and later ones go on behind it. */
  pass({id, number}: SessionKey): void {
    const session = must(this.#read(id), 'session % had a command running', id);
    session.highest = Math.max(session.highest, number);
    this.#write(id, session);
  }

  #end(id: string, session: Session): void {
    // More may have been acknowledged than was ever answered.
    const acknowledged = Math.max(session.acknowledged, session.highest);
    this.#write(id, {...session, acknowledged, isEnded: true});
    this.#rows.put(endedSessionRow(this.#endedNext++), Buffer.from(id, 'latin1'));
    this.#openCount--;
    assert(this.#openCount >= 0, 'fewer than no sessions');
  }

  /** Some rows of the session that ended first. */
  #dropEnded(): void {
    const position = this.#endedFirst;
    const row = must(this.#rows.get(endedSessionRow(position)), 'position % is queued', position);
    const id = Buffer.from(row).toString('latin1');
    const session = must(this.#read(id), 'session % in the queue', id);
    this.#dropAnswers(id, session);
    if (session.dropped < session.acknowledged) {
      this.#write(id, session);
      return;
    }
    this.#rows.delete(sessionRow(id));
    this.#rows.delete(endedSessionRow(position));
    this.#endedFirst++;
  }

  /** A few of those that were acknowledged. */
  #dropAnswers(id: string, session: Session): void {
    let dropCount = 0;
    for (let i = 0; i < lookCountMax && dropCount < dropCountMax; i++) {
      if (session.dropped >= session.acknowledged) return;
      const row = sessionAnswerRow(id, ++session.dropped);
      const bytes = this.#rows.get(row);
      if (bytes === undefined) continue;
      this.#sizeBytes -= bytes.length - 16 + answerOverheadSizeBytes;
      assert(this.#sizeBytes >= 0, 'the bytes of session answers add up');
      this.#rows.delete(row);
      dropCount++;
    }
  }

  #read(id: string): Session | null {
    const bytes = this.#rows.get(sessionRow(id));
    if (bytes === undefined) return null;
    const reader = new ByteReader(bytes);
    const session = {
      isEnded: reader.u8() === 1,
      usedMs: reader.u64(),
      acknowledged: reader.u64(),
      dropped: reader.u64(),
      highest: reader.u64(),
    };
    reader.end();
    return session;
  }

  #write(id: string, {isEnded, usedMs, acknowledged, dropped, highest}: Session): void {
    assert(dropped <= acknowledged, 'answers dropped before they were acknowledged');
    sessionWriter.reset();
    sessionWriter.u8(isEnded ? 1 : 0);
    sessionWriter.u64(usedMs);
    sessionWriter.u64(acknowledged);
    sessionWriter.u64(dropped);
    sessionWriter.u64(highest);
    this.#rows.put(sessionRow(id), sessionWriter.contentView());
  }

  #enqueue(id: string, usedMs: number): void {
    const writer = new ByteWriter(8 + id.length);
    writer.u64(usedMs);
    writer.raw(Buffer.from(id, 'latin1'));
    this.#rows.put(sessionQueueRow(this.#next++), writer.contentView());
    this.#dueMs = this.#readDueMs();
  }

  #dequeue(): void {
    this.#rows.delete(sessionQueueRow(this.#first++));
    this.#dueMs = this.#readDueMs();
  }

  #readDueMs(): number {
    if (this.#first === this.#next) return Infinity;
    return this.#readQueued(this.#first).usedMs + limits.sessionAgeMs;
  }

  #readQueued(position: number): {readonly usedMs: number; readonly id: string} {
    const bytes = must(this.#rows.get(sessionQueueRow(position)), 'position % is queued', position);
    const reader = new ByteReader(bytes);
    const usedMs = reader.u64();
    return {usedMs, id: Buffer.from(reader.rawView(reader.remaining)).toString('latin1')};
  }
}

const sessionWriter = new ByteWriter(64);
const freshMeta = encodeMeta([1, 1, 1, 1, 0, 0]);

function encodeMeta(fields: readonly number[]): Uint8Array {
  const writer = new ByteWriter(48);
  for (const field of fields) writer.u64(field);
  return writer.finish();
}
