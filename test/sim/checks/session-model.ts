/**
 * A plain model of sessions in the order of the log: which numbers run, which are answered from
 * what was kept, and which are refused. A session that nobody used for its whole age may end at any
 * moment after that, the same on every member: when it is first told to have ended, the model takes
 * that over, and checks that it was old enough.
 */
import type {ErrorCode} from '../../../src/base/errors.ts';
import {limits} from '../../../src/base/limits.ts';
import type {CommandResult} from '../../../src/kv/result.ts';
import {demand} from './violation.ts';

/** One sending of a number. */
export interface SessionCall {
  readonly id: string;
  /** From 1. */
  readonly number: number;
  /** The client has the answers up to this one. */
  readonly acknowledged: number;
  /** Of the operation that has this number; another one must be refused. */
  readonly request: number;
}

interface Session {
  isOpen: boolean;
  usedMs: number;
  acknowledged: number;
  highest: number;
  readonly answers: Map<number, {readonly request: number; readonly result: CommandResult}>;
}

export class SessionModel {
  readonly #sessions = new Map<string, Session>();

  open(id: string, nowMs: number): void {
    if (this.#sessions.has(id)) return;
    const numbers = {usedMs: nowMs, acknowledged: 0, highest: 0};
    this.#sessions.set(id, {isOpen: true, ...numbers, answers: new Map()});
  }

  close(id: string): void {
    const session = this.#sessions.get(id);
    if (session !== undefined) session.isOpen = false;
  }

  /**
   * Null: it must run, and `keep` follows. `told` is what the state machine answered there; of it
   * only whether the session has ended is believed, when it may have.
   */
  answerFor(
    call: SessionCall,
    entry: {readonly revision: number; readonly nowMs: number; readonly told: CommandResult},
  ): CommandResult | null {
    const {revision, nowMs, told} = entry;
    const refused = (code: ErrorCode): CommandResult => {
      return {type: 'refused', revision, code, detail: ''};
    };
    const session = this.#sessions.get(call.id);
    if (session?.isOpen !== true) return refused('SESSION_EXPIRED');
    if (told.type === 'refused' && told.code === 'SESSION_EXPIRED') {
      const idleMs = nowMs - session.usedMs;
      demand(idleMs > limits.sessionAgeMs, 'a session lives while it is used', () => {
        return `${call.id} has ended after ${idleMs} ms, it lives ${limits.sessionAgeMs}`;
      });
      session.isOpen = false;
      return told;
    }
    session.usedMs = Math.max(session.usedMs, nowMs);
    const reach = session.highest + limits.sessionWindow;
    const acknowledged = Math.min(call.acknowledged, call.number - 1, reach);
    session.acknowledged = Math.max(session.acknowledged, acknowledged);
    if (call.number <= session.acknowledged) return refused('IDEMPOTENCY_KEY_REUSED');
    const kept = session.answers.get(call.number);
    if (kept !== undefined) {
      return kept.request === call.request ? kept.result : refused('IDEMPOTENCY_KEY_REUSED');
    }
    const isTooFar = call.number > session.acknowledged + limits.sessionWindow;
    return isTooFar ? refused('OVERLOADED') : null;
  }

  keep({id, number, request}: SessionCall, result: CommandResult): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    session.answers.set(number, {request, result});
    session.highest = Math.max(session.highest, number);
  }
}
