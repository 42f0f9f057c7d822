/**
 * Changes of the cluster that somebody asks for, on any node: the leader decides and logs them
 * (`handle`), every other node asks the leader over the Raft port, and whoever was asked waits for
 * the commit on its own log. A question that may have been logged is never asked twice.
 */
import type {Clock, Timer} from '../base/clock.ts';
import {errorTable, isErrorCode, RosettaError} from '../base/errors.ts';
import type {Logger} from '../base/logger.ts';
import type {LogIndex, NodeId} from '../raft/ids.ts';
import {logIndex} from '../raft/ids.ts';
import type {Member, Membership} from '../raft/membership.ts';
import {findMember, isVoter} from '../raft/membership.ts';
import type {Raft} from '../raft/raft.ts';
import type {FormationAnswer, Transport} from '../transport/transport.ts';
import {CommitWait} from './commit-wait.ts';
import type {ChangeRequest} from './formation-messages.ts';
import {detailOf, readHelloAnswer} from './formation-messages.ts';
import type {IsActive, JoinRequest, MemberView, ReplaceRequest} from './membership-rules.ts';
import {
  isCarriedOut,
  planJoin,
  planReplacement,
  withLearner,
  withoutMember,
} from './membership-rules.ts';
import type {ClusterChange, ClusterChangeCallback} from './service.ts';

/** Between two looks at a change that waits. */
const lookMs = 10;

/** So long a change waits for what most often lasts for milliseconds. */
const patienceMs = 1_000;

/** Another change is under way; or who was just elected has not heard of all yet. */
const waitedFor = new Set(['CHANGE_PENDING', 'MEMBER_UNREACHABLE', 'QUORUM_AT_RISK']);

/** Refusals that another moment, or another leader, may not make. */
const passing = new Set(['NO_LEADER', 'STARTING', ...waitedFor]);

export interface MembershipChangerParts {
  readonly raft: Raft;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly clusterId: string;
  readonly electionTimeoutMs: number;
  readonly hello: unknown;
  /** Where others find this member. */
  readonly listen: string;
  /** Where a member listens, by its own latest word. */
  readonly listenOf: (member: Member) => string;
  /** False when there is nobody to take it. */
  readonly handOver: () => boolean;
  /** After something was proposed: what follows from it must happen before the next message. */
  readonly onProposed: () => void;
}

interface Pending {
  readonly request: ChangeRequest;
  readonly deadlineMs: number;
  readonly callback: ClusterChangeCallback;
  /** What the last attempt was refused with. */
  refusal: RosettaError | null;
  /** Since when a leader has refused it with what is waited for; null: none does. */
  refusedSinceMs: number | null;
  timer: Timer | null;
}

export class MembershipChanger {
  readonly #parts: MembershipChangerParts;
  readonly #pending = new Set<Pending>();
  readonly #commitWait: CommitWait;

  constructor(parts: MembershipChangerParts) {
    this.#parts = parts;
    this.#commitWait = new CommitWait(parts.clock);
  }

  /** Everybody who waits is told that the outcome is unknown here. */
  stop(): void {
    for (const pending of [...this.#pending]) {
      this.#finish(pending, new RosettaError('OUTCOME_UNKNOWN', 'the node stopped meanwhile'));
    }
  }

  /** This member was removed, as somebody asked it: the log that says so does not reach it. */
  onRemoved(): void {
    for (const pending of [...this.#pending]) {
      const {change} = pending.request;
      if (change.type === 'remove' && change.id === this.#parts.raft.id)
        this.#finish(pending, null);
    }
  }

  change(change: ClusterChange, timeoutMs: number, callback: ClusterChangeCallback): void {
    const {clock, clusterId, transport, hello} = this.#parts;
    const startedAtMs = clock.monotonicMs();
    const begin = (request: ChangeRequest): void => {
      const deadlineMs = startedAtMs + timeoutMs;
      const fresh = {refusal: null, refusedSinceMs: null, timer: null};
      const pending = {request, deadlineMs, callback, ...fresh};
      this.#pending.add(pending);
      clock.afterPoll(() => this.#attempt(pending));
    };
    if (change.type !== 'add') {
      begin({type: 'change', clusterId, change});
      return;
    }
    const {id, listen} = change;
    const announced: Member = {id, listen, incarnation: '', http: ''};
    transport.requestFormation(listen, hello, (error, answer) => {
      const member = error === null && answer !== null ? this.#meet(announced, answer) : announced;
      if (member instanceof RosettaError) callback(member);
      else begin({type: 'change', clusterId, change: {type: 'add', member}});
    });
  }

  /** The leader's answer; what it refuses it has not logged. */
  handle({change}: ChangeRequest): FormationAnswer {
    const {raft} = this.#parts;
    if (raft.role !== 'leader') return this.#notLeading();
    const {membership} = raft;
    switch (change.type) {
      case 'add':
        return this.#propose(withLearner(membership, change.member));
      case 'remove': {
        const next = withoutMember(membership, change.id, this.isActive);
        const isOwn = change.id === raft.id && !(next instanceof RosettaError);
        // The next leader removes this one, and nothing under way is lost. Without a successor it
        // removes itself, and steps down when that is committed (dissertation §4.2.2).
        if (isOwn && (raft.isTransferring() || this.#parts.handOver())) return this.#notLeading();
        const {id} = change;
        if (this.#commitWait.mustWait(id, this.isActive(id), raft.progress(id))) {
          return this.#notLeading();
        }
        return this.#propose(next);
      }
      case 'lead':
        return this.#transfer(change.id);
    }
  }

  /** A newcomer asks to be let in; it asks again until it is a member. */
  handleJoin(request: JoinRequest): FormationAnswer {
    const {raft, clusterId, logger} = this.#parts;
    const {id, incarnation} = request.member;
    const committed = raft.committedMembership;
    if (findMember(committed, id)?.incarnation === incarnation) {
      return {status: 200, body: {clusterId, members: committed.members}};
    }
    if (raft.role !== 'leader') return this.#notLeading();
    const plan = planJoin(raft.membership, request, this.#view());
    switch (plan.type) {
      case 'member':
        return {status: 202, body: {code: 'PENDING', detail: 'the change is being committed'}};
      case 'wait':
        return {status: 503, body: {code: plan.code, detail: plan.detail}};
      case 'refuse':
        return {status: 409, body: {code: plan.code, detail: plan.detail}};
      case 'propose': {
        const answer = this.#propose(plan.next);
        if (answer.status !== 200) return {...answer, status: 503};
        logger.info({member: id}, `${id} asks to be let in`);
        return {status: 202, body: {code: 'PENDING', detail: 'the change is being committed'}};
      }
    }
  }

  /** Nothing changes; every member says whether it has seen a later start of the directory. */
  handleReplace(request: ReplaceRequest, isStale: boolean): FormationAnswer {
    const {raft, clusterId} = this.#parts;
    if (raft.role !== 'leader') {
      const {status, body} = this.#notLeading();
      return {status, body: {...(body as object), isStale}};
    }
    const isUnfit = request.isUnfit || isStale;
    const plan = planReplacement(raft.membership, {...request, isUnfit}, this.#view());
    if (plan.type === 'keep' || plan.type === 'replace') {
      return {status: 200, body: {clusterId, verdict: plan.type, isStale}};
    }
    const {code, detail} = plan;
    return {status: plan.type === 'wait' ? 503 : 409, body: {code, detail, isStale}};
  }

  /** Heard of within an election timeout, and connected. */
  readonly isActive: IsActive = id => {
    const {raft, transport} = this.#parts;
    if (id === raft.id) return true;
    return raft.progress(id)?.isActive === true && transport.peer(id).isConnected;
  };

  #view(): MemberView {
    const {raft, transport} = this.#parts;
    const mayRun: IsActive = id => {
      return raft.progress(id)?.isActive === true || transport.peer(id).isConnected;
    };
    const {committedMembership: committed} = raft;
    return {isActive: this.isActive, mayRun, committed, address: this.#parts.listen};
  }

  #propose(next: Membership | RosettaError): FormationAnswer {
    const {raft, onProposed} = this.#parts;
    if (next instanceof RosettaError) return refusal(next);
    const result = raft.proposeMembership(next, raft.lastProposedAtMs);
    if (result.type === 'accepted') {
      onProposed();
      return {status: 200, body: {index: result.id.index, term: result.id.term}};
    }
    switch (result.reason) {
      case 'change-pending': {
        const detail = 'another change of the membership is not finished; retry in a moment';
        return refusal(new RosettaError('CHANGE_PENDING', detail));
      }
      case 'invalid':
        return refusal(new RosettaError('INVALID_REQUEST', 'the membership would be malformed'));
      default:
        return this.#notLeading();
    }
  }

  #transfer(id: NodeId): FormationAnswer {
    const {raft, onProposed} = this.#parts;
    const {membership, term} = raft;
    if (findMember(membership, id) === undefined) {
      return refusal(new RosettaError('MEMBER_NOT_FOUND', `${id} is not a member`));
    }
    if (!isVoter(membership, id)) {
      const detail = `${id} is a learner; it can lead when it has become a voter`;
      return refusal(new RosettaError('NOT_A_VOTER', detail));
    }
    if (id === raft.id) return {status: 200, body: {index: 0, term}};
    if (!this.isActive(id)) {
      return refusal(new RosettaError('MEMBER_UNREACHABLE', `${id} cannot be reached now`));
    }
    if (!raft.transferLeadership(id)) return this.#notLeading();
    onProposed();
    return {status: 200, body: {index: 0, term}};
  }

  #notLeading(): FormationAnswer {
    const {raft, listenOf} = this.#parts;
    const {leaderId, membership} = raft;
    const leader = leaderId === raft.id ? undefined : findLeader(membership, leaderId);
    const detail = 'no leader could be reached in time; retry';
    const address = leader === undefined ? null : listenOf(leader);
    return {status: 503, body: {code: 'NO_LEADER', detail, leader: address}};
  }

  /** What answers at the address of a member to be. An error: it cannot be that member. */
  #meet(announced: Member, answer: FormationAnswer): Member | RosettaError {
    const said = readHelloAnswer(answer);
    if (said === null) return announced;
    const {id, listen} = announced;
    if (said.clusterId !== null && said.clusterId !== this.#parts.clusterId) {
      const detail = `${said.id} at ${listen} belongs to another cluster, ${said.clusterId}`;
      return new RosettaError('WRONG_CLUSTER', detail);
    }
    if (said.id !== id) {
      return new RosettaError('WRONG_NODE', `${said.id} answers at ${listen}, not ${id}`);
    }
    // Its own request, with -join, brings its incarnation.
    return announced;
  }

  #attempt(pending: Pending): void {
    const {raft, transport, clock, listenOf} = this.#parts;
    if (!this.#pending.has(pending)) return;
    if (clock.monotonicMs() >= pending.deadlineMs) {
      const detail = 'no leader could be reached in time; retry';
      this.#finish(pending, pending.refusal ?? new RosettaError('NO_LEADER', detail));
      return;
    }
    if (raft.role === 'leader') {
      this.#onAnswer(pending, this.handle(pending.request));
      return;
    }
    const leader = findLeader(raft.membership, raft.leaderId);
    if (leader === undefined) {
      this.#withoutLeader(pending);
      return;
    }
    transport.requestFormation(listenOf(leader), pending.request, (error, answer) => {
      if (!this.#pending.has(pending)) return;
      if (error === null && answer !== null) this.#onAnswer(pending, answer);
      else if (isUnsent(error)) this.#withoutLeader(pending);
      else {
        const detail = `the leader ${leader.id} did not answer`;
        this.#finish(pending, new RosettaError('OUTCOME_UNKNOWN', detail));
      }
    });
  }

  /** What a former leader refused may be done by the next one. */
  #withoutLeader(pending: Pending): void {
    pending.refusal = null;
    pending.refusedSinceMs = null;
    this.#later(pending, () => this.#attempt(pending));
  }

  #onAnswer(pending: Pending, answer: FormationAnswer): void {
    const {clock, raft} = this.#parts;
    const body = answer.body as {code?: unknown; index?: unknown; term?: unknown} | null;
    if (answer.status === 200 && typeof body?.index === 'number') {
      const term = Number(body.term);
      const {change} = pending.request;
      const acceptedAtMs = clock.monotonicMs();
      if (change.type === 'lead')
        this.#awaitLeader(pending, change.id, {term, from: raft.leaderId, acceptedAtMs});
      else this.#awaitCommit(pending, {index: logIndex(body.index), term});
      return;
    }
    const code = typeof body?.code === 'string' && isErrorCode(body.code) ? body.code : 'INTERNAL';
    const error = new RosettaError(code, detailOf(answer) ?? 'the leader refuses');
    const nowMs = clock.monotonicMs();
    pending.refusedSinceMs = waitedFor.has(code) ? (pending.refusedSinceMs ?? nowMs) : null;
    const isLate = nowMs - (pending.refusedSinceMs ?? nowMs) > patienceMs;
    if (!passing.has(code) || isLate) {
      this.#finish(pending, error);
      return;
    }
    pending.refusal = error;
    this.#later(pending, () => this.#attempt(pending));
  }

  /** Applied here: whoever asks this node next sees it. */
  #awaitCommit(pending: Pending, entry: {readonly index: LogIndex; readonly term: number}): void {
    const {raft, clock} = this.#parts;
    if (raft.appliedIndex >= entry.index) {
      const isDone = isCarriedOut(pending.request.change, entry.term, {
        termAt: raft.inspect().log.term(entry.index),
        committed: raft.committedMembership,
      });
      const detail = 'another leader took over before the change was committed';
      this.#finish(pending, isDone ? null : new RosettaError('OUTCOME_UNKNOWN', detail));
    } else if (clock.monotonicMs() >= pending.deadlineMs) {
      const detail = 'the change is logged, but not committed in time';
      this.#finish(pending, new RosettaError('OUTCOME_UNKNOWN', detail));
    } else {
      this.#later(pending, () => this.#awaitCommit(pending, entry));
    }
  }

  #awaitLeader(
    pending: Pending,
    to: NodeId,
    before: {
      readonly term: number;
      readonly from: NodeId | null;
      readonly acceptedAtMs: number;
    },
  ): void {
    const {raft, clock, electionTimeoutMs} = this.#parts;
    const nowMs = clock.monotonicMs();
    const givenUpAtMs = before.acceptedAtMs + 8 * electionTimeoutMs;
    if (raft.leaderId === to) {
      this.#finish(pending, null);
    } else if (nowMs >= givenUpAtMs) {
      const detail = `${to} did not take over; ${raft.leaderId ?? 'nobody'} leads`;
      this.#finish(pending, new RosettaError('TRANSFER_FAILED', detail));
    } else if (nowMs >= pending.deadlineMs) {
      const detail = `${to} has not taken over in time, and may still do so`;
      this.#finish(pending, new RosettaError('OUTCOME_UNKNOWN', detail));
    } else {
      this.#later(pending, () => this.#awaitLeader(pending, to, before));
    }
  }

  #later(pending: Pending, action: () => void): void {
    pending.timer = this.#parts.clock.setTimer(lookMs, action);
  }

  #finish(pending: Pending, error: RosettaError | null): void {
    if (!this.#pending.delete(pending)) return;
    pending.timer?.cancel();
    pending.callback(error);
  }
}

function refusal({code, message: detail}: RosettaError): FormationAnswer {
  return {status: errorTable[code].status, body: {code, detail}};
}

function findLeader(membership: Membership, leaderId: NodeId | null): Member | undefined {
  return leaderId === null ? undefined : findMember(membership, leaderId);
}

/** The connection was refused: nothing was sent. */
function isUnsent(error: Error | null): boolean {
  return error !== null && /ECONNREFUSED/.test(`${error.message} ${codeOf(error)}`);
}

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : '';
}
