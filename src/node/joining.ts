/**
 * A newcomer with an empty directory asks a running cluster to let it in (`-join`, `-rejoin`): any
 * member it knows, or the leader that one names, again and again, until the membership with its
 * incarnation is committed. Until then it has no log, answers nobody and votes for nobody. A crash
 * is continued by the next start: the incarnation is on the disk before anybody hears of it.
 */
import type {Clock, Timer} from '../base/clock.ts';
import {RosettaError} from '../base/errors.ts';
import type {Logger} from '../base/logger.ts';
import type {Member} from '../raft/membership.ts';
import type {FormationAnswer, Transport} from '../transport/transport.ts';
import type {FormationRequest} from './formation-messages.ts';
import {detailOf, readMembers} from './formation-messages.ts';
import type {IdentityRecord} from './identity-record.ts';
import type {JoinRequest} from './membership-rules.ts';

const askIntervalMs = 100;

/** A member that does not answer is not asked more often than this. */
const unreachableIntervalMs = 500;
/**
 * A leader that was deposed speaks of the members of before until it notices, after an election
 * timeout: sooner than this, unless that is longer than usual.
 */
const refusedIntervalMs = 1_000;

export interface JoiningParts {
  readonly self: Member;
  /** Raft addresses of members. */
  readonly contacts: readonly string[];
  /** The new directory takes the place of another one under the same id. */
  readonly replaces: boolean;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Durable when it returns. */
  readonly save: (record: IdentityRecord) => void;
  /** The record is 'adopted': the member may run. Called once. */
  readonly onJoined: (record: IdentityRecord) => void;
  readonly onFatal: (error: Error) => void;
  /** It had been let in, did not learn so, and was removed again. */
  readonly onRemoved: (detail: string) => void;
}

export class Joining {
  readonly aim = 'joining';
  readonly #parts: JoiningParts;
  readonly #record: IdentityRecord;
  #turn = 0;
  /** The leader, when somebody named one. */
  #leader: string | null = null;
  #timer: Timer | null = null;
  #isDone = false;
  /** Nobody has said since that it may come. One refusal may be out of date, two are not. */
  #wasRefused = false;
  #lastSaid = '';

  constructor(parts: JoiningParts, record: IdentityRecord) {
    this.#parts = parts;
    this.#record = record;
  }

  start(): void {
    const {contacts, logger, replaces} = this.#parts;
    logger.info({contacts}, replaces ? 'asking to replace the old directory' : 'asking to join');
    this.#ask();
  }

  stop(): void {
    this.#isDone = true;
    this.#timer?.cancel();
  }

  /** Answers while this node is not a member yet. */
  answer(request: FormationRequest): FormationAnswer {
    if (request.type !== 'hello') {
      return {status: 503, body: {code: 'STARTING', detail: 'this node is not a member yet'}};
    }
    const {id, incarnation, listen, http} = this.#parts.self;
    const said = {id, incarnation, clusterId: null, stage: 'fresh', listen, http, ids: [id]};
    return {status: 200, body: {...said, isExpected: false}};
  }

  #ask(): void {
    if (this.#isDone) return;
    const {self, contacts, replaces, transport} = this.#parts;
    const address = this.#leader ?? contacts[this.#turn++ % contacts.length] ?? '';
    const {formerClusterId: clusterId} = this.#record;
    const meant = clusterId === undefined ? {} : {clusterId};
    const request: JoinRequest = {type: 'join', member: self, replaces, ...meant};
    transport.requestFormation(address, request, (error, answer) => {
      if (this.#isDone) return;
      if (error !== null || answer === null) {
        this.#leader = null;
        this.#say(`${address} does not answer (${error?.message ?? 'closed'}); asking on`);
        this.#later(unreachableIntervalMs);
      } else {
        this.#onAnswer(address, answer);
      }
    });
  }

  #onAnswer(address: string, answer: FormationAnswer): void {
    const {code, leader, clusterId, members} = (answer.body ?? {}) as Record<string, unknown>;
    const detail = detailOf(answer) ?? `${address} gives no answer that this version understands`;
    const rows = readMembers(members);
    if (answer.status === 200 && typeof clusterId === 'string' && rows !== null) {
      this.#onMember(clusterId, rows);
    } else if (answer.status === 202) {
      this.#wasRefused = false;
      this.#later(askIntervalMs);
    } else if (answer.status === 503) {
      this.#leader = code === 'NO_LEADER' && typeof leader === 'string' ? leader : null;
      if (this.#leader === null) this.#say(`${address}: ${detail}`);
      this.#later(this.#leader === null ? unreachableIntervalMs : 0);
    } else if (code === 'REMOVED') {
      this.stop();
      this.#parts.onRemoved(detail);
    } else if (answer.status === 404) {
      const reason = `${address} is not the Raft address (-listen) of a Rosetta node`;
      this.stop();
      this.#parts.onFatal(new RosettaError('INVALID_REQUEST', reason));
    } else if (answer.status === 409 && !this.#wasRefused) {
      this.#wasRefused = true;
      this.#leader = null;
      this.#say(`${address} refuses: ${detail}; asking once more`);
      this.#later(refusedIntervalMs);
    } else {
      this.stop();
      this.#parts.onFatal(new RosettaError('INVALID_REQUEST', `${address} refuses: ${detail}`));
    }
  }

  #onMember(clusterId: string, members: readonly Member[]): void {
    const {save, onJoined, logger} = this.#parts;
    this.stop();
    const {nodeId, incarnation} = this.#record;
    const record: IdentityRecord = {nodeId, incarnation, clusterId, stage: 'adopted', members};
    save(record);
    logger.info({clusterId}, 'joined the cluster as a learner');
    onJoined(record);
  }

  /** The same is said once. */
  #say(text: string): void {
    if (text === this.#lastSaid) return;
    this.#lastSaid = text;
    this.#parts.logger.warn({}, text);
  }

  #later(delayMs: number): void {
    this.#timer = this.#parts.clock.setTimer(delayMs, () => this.#ask());
  }
}
