/**
 * `-rejoin` of a node that has a data directory asks members of its cluster whether the directory
 * may be given up, before anything of it moves. A directory that nothing is wrong with starts as it
 * is when a member says so, or when none has an opinion in time: a flag that was left behind must
 * keep nobody from starting. One that cannot start waits until a leader agrees to replace it.
 */
import type {Clock, Timer} from '../base/clock.ts';
import {RosettaError} from '../base/errors.ts';
import type {Logger} from '../base/logger.ts';
import type {NodeId} from '../raft/ids.ts';
import type {StartHistory} from '../storage/start-history.ts';
import type {FormationAnswer, Transport} from '../transport/transport.ts';
import {detailOf} from './formation-messages.ts';
import type {ReplaceRequest} from './membership-rules.ts';

const askIntervalMs = 200;

/** So long a directory that may start waits for somebody who knows better. */
const patienceMs = 3_000;

/** What is known of it here. */
export interface FormerDirectory {
  readonly clusterId: string | null;
  readonly incarnation: string | null;
  readonly starts: StartHistory;
  /** Why it cannot start, or must not serve; null: it can. */
  readonly damage: string | null;
}

export interface ReplacementParts {
  readonly id: NodeId;
  /** Raft address that others are told. */
  readonly listen: string;
  readonly former: FormerDirectory;
  /** Raft addresses of members; not empty. */
  readonly contacts: readonly string[];
  readonly transport: Pick<Transport, 'requestFormation'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called once; `clusterId`: where the directory is given up. */
  readonly onDecided: (decision: ReplacementDecision) => void;
  /** Nothing has changed. */
  readonly onFatal: (error: Error) => void;
}

export type ReplacementDecision =
  /** `isAgreed`: a leader said so; else nobody had an opinion in time. */
  | {readonly type: 'keep'; readonly isAgreed: boolean}
  | {readonly type: 'replace'; readonly clusterId: string};

export class Replacement {
  readonly #parts: ReplacementParts;
  readonly #deadlineMs: number;
  #turn = 0;
  /** The leader, when somebody named one. */
  #leader: string | null = null;
  /** A member has seen a start that this directory has not gone through. */
  #isStale = false;
  #timer: Timer | null = null;
  #isDone = false;
  #lastSaid = '';

  constructor(parts: ReplacementParts) {
    this.#parts = parts;
    this.#deadlineMs = parts.clock.monotonicMs() + patienceMs;
  }

  start(): void {
    const {contacts, former, logger} = this.#parts;
    logger.info({contacts}, 'asking whether the data directory is to be replaced');
    if (former.damage !== null) logger.warn({}, former.damage);
    this.#ask();
  }

  stop(): void {
    this.#isDone = true;
    this.#timer?.cancel();
  }

  #ask(): void {
    const {contacts, transport, clock, logger, onDecided} = this.#parts;
    if (this.#isDone) return;
    if (this.#mayStart() && clock.monotonicMs() >= this.#deadlineMs) {
      this.stop();
      logger.info({}, 'nobody asks for another data directory: this one starts');
      onDecided({type: 'keep', isAgreed: false});
      return;
    }
    const address = this.#leader ?? contacts[this.#turn++ % contacts.length] ?? '';
    transport.requestFormation(address, this.#request(), (error, answer) => {
      if (this.#isDone) return;
      if (error === null && answer !== null) this.#onAnswer(address, answer);
      else {
        this.#leader = null;
        this.#wait(`${address} does not answer (${error?.message ?? 'closed'}); asking on`);
      }
    });
  }

  #request(): ReplaceRequest {
    const {id, listen, former} = this.#parts;
    const {clusterId, incarnation, starts} = former;
    const isUnfit = !this.#mayStart();
    return {type: 'replace', id, listen, clusterId, incarnation, starts, isUnfit};
  }

  #onAnswer(address: string, answer: FormationAnswer): void {
    const {former, onDecided} = this.#parts;
    const body = (answer.body ?? {}) as Record<string, unknown>;
    const {code, leader, clusterId, verdict} = body;
    const detail = detailOf(answer) ?? `${address} gives no answer that this version understands`;
    if (body['isStale'] === true) this.#isStale = true;
    if (answer.status === 200 && typeof clusterId === 'string') {
      if (clusterId !== (former.clusterId ?? clusterId)) {
        this.#refuse(`${address} belongs to another cluster, ${clusterId}`);
      } else if (verdict === 'keep' || verdict === 'replace') {
        this.stop();
        const isKept = verdict === 'keep';
        onDecided(isKept ? {type: 'keep', isAgreed: true} : {type: 'replace', clusterId});
      } else this.#wait(`${address}: ${detail}`);
    } else if (answer.status === 503) {
      const isNamed = code === 'NO_LEADER' && typeof leader === 'string';
      // One that is named by an address that leads nowhere is named again by the next contact.
      this.#leader = isNamed && leader !== address ? leader : null;
      this.#wait(this.#leader === null ? `${address}: ${detail}` : '');
    } else if (answer.status === 409) {
      this.#refuse(`${address} refuses: ${detail}`);
    } else {
      // It may be a member of an earlier version, or no member at all.
      this.#leader = null;
      this.#wait(`${address}: ${detail}`);
    }
  }

  /** What is well here needs no consent to start as it is. */
  #refuse(reason: string): void {
    if (this.#mayStart()) {
      this.#leader = null;
      this.#wait(reason);
      return;
    }
    this.stop();
    this.#parts.onFatal(new RosettaError('INVALID_REQUEST', `${reason}; nothing was moved`));
  }

  #mayStart(): boolean {
    return this.#parts.former.damage === null && !this.#isStale;
  }

  /** The same is said once. */
  #wait(text: string): void {
    if (text !== '' && text !== this.#lastSaid) {
      this.#lastSaid = text;
      this.#parts.logger.warn({}, text);
    }
    this.#timer = this.#parts.clock.setTimer(askIntervalMs, () => this.#ask());
  }
}
