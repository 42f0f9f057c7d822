/**
 * Decides when a lease has expired, on the leader alone, and logs that it is revoked. Its time is
 * this node's monotonic clock, from when the lease was granted or kept alive here. A new leader
 * knows none of that and gives every lease its full time again.
 *
 * Never early: a revocation is proposed only after a quorum has confirmed, after the lease's time
 * was up, that this node still leads, so nobody else can have kept it alive until then. However
 * long ago that was: who leads later either has the revocation in its log, and applies it before it
 * answers anybody, or logs something else in its place, and it never happens. A keepalive is
 * answered only after a quorum round that began after it arrived, and never for a lease whose
 * revocation is under way. A revocation names the grant it means.
 */
import type {Clock} from '../base/clock.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {decodeCommand, encodeCommand} from '../kv/command-codec.ts';
import type {Lease, LeaseListener} from '../kv/lease-table.ts';
import type {CommandResult} from '../kv/result.ts';
import type {KvStateMachine} from '../kv/state-machine.ts';
import type {Raft} from '../raft/raft.ts';
import {DeadlineWheel} from './deadline-wheel.ts';
import type {WheelItem} from './deadline-wheel.ts';
import type {ProposeCallback, ReadCallback} from './service.ts';

/** Batches of revocations under way at once: with more, writes wait longer behind them. */
const batchCountMax = 2;
const proposeTimeoutMs = 5_000;
/** Leases that a new leader takes up in one tick. */
const loadedPerTick = 2_000;
/** After a refusal the same is not tried again at once. */
const retryMs = 100;
/** What a clock may be off, and an answer be under way: a lease lives so much longer. */
const marginMs = 200;
const driftMax = 0.01;
const driftMsMax = 400;

export interface LeaseExpirerParts {
  readonly raft: Pick<Raft, 'role' | 'term'>;
  readonly machine: KvStateMachine;
  readonly clock: Clock;
  /** A linearizable read: at least one quorum round that begins after the call. */
  readonly confirm: (timeoutMs: number, callback: ReadCallback) => void;
  /** Into the log of this node, now or not at all: the decision is this leader's alone. */
  readonly propose: (command: Uint8Array, timeoutMs: number, callback: ProposeCallback) => void;
}

/** Lies in the wheel or among those that are due, or is being revoked. */
interface Timed extends WheelItem {
  readonly lease: Lease;
  deadlineMs: number;
  isRevoking: boolean;
}

/** A leadership of this node: a later one begins anew. */
interface Leadership {
  readonly term: number;
  readonly timed: Map<number, Timed>;
  readonly wheel: DeadlineWheel<Timed>;
  /** Also some that are gone meanwhile. The first `dueTakenCount` have been taken out. */
  readonly due: Timed[];
  dueTakenCount: number;
  /**
   * Of taking up what earlier leaders granted: not begun, waiting for a quorum, or the id of the
   * last lease that was taken up.
   */
  loading: 'wanted' | 'confirming' | 'done' | number;
  batchCount: number;
  isConfirming: boolean;
  /** When the newest quorum round that was confirmed began: what was due by then may be revoked. */
  confirmedMs: number;
  retryAtMs: number;
}

export class LeaseExpirer implements LeaseListener {
  readonly #parts: LeaseExpirerParts;
  #leadership: Leadership | null = null;

  constructor(parts: LeaseExpirerParts) {
    this.#parts = parts;
    parts.machine.leases.observe(this);
  }

  /** Called with every tick. */
  tick(): void {
    const {raft, clock} = this.#parts;
    if (raft.role !== 'leader') {
      this.#leadership = null;
      return;
    }
    const leadership = this.#leadershipOf(raft.term);
    const nowMs = clock.monotonicMs();
    this.#load(leadership, nowMs);
    leadership.wheel.collect(nowMs, timed => this.#noteDue(leadership, timed, nowMs));
    this.#maybeRevoke(leadership, nowMs);
  }

  onGranted(lease: Lease): void {
    if (this.#leadership !== null) this.#time(this.#leadership, lease);
  }

  onGone({id}: Lease): void {
    if (this.#leadership !== null) this.#forget(this.#leadership, id);
  }

  /** However long ago the revocation was proposed, and whatever its proposer was told. */
  onPassedOver({id, grant}: Lease): void {
    const timed = this.#leadership?.timed.get(id);
    if (timed?.lease.grant === grant) this.#putBack(timed);
  }

  /** Once the wheel has forgotten it too, however far its deadline is. */
  #forget({timed, wheel}: Leadership, id: number): void {
    const gone = timed.get(id);
    if (gone === undefined) return;
    timed.delete(id);
    wheel.remove(gone);
  }

  /** A leader installs no snapshot; whoever leads later begins anew. */
  onReplaced(): void {
    this.#leadership = null;
  }

  /** Answers a LeaseQuery on the leader. */
  answer(command: Uint8Array, timeoutMs: number, callback: ProposeCallback): void {
    const {body} = decodeCommand(command);
    if (body.type !== 'lease-query') return;
    const {term} = this.#parts.raft;
    this.#parts.confirm(timeoutMs, error => {
      // Confirmed in an earlier term it may wait for its index while another leader revokes.
      const isCurrent = error === null && term === this.#parts.raft.term;
      const result = isCurrent ? this.#answerNow(body.id, body.isKeepalive) : null;
      if (error !== null) callback(error, null);
      else if (result === null) callback(moved(), null);
      else callback(null, result);
    });
  }

  /** Null: this node does not lead any more. */
  #answerNow(id: number, isKeepalive: boolean): CommandResult | null {
    const {raft, machine, clock} = this.#parts;
    if (raft.role !== 'leader') return null;
    const revision = machine.revision();
    const lease = machine.leases.get(id);
    const leadership = this.#leadershipOf(raft.term);
    const timed = lease === null ? null : this.#timedOf(leadership, lease);
    const nowMs = clock.monotonicMs();
    if (lease === null || timed === null || timed.isRevoking) {
      const detail = `There is no lease ${id}.`;
      return {type: 'refused', revision, code: 'LEASE_NOT_FOUND', detail};
    }
    if (isKeepalive) timed.deadlineMs = nowMs + lifetimeMs(lease.ttlMs);
    const leftMs = timed.deadlineMs - nowMs - (lifetimeMs(lease.ttlMs) - lease.ttlMs);
    const remainingMs = Math.min(lease.ttlMs, Math.max(0, Math.round(leftMs)));
    return {type: 'lease', revision, id, ttlMs: lease.ttlMs, remainingMs};
  }

  #leadershipOf(term: number): Leadership {
    if (this.#leadership?.term === term) return this.#leadership;
    const leadership: Leadership = {
      term,
      timed: new Map(),
      wheel: new DeadlineWheel<Timed>(this.#parts.clock.monotonicMs()),
      due: [],
      dueTakenCount: 0,
      loading: 'wanted',
      batchCount: 0,
      isConfirming: false,
      confirmedMs: -Infinity,
      retryAtMs: 0,
    };
    this.#leadership = leadership;
    return leadership;
  }

  /** Once all that earlier leaders logged is applied; what is granted later is timed then. */
  #load(leadership: Leadership, nowMs: number): void {
    const {machine, confirm, clock} = this.#parts;
    const {loading} = leadership;
    if (typeof loading === 'number') {
      const leases = machine.leases.list(loading, loadedPerTick);
      if (leases === null) {
        machine.prepareScans();
        return;
      }
      for (const lease of leases) this.#timedOf(leadership, lease);
      leadership.loading = leases.length < loadedPerTick ? 'done' : (leases.at(-1)?.id ?? 'done');
    } else if (loading === 'wanted' && nowMs >= leadership.retryAtMs) {
      leadership.loading = 'confirming';
      confirm(proposeTimeoutMs, error => {
        leadership.loading = error === null ? 0 : 'wanted';
        if (error !== null) leadership.retryAtMs = clock.monotonicMs() + retryMs;
      });
    }
  }

  #timedOf(leadership: Leadership, lease: Lease): Timed {
    const timed = leadership.timed.get(lease.id);
    return timed?.lease.grant === lease.grant ? timed : this.#time(leadership, lease);
  }

  #time(leadership: Leadership, lease: Lease): Timed {
    const deadlineMs = this.#parts.clock.monotonicMs() + lifetimeMs(lease.ttlMs);
    const timed: Timed = {lease, deadlineMs, isRevoking: false, slot: -1};
    this.#forget(leadership, lease.id);
    leadership.timed.set(lease.id, timed);
    leadership.wheel.add(timed, deadlineMs);
    return timed;
  }

  /** A keepalive moves the deadline only: its lease is put back when its old one comes. */
  #noteDue({due, wheel}: Leadership, timed: Timed, nowMs: number): void {
    if (timed.deadlineMs <= nowMs) due.push(timed);
    else wheel.add(timed, timed.deadlineMs);
  }

  /**
   * What a round has confirmed goes batch by batch, the next one when one has ended; only what was
   * not due yet when the round began waits for another.
   */
  #maybeRevoke(leadership: Leadership, nowMs: number): void {
    this.#revokeConfirmed(leadership);
    if (leadership.isConfirming || !this.#mayRevoke(leadership)) return;
    leadership.isConfirming = true;
    this.#parts.confirm(proposeTimeoutMs, error => {
      leadership.isConfirming = false;
      if (error !== null) return;
      leadership.confirmedMs = nowMs;
      this.#revokeConfirmed(leadership);
    });
  }

  #mayRevoke({due, dueTakenCount, batchCount, retryAtMs}: Leadership): boolean {
    const nowMs = this.#parts.clock.monotonicMs();
    return due.length > dueTakenCount && nowMs >= retryAtMs && batchCount < batchCountMax;
  }

  #revokeConfirmed(leadership: Leadership): void {
    const {role, term} = this.#parts.raft;
    if (this.#leadership !== leadership || role !== 'leader' || term !== leadership.term) return;
    while (this.#mayRevoke(leadership)) {
      const batch = this.#takeBatch(leadership);
      if (batch.length === 0) break;
      this.#revoke(leadership, batch);
    }
  }

  /**
   * Empty: nothing is due any more, or the first that is has not been confirmed; the next tick asks
   * for all.
   */
  #takeBatch(leadership: Leadership): readonly Timed[] {
    const nowMs = this.#parts.clock.monotonicMs();
    const {due} = leadership;
    const batch: Timed[] = [];
    let keyCount = 0;
    for (; leadership.dueTakenCount < due.length; leadership.dueTakenCount++) {
      const timed = due[leadership.dueTakenCount] as Timed;
      if (batch.length === limits.leaseRevokeCountMax) break;
      const {id} = timed.lease;
      const isGone = leadership.timed.get(id) !== timed;
      if (!isGone && timed.deadlineMs <= nowMs) {
        if (timed.deadlineMs > leadership.confirmedMs) break;
        const ownCount = timed.lease.isPrivate ? 1 : this.#keyCountOf(id);
        if (batch.length > 0 && keyCount + ownCount > limits.leaseRevokeKeyCountTarget) break;
        keyCount += ownCount;
        timed.isRevoking = true;
        batch.push(timed);
      } else if (!isGone) {
        // Kept alive since.
        leadership.wheel.add(timed, timed.deadlineMs);
      }
    }
    // Not with every batch: what is left moves.
    if (leadership.dueTakenCount * 2 >= due.length) {
      due.splice(0, leadership.dueTakenCount);
      leadership.dueTakenCount = 0;
    }
    return batch;
  }

  #revoke(leadership: Leadership, batch: readonly Timed[]): void {
    const leases = batch.map(({lease: {id, grant}}) => ({id, grant}));
    const command = encodeCommand({idempotency: null, body: {type: 'lease-revoke', leases}});
    leadership.batchCount++;
    this.#parts.propose(command, proposeTimeoutMs, error => {
      leadership.batchCount--;
      if (error === null) this.#revokeConfirmed(leadership);
      else this.#onRefused(leadership, batch, error);
    });
  }

  /** Of now: what was told at its grant had none. */
  #keyCountOf(id: number): number {
    return this.#parts.machine.leases.get(id)?.keyCount ?? 0;
  }

  /** What may still commit stays under way: its keepalives are refused until it is decided. */
  #onRefused(leadership: Leadership, batch: readonly Timed[], error: RosettaError): void {
    leadership.retryAtMs = this.#parts.clock.monotonicMs() + retryMs;
    if (error.outcome === 'unknown' || this.#leadership !== leadership) return;
    for (const timed of batch) this.#putBack(timed);
  }

  /** A later batch will name it. */
  #putBack(timed: Timed): void {
    const leadership = this.#leadership;
    if (!timed.isRevoking || leadership?.timed.get(timed.lease.id) !== timed) return;
    timed.isRevoking = false;
    leadership.due.push(timed);
  }
}

/** Of a replica that is being made: its proposer may come later. */
export function leaseExpirerOf(
  replica: {
    readonly raft: Raft;
    readonly proposer: {readonly proposeNow: LeaseExpirerParts['propose']};
    readonly read: (timeoutMs: number, isLocal: boolean, callback: ReadCallback) => void;
  },
  parts: Pick<LeaseExpirerParts, 'machine' | 'clock'>,
): LeaseExpirer {
  return new LeaseExpirer({
    raft: replica.raft,
    machine: parts.machine,
    clock: parts.clock,
    confirm: (timeoutMs, callback) => replica.read(timeoutMs, false, callback),
    propose: (...proposal) => replica.proposer.proposeNow(...proposal),
  });
}

function lifetimeMs(ttlMs: number): number {
  return ttlMs + marginMs + Math.min(driftMsMax, ttlMs * driftMax);
}

function moved(): RosettaError {
  return new RosettaError('NO_LEADER', 'another leader took over; retry');
}
