/**
 * When leases may end, and when they must. Never early: a lease that was granted or kept alive, and
 * whose client was told so, lasts its full time from when that request was sent, by the clock of
 * the leader that ends it; drifting clocks differ, so what all of them showed is remembered. Not
 * late: on a healthy cluster a second after its time. Who asks for a lease is told of one that
 * exists, and is denied one only when its time is up by somebody's clock.
 */
import type {CommandResult} from '../../../src/kv/result.ts';
import {decodeCommand} from '../../../src/kv/command-codec.ts';
import type {Replica} from '../../../src/node/replica.ts';
import {text} from '../../contract/commands.ts';
import type {CallClock} from '../command-calls.ts';
import type {Coverage} from '../coverage.ts';
import type {EventQueue} from '../event-queue.ts';
import type {Machine} from '../machine.ts';
import {plain} from './command-check.ts';
import type {LeaseObserver, ModelLease} from './lease-model.ts';
import type {OrderCheck} from './order-check.ts';
import {performCommand} from './transaction-model.ts';
import {Violation, demand} from './violation.ts';

/** docs/guarantees.md. */
const lateMsMax = 1_000;

/** A leader has decided that some leases are over. It may never be committed. */
interface Decision {
  readonly owner: number;
  readonly term: number;
  /** What its clock showed. */
  readonly clockMs: number;
  readonly calledAt: number;
}

/** What each member's clock shows, by owner. */
export type Clocks = readonly number[];

/** One grant, from when it was applied first to when its end was. */
interface Span {
  readonly lease: ModelLease;
  readonly fromMs: number;
  /** The largest term that anybody was in when it was granted. */
  readonly term: number;
  untilMs: number;
  /** Its latest promise: from then on it has its full time. Null: no client was told. */
  promised: Clocks | null;
  /** Null: it lasts, or somebody other than a leader ended it. */
  decisions: readonly Decision[] | null;
}

/** Deleted with their leases, in one revision, at some moment between the two. */
export interface Expiry {
  readonly keys: readonly string[];
  readonly revision: number;
  readonly calledAt: number;
  readonly returnedAt: number;
}

export interface LeaseCheckParts {
  readonly order: OrderCheck;
  readonly queue: EventQueue;
  readonly coverage: Coverage;
  readonly machines: readonly Machine[];
  readonly callClock: CallClock;
  readonly termMax: () => number;
}

export class LeaseCheck implements LeaseObserver {
  readonly expiries: Expiry[] = [];
  readonly #parts: LeaseCheckParts;
  /** By id, in the order of the log. */
  readonly #spans = new Map<number, Span[]>();
  readonly #byLease = new Map<ModelLease, Span>();
  /** By command. */
  readonly #decisions = new Map<string, Decision[]>();
  /** Of the revocation that is being performed. */
  #deciding: readonly Decision[] | null = null;
  #awaitedCount = 0;

  constructor(parts: LeaseCheckParts) {
    this.#parts = parts;
    parts.order.model.leases.observer = this;
    parts.order.onRevocation = (command, result) => this.#onRevocation(command, result);
  }

  /** Ends that are still to come, of those that must. */
  get awaitedCount(): number {
    return this.#awaitedCount;
  }

  clocks(): Clocks {
    return this.#parts.machines.map(({time}) => time.shownMs);
  }

  /** In this way a leader's expirer proposes; compactions too, which revoke nothing. */
  onReplica(replica: Replica): void {
    const {machines, callClock} = this.#parts;
    const machine = machines.find(({id}) => id === replica.raft.id);
    const {proposer} = replica;
    const proposeNow = proposer.proposeNow.bind(proposer);
    proposer.proposeNow = (command, timeoutMs, callback) => {
      if (machine !== undefined) {
        const {owner, time} = machine;
        const {term} = replica.raft;
        const decision = {owner, term, clockMs: time.shownMs, calledAt: callClock.next()};
        const known = this.#decisions.get(text(command));
        if (known === undefined) this.#decisions.set(text(command), [decision]);
        else known.push(decision);
      }
      proposeNow(command, timeoutMs, callback);
    };
  }

  onGranted(lease: ModelLease): void {
    const {queue, order, termMax} = this.#parts;
    const span: Span = {
      lease,
      fromMs: queue.nowMs,
      term: termMax(),
      untilMs: Infinity,
      promised: null,
      decisions: null,
    };
    this.#byLease.set(lease, span);
    const spans = this.#spans.get(lease.id);
    if (spans === undefined) this.#spans.set(lease.id, [span]);
    else spans.push(span);
    order.commands.noteGranted(lease);
  }

  onGone(lease: ModelLease): void {
    const span = this.#byLease.get(lease);
    if (span === undefined) return;
    span.untilMs = this.#parts.queue.nowMs;
    if (this.#deciding === null) return;
    span.decisions = this.#deciding;
    this.#judge(span);
    const {coverage} = this.#parts;
    coverage.count('lease expired');
    if (lease.isPrivate) coverage.count('key with a lifetime expired');
    if (span.decisions.every(({term}) => term > span.term)) {
      coverage.count('lease expired under a later leader');
    }
  }

  /** A client was told that it has its full time, from when it sent its request. */
  onPromised(lease: ModelLease, sentAt: Clocks): void {
    const span = this.#byLease.get(lease);
    if (span === undefined) return;
    const {promised} = span;
    span.promised = sentAt.map((clockMs, owner) => Math.max(clockMs, promised?.[owner] ?? 0));
    this.#judge(span);
  }

  /** What the latest promise of a lease was when it was asked for. */
  onAsking(id: number): Clocks | null {
    return this.#spans.get(id)?.at(-1)?.promised ?? null;
  }

  /** Somebody asked for a lease, perhaps to keep it alive, and was answered. */
  onAsked(
    question: {
      readonly id: number;
      readonly isKeepalive: boolean;
      readonly sentAtMs: number;
      readonly sentAt: Clocks;
      readonly promised: Clocks | null;
    },
    result: CommandResult,
  ): void {
    const {id, isKeepalive, sentAtMs, sentAt} = question;
    const spans = (this.#spans.get(id) ?? []).filter(({untilMs}) => untilMs >= sentAtMs);
    const [span] = spans;
    if (result.type === 'lease') {
      demand(span !== undefined, 'only leases that exist are told of', () => {
        return `lease ${id} was told of after its end`;
      });
      demand(result.remainingMs <= result.ttlMs, 'no lease has more than its time', `${id}`);
      // Of several it is not known which was meant.
      if (isKeepalive && spans.length === 1) this.onPromised(span.lease, sentAt);
      return;
    }
    if (spans.length !== 1 || span === undefined) return;
    if (span.fromMs >= sentAtMs || span.untilMs < Infinity) return;
    const {promised} = question;
    const clocks = this.clocks();
    const isOver = clocks.some((nowMs, owner) => {
      return promised === null || nowMs - (promised[owner] ?? 0) >= span.lease.ttlMs;
    });
    demand(isOver, 'no lease is denied before its time', () => {
      const [then, now] = [promised, clocks].map(each => each?.map(Math.round).join());
      return `lease ${id} of ${span.lease.ttlMs} ms exists; promised at ${then}, denied at ${now}`;
    });
  }

  /** From now on all is well, and nobody keeps any alive: each must end in its time. */
  awaitEnds(): void {
    for (const lease of this.#parts.order.model.leases.all()) this.awaitEnd(lease);
  }

  awaitEnd(lease: ModelLease): void {
    const {queue, termMax} = this.#parts;
    const span = this.#byLease.get(lease);
    if (span === undefined || span.untilMs < Infinity) return;
    const term = termMax();
    const ofMs = queue.nowMs;
    this.#awaitedCount++;
    queue.add(lease.ttlMs + lateMsMax, -1, 'client', () => {
      this.#awaitedCount--;
      this.#parts.coverage.count('lease ended in time');
      // A new leader gives it its full time again.
      demand(span.untilMs < Infinity || termMax() > term, 'leases end in time', () => {
        return `lease ${lease.id} of ${lease.ttlMs} ms is still there, untouched since ${ofMs}`;
      });
    });
  }

  /** `machine`: which has applied all that anybody has. */
  compareAll(machine: Machine): void {
    const {leases} = machine.member.machine;
    const listed = readInOrder(machine, () => leases.list(0, 1_000_000)).map(lease => {
      const keys = readInOrder(machine, () => leases.keys(lease.id, null, 1_000_000));
      return lineOf({...lease, keys: keys.map(text)});
    });
    const seen = listed.join('; ');
    const expected = this.#parts.order.model.leases.all().map(lineOf).join('; ');
    demand(seen === expected, 'leases and keys belong together', () => {
      return `${machine.id} has ${seen}; the model ${expected}`;
    });
    if (listed.length > 0) this.#parts.coverage.count('leases compared');
  }

  /** False: it is no revocation. */
  #onRevocation(command: Uint8Array, result: CommandResult): boolean {
    const {body} = decodeCommand(command);
    if (body.type !== 'lease-revoke') return false;
    const {order, callClock} = this.#parts;
    const decisions = this.#decisions.get(text(command));
    demand(decisions !== undefined, 'nothing comes from nowhere', 'nobody decided a revocation');
    this.#deciding = decisions;
    const {revision} = order.model;
    const expected = performCommand(order.model, body);
    this.#deciding = null;
    demand(plain(result) === plain(expected), 'the state machine does what the model does', () => {
      return `a revocation: ${plain(result)}, the model says ${plain(expected)}`;
    });
    if (expected.revision === revision) return true;
    this.expiries.push({
      keys: (order.model.eventsAt(expected.revision) ?? []).map(({key}) => key),
      revision: expected.revision,
      calledAt: Math.min(...decisions.map(({calledAt}) => calledAt)),
      returnedAt: callClock.next(),
    });
    return true;
  }

  /** Anew with every promise: some are told when it is over already. */
  #judge({lease, promised, decisions}: Span): void {
    if (promised === null || decisions === null) return;
    const isFull = decisions.some(({owner, clockMs}) => {
      return clockMs - (promised[owner] ?? 0) >= lease.ttlMs;
    });
    demand(isFull, 'no lease ends before its time', () => {
      const lasted = decisions.map(({owner, clockMs}) => clockMs - (promised[owner] ?? 0));
      return `lease ${lease.id} of ${lease.ttlMs} ms ended after ${lasted.join()} ms`;
    });
  }
}

/** Rows are put in order piece by piece. */
function readInOrder<T>(machine: Machine, read: () => T | null): T {
  for (let i = 0; i < 1_000; i++) {
    const found = read();
    if (found !== null) return found;
    machine.member.machine.prepareScans();
  }
  throw new Violation('the simulator itself', `the rows of ${machine.id} do not come in order`);
}

function lineOf({
  id,
  grant,
  ttlMs,
  isPrivate,
  keys,
}: Omit<ModelLease, 'keys'> & {readonly keys: Iterable<string>}): string {
  const kind = isPrivate ? 'private' : 'open';
  return `${id}/${grant} ${ttlMs} ms, ${kind}, [${[...keys].sort().join()}]`;
}
