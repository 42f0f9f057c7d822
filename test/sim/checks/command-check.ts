/**
 * Commands of clients beside the plain operations: transactions, leases, sessions. As
 * checks/order-check.ts does it for those: each is in the log once, or as often as it was sent
 * under its number or key, and runs once; every answer is the one that the plain model gives there;
 * who was definitely refused is nowhere; and positions respect real time.
 */
import type {CommandBody} from '../../../src/kv/command.ts';
import type {CommandResult} from '../../../src/kv/result.ts';
import {text} from '../../contract/commands.ts';
import type {Coverage, Mandatory} from '../coverage.ts';
import type {ModelLease} from './lease-model.ts';
import type {SessionCall} from './session-model.ts';
import {SessionModel} from './session-model.ts';
import type {StoreModel} from './store-model.ts';
import {performCommand} from './transaction-model.ts';
import {Violation, demand} from './violation.ts';

/** One thing that a client asked for, sent once or, where that is safe, several times. */
export interface SentCommand {
  /** For reports. */
  readonly name: string;
  readonly body: CommandBody;
  /** Carries a number of a session, or an idempotency key, so it may be sent again. */
  readonly mayRepeat: boolean;
  /** In the one order of all calls and returns. */
  readonly calledAt: number;
  returnedAt: number;
  /** The largest log position that anybody knew of when it was called. */
  readonly floor: number;
  outcome: 'running' | 'done' | 'definite' | 'unknown';
  /** An earlier sending may have taken effect, or may still. */
  mayHaveHappened: boolean;
  /** What the client was told, at last. */
  told: CommandResult | null;
  /** By position in the log: the answer there. */
  readonly answers: Map<number, string>;
  /** What the model answered when it ran; null: it has not. */
  ran: CommandResult | null;
  /** Leases that it made when it ran. */
  granted: readonly ModelLease[];
  /** That went with the leases it revoked. */
  revokedKeys: readonly string[];
}

interface Registered {
  readonly sent: SentCommand;
  readonly session: SessionCall | null;
}

export class CommandCheck {
  /** All that ever were sent. */
  readonly sent = new Set<SentCommand>();
  readonly #model: StoreModel;
  readonly #sessions = new SessionModel();
  readonly #coverage: Coverage;
  readonly #byCommand = new Map<string, Registered>();
  readonly #raiseFloor: (position: number) => void;
  #granted: ModelLease[] = [];

  constructor(parts: {
    readonly model: StoreModel;
    readonly coverage: Coverage;
    readonly raiseFloor: (position: number) => void;
  }) {
    this.#model = parts.model;
    this.#coverage = parts.coverage;
    this.#raiseFloor = parts.raiseFloor;
  }

  /** No other may have the same bytes. */
  register(command: Uint8Array, sent: SentCommand, session: SessionCall | null): void {
    this.sent.add(sent);
    const bytes = text(command);
    const known = this.#byCommand.get(bytes)?.sent ?? sent;
    demand(known === sent, 'the simulator itself', () => `${sent.name} is ${known.name}`);
    this.#byCommand.set(bytes, {sent, session});
  }

  noteGranted(lease: ModelLease): void {
    this.#granted.push(lease);
  }

  /** An entry was applied for the first time anywhere. False: none of these commands. */
  onFirstApply(
    entry: {readonly index: number; readonly command: string; readonly nowMs: number},
    told: CommandResult,
  ): boolean {
    const registered = this.#byCommand.get(entry.command);
    if (registered === undefined) return false;
    const {sent} = registered;
    const {index} = entry;
    demand(sent.outcome !== 'definite', 'refused writes have no effect', () => {
      return `${sent.name} was definitely refused, and is applied at ${index}`;
    });
    demand(sent.answers.size === 0 || sent.mayRepeat, 'a write is applied once', () => {
      return `${sent.name} is applied at ${[...sent.answers.keys()].join()} and at ${index}`;
    });
    demand(index > sent.floor, 'writes respect real time', () => {
      return `${sent.name} takes effect at ${index}, ${sent.floor} was known before it began`;
    });
    const expected = this.#perform(registered, entry.nowMs, told);
    const answer = plain(expected);
    demand(plain(told) === answer, 'the state machine does what the model does', () => {
      return `${sent.name} at ${index}: ${plain(told)}, the model says ${answer}`;
    });
    sent.answers.set(index, answer);
    this.#count(sent.body, expected);
    return true;
  }

  onReturned(sent: SentCommand, result: CommandResult): void {
    const answer = plain(result);
    let position = 0;
    for (const [index, given] of sent.answers) if (given === answer) position = index;
    demand(position > 0, 'answers are those of the log', () => {
      const given = [...sent.answers].map(([index, known]) => `${index}: ${known}`).join('; ');
      return `${sent.name} was told ${answer}, the log says ${given || 'nothing'}`;
    });
    this.#raiseFloor(position);
  }

  onRefused(sent: SentCommand): void {
    demand(sent.answers.size === 0, 'refused writes have no effect', () => {
      return `${sent.name} was definitely refused, but is at ${[...sent.answers.keys()].join()}`;
    });
  }

  #perform({sent, session}: Registered, nowMs: number, told: CommandResult): CommandResult {
    const {body} = sent;
    const {revision} = this.#model;
    if (session !== null) {
      const kept = this.#sessions.answerFor(session, {revision, nowMs, told});
      if (kept !== null) {
        this.#countOfSession(kept, 'session answered from the table');
        return kept;
      }
      this.#coverage.count('session number ran');
    } else if (sent.ran !== null) {
      this.#coverage.count('command answered by its idempotency key');
      return sent.ran;
    }
    if (body.type === 'session') {
      if (body.action === 'open') this.#sessions.open(body.id, nowMs);
      else this.#sessions.close(body.id);
      return {type: 'session', revision};
    }
    if (body.type === 'compact' || body.type === 'lease-query') {
      throw new Violation('the simulator itself', `nobody sends ${body.type}`);
    }
    demand(sent.ran === null, 'a number runs once', sent.name);
    this.#granted = [];
    const result = performCommand(this.#model, body);
    sent.ran = result;
    sent.granted = this.#granted;
    if (result.type === 'lease-revoke' && result.deletedCount > 0) {
      sent.revokedKeys = (this.#model.eventsAt(result.revision) ?? []).map(({key}) => key);
    }
    if (session !== null) this.#sessions.keep(session, result);
    return result;
  }

  #count({type}: CommandBody, result: CommandResult): void {
    const coverage = this.#coverage;
    if (result.type === 'refused') coverage.count(`${type} refused: ${result.code}`);
    if (result.type === 'transaction') {
      coverage.count(result.succeeded ? 'transaction succeeded' : 'transaction failed');
    }
    if (result.type === 'lease') coverage.count('lease granted');
    if (result.type === 'lease-revoke') coverage.count('lease revoked');
  }

  #countOfSession(kept: CommandResult, otherwise: Mandatory): void {
    const code = kept.type === 'refused' ? kept.code : null;
    if (code === 'SESSION_EXPIRED') this.#coverage.count('session has ended');
    else if (code === 'IDEMPOTENCY_KEY_REUSED') this.#coverage.count('session number was used');
    else if (code === 'OVERLOADED') this.#coverage.count('session window is full');
    else this.#coverage.count(otherwise);
  }
}

/** A client knows what came of it when it ran. */
export function wasTold({told, ran}: SentCommand): boolean {
  return told !== null && ran !== null && plain(told) === plain(ran);
}

/** Equal texts for equal answers; what is only for people to read is left out. */
export function plain(result: CommandResult): string {
  return JSON.stringify(plainValue(result));
}

function plainValue(value: unknown): unknown {
  if (value instanceof Uint8Array) return text(value);
  if (Array.isArray(value)) return value.map(plainValue);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([name]) => name !== 'detail');
  fields.sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([name, field]) => [name, plainValue(field)]));
}
