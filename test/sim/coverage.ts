/**
 * What the runs have met, by name. A run in which nothing happened proves nothing, so the counters
 * that must not stay zero over many seeds are listed here.
 */
export const mandatory = [
  'election won',
  'election lost',
  'leader stepped down',
  'log truncated by 1 or more',
  'log truncated by 10 or more',
  'membership truncated',
  'old term committed by a no-op',
  'snapshot sent',
  'snapshot installed',
  'checkpoint written',
  'history pruned',
  'history pruned in part',
  'old revision read',
  'checkpoint lost and fetched again',
  'torn tail repaired',
  'damaged log refused',
  'fdatasync failed',
  'write failed',
  'disk full',
  'message lost',
  'message duplicated',
  'old message replayed',
  'cut',
  'one-way cut',
  'leader cut off',
  'pause',
  'clock drift',
  'wall clock jump',
  'power cut',
  'process killed',
  'graceful stop',
  'all members down at once',
  'slow disk',
  'clog',
  'wiped member refused',
  'membership changed',
  'joint membership',
  'learner promoted',
  'leadership transferred',
  'member removed',
  'removed member told',
  'member announced',
  'disk replaced',
  'older copy put back',
  'older copy refused',
  'read waited for the no-op',
  'write acknowledged',
  'write with unknown outcome',
  'write definitely refused',
  'condition not met',
  'history of keys: ok',
  'delete',
  'range read',
  'local read',
  'linearizable read',
  'idempotent retry answered from the table',
  'retry after an unknown outcome',
  'history compacted',
  'core alone served',
  'watch told a revision',
  'watch resumed at another member',
  'watch was full',
  'transaction succeeded',
  'transaction failed',
  'lease granted',
  'lease kept alive',
  'lease denied',
  'lease revoked',
  'lease expired',
  'lease expired under a later leader',
  'key with a lifetime expired',
  'lease ended in time',
  'lease kept alive to the end',
  'leases compared',
  'command answered by its idempotency key',
  'session number ran',
  'session number given up',
  'session number was used',
  'session answered from the table',
  'session window is full',
  'session has ended',
] as const;

/** Histories that the search of `test/checker` gave up: nobody knows whether they are legal. */
export const undecided = 'history undecided';

export type Mandatory = (typeof mandatory)[number];

export class Coverage {
  readonly #counts = new Map<string, number>();

  count(name: Mandatory | (string & {}), by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(counts: Readonly<Record<string, number>>): void {
    for (const [name, count] of Object.entries(counts)) this.count(name, count);
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  missing(): string[] {
    return mandatory.filter(name => this.of(name) === 0);
  }
}
