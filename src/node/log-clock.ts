/**
 * The time that a leader gives its entries, by which idempotency keys and history age. It follows
 * the wall clock of whoever leads, but wall clocks jump, and each is off in its own way: between
 * two entries of the log its time moves by what really passed, give or take `driftMax`.
 *
 * What really passed is measured from when this node saw the last entry, which is never before it
 * was proposed. So the rule holds for a new leader too, and what nobody measured, such as the time
 * while all were down, is caught up with as slowly as a jump.
 */
import type {Clock} from '../base/clock.ts';
import type {RowStore} from '../kv/rows.ts';
import {StateMeta} from '../kv/state-meta.ts';
import type {Raft} from '../raft/raft.ts';

/** A key is kept so much longer than promised: see limits.idempotencyAgeMs. */
const driftMax = 0.1;

export class LogClock {
  readonly #raft: Raft;
  readonly #clock: Clock;
  readonly #rows: RowStore;
  /** Of the log as it was last looked at. */
  #loggedMs = 0;
  /** The log's time, fractions included, when the monotonic clock showed `#atMs`. */
  #timeMs = 0;
  #atMs = 0;
  /** What the state remembered when `#term` began. */
  #rememberedMs = 0;
  #term = -1;

  constructor(parts: {readonly raft: Raft; readonly clock: Clock; readonly rows: RowStore}) {
    this.#raft = parts.raft;
    this.#clock = parts.clock;
    this.#rows = parts.rows;
    this.look();
  }

  /** To be called often, by followers as well: what is seen late is thought to be younger. */
  look(): void {
    const loggedMs = this.#newestMs();
    if (loggedMs === this.#loggedMs) return;
    this.#loggedMs = loggedMs;
    // An own entry: fractions that a time in the log does not have are not lost.
    if (this.#raft.role === 'leader' && loggedMs === Math.floor(this.#timeMs)) return;
    this.#timeMs = loggedMs;
    this.#atMs = this.#clock.monotonicMs();
  }

  /** For the next entry: whole milliseconds since the epoch. On the leader. */
  nowMs(): number {
    this.look();
    const atMs = this.#clock.monotonicMs();
    const passedMs = atMs - this.#atMs;
    const wallMs = Math.max(0, this.#clock.wallMs());
    const slowestMs = this.#timeMs + passedMs * (1 - driftMax);
    const fastestMs = this.#timeMs + passedMs * (1 + driftMax);
    // Nothing has an age in a log without a time.
    const isFirst = this.#timeMs === 0;
    this.#timeMs = isFirst ? wallMs : Math.min(Math.max(wallMs, slowestMs), fastestMs);
    this.#atMs = atMs;
    return Math.floor(this.#timeMs);
  }

  /**
   * Behind an installed snapshot the log may hold no entry that tells; then the state does, which
   * remembers a time that is at most a little older.
   */
  #newestMs(): number {
    const {term, lastProposedAtMs} = this.#raft;
    if (term !== this.#term) {
      this.#term = term;
      const meta = new StateMeta();
      meta.load(this.#rows);
      this.#rememberedMs = meta.sampleMs;
    }
    return Math.max(lastProposedAtMs, this.#rememberedMs);
  }
}
