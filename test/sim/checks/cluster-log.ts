/**
 * The log of the cluster as an omniscient observer knows it: which entries ever existed, which are
 * committed, who led when. Log Matching, Leader Completeness, Election Safety and State Machine
 * Safety (Raft, figure 3) are decided here.
 */
import type {Entry} from '../../../src/raft/entry.ts';
import type {Membership} from '../../../src/raft/membership.ts';
import {demand} from './violation.ts';

interface Seen {
  readonly term: number;
  readonly checksum: number;
  readonly previousTerm: number;
}

interface Committed {
  readonly term: number;
  readonly checksum: number;
}

export class ClusterLog {
  /** By index: every entry that any log ever held there. */
  readonly #seen: (Seen[] | undefined)[] = [];
  readonly #committed: (Committed | undefined)[] = [];
  readonly #leaders = new Map<number, string>();
  #lastCommitted = 0;

  get lastCommitted(): number {
    return this.#lastCommitted;
  }

  committed(index: number): Committed | undefined {
    return this.#committed[index];
  }

  /**
   * Log Matching, by induction: an (index, term) names one content and one term of the entry
   * before it, in every log.
   */
  noteEntry(holder: string, entry: Entry, previousTerm: number | undefined): void {
    let seen = this.#seen[entry.index];
    if (seen === undefined) {
      seen = [];
      this.#seen[entry.index] = seen;
    }
    const known = seen.find(other => other.term === entry.term);
    if (known === undefined) {
      const {term, checksum} = entry;
      if (previousTerm !== undefined) seen.push({term, checksum, previousTerm});
      return;
    }
    demand(known.checksum === entry.checksum, 'log matching', () => {
      return `${holder} holds another entry ${entry.index} of term ${entry.term} than somebody else`;
    });
    demand(
      previousTerm === undefined || known.previousTerm === previousTerm,
      'log matching',
      () => {
        return `${holder}: before entry ${entry.index} of term ${entry.term} comes term ${previousTerm ?? 0}, elsewhere ${known.previousTerm}`;
      },
    );
  }

  /** Election Safety: at most one leader a term. */
  noteLeader(id: string, term: number): void {
    const known = this.#leaders.get(term);
    demand(known === undefined || known === id, 'election safety', () => {
      return `${id} and ${known ?? ''} both lead term ${term}`;
    });
    this.#leaders.set(term, id);
  }

  leaderOf(term: number): string | undefined {
    return this.#leaders.get(term);
  }

  /** True when it is news. What is committed never changes. */
  noteCommitted(by: string, id: {readonly index: number} & Committed): boolean {
    const {index, term, checksum} = id;
    const known = this.#committed[index];
    if (known !== undefined) {
      demand(known.term === term && known.checksum === checksum, 'state machine safety', () => {
        return `${by} commits entry ${index} of term ${term}, committed was one of ${known.term}`;
      });
      return false;
    }
    this.#committed[index] = {term, checksum};
    this.#lastCommitted = Math.max(this.#lastCommitted, index);
    return true;
  }

  /** A committed entry leaves no log that held it. */
  checkTruncation(
    holder: string,
    from: number,
    to: number,
    termOf: (index: number) => number | undefined,
  ): void {
    for (let index = from; index <= Math.min(to, this.#lastCommitted); index++) {
      const committed = this.#committed[index];
      demand(committed === undefined || committed.term !== termOf(index), 'committed stays', () => {
        return `${holder} removes the committed entry ${index} of term ${committed?.term ?? 0}`;
      });
    }
  }

  /** Leader Completeness; by Log Matching the last committed entry speaks for all before it. */
  checkComplete(
    leader: string,
    term: number,
    log: {readonly lastIndex: number; readonly termAt: (index: number) => number | undefined},
  ): void {
    const index = this.#lastCommitted;
    const committed = this.#committed[index];
    if (committed === undefined || committed.term >= term) return;
    demand(log.lastIndex >= index, 'leader completeness', () => {
      return `${leader} leads term ${term} with entries up to ${log.lastIndex}, committed is ${index}`;
    });
    const own = log.termAt(index);
    demand(own === undefined || own === committed.term, 'leader completeness', () => {
      return `${leader} leads term ${term} and holds term ${own ?? 0} at ${index}, committed is ${committed.term}`;
    });
  }
}

/** Written apart from src/raft/quorum.ts, which is what is checked. */
export function isQuorum(membership: Membership, holds: (id: string) => boolean): boolean {
  for (const voters of [membership.voters, membership.votersOutgoing]) {
    if (voters.length === 0) continue;
    const count = voters.filter(holds).length;
    if (count * 2 <= voters.length) return false;
  }
  return true;
}
