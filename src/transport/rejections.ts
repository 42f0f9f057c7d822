/**
 * What the Raft port turned away, by reason. Counted always, logged at most once a second and the
 * same line once a minute: whoever sends garbage, or dials in vain all day, decides how often, but
 * not how much this node writes.
 */
import type {Clock} from '../base/clock.ts';
import type {Logger} from '../base/logger.ts';

const reasons = [
  'bad-request',
  'bad-handshake',
  'bad-version',
  'wrong-cluster',
  'wrong-node',
  'starting',
  'not-authorized',
  'not-found',
  'bad-formation',
  'bad-frame',
  'bad-message',
  'damaged-entry',
  'bad-snapshot',
  'connection-limit',
] as const;

export type RejectionReason = (typeof reasons)[number];
export type RejectionCounts = Readonly<Record<RejectionReason, number>>;

const logIntervalMs = 1_000;
const sameLineIntervalMs = 60_000;
/** The lines of so many that dial in vain at the same time are told apart. */
const rememberedLineCountMax = 64;

export class Rejections {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #counts = new Map<RejectionReason, number>(reasons.map(reason => [reason, 0]));
  #loggedAtMs = -Infinity;
  /** When each line was logged last, in that order. */
  readonly #lines = new Map<string, number>();
  #unloggedCount = 0;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  note(reason: RejectionReason, detail: string, remote: string | undefined): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
    // Part of every start: peers dial a node that does not know its cluster yet.
    if (reason === 'starting') return;
    const nowMs = this.#clock.monotonicMs();
    const lineAtMs = this.#lines.get(detail) ?? -Infinity;
    if (nowMs - this.#loggedAtMs < logIntervalMs || nowMs - lineAtMs < sameLineIntervalMs) {
      this.#unloggedCount += 1;
      return;
    }
    const fields = {reason, detail, remote: remote ?? 'unknown', unlogged: this.#unloggedCount};
    this.#logger.warn(fields, `refused on the Raft port: ${detail}`);
    this.#loggedAtMs = nowMs;
    this.#unloggedCount = 0;
    this.#lines.delete(detail);
    this.#lines.set(detail, nowMs);
    const [oldest] = this.#lines.keys();
    if (this.#lines.size > rememberedLineCountMax && oldest !== undefined) {
      this.#lines.delete(oldest);
    }
  }

  counts(): RejectionCounts {
    return Object.fromEntries(this.#counts) as RejectionCounts;
  }
}

/** Codes of refusals that this room makes; every other one comes from the handler. */
export function rejectionReason(code: string): RejectionReason {
  switch (code) {
    case 'BAD_HANDSHAKE':
      return 'bad-handshake';
    case 'BAD_VERSION':
      return 'bad-version';
    case 'WRONG_CLUSTER':
      return 'wrong-cluster';
    case 'WRONG_NODE':
      return 'wrong-node';
    case 'STARTING':
      return 'starting';
    default:
      return 'not-authorized';
  }
}
