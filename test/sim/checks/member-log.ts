/**
 * What is known of one member's log without asking it: what it handed to its disk, and what the
 * disk has confirmed. It outlives the member's lives, so a restart is compared with it.
 */
import type {Entry, EntryId} from '../../../src/raft/entry.ts';
import type {HardState} from '../../../src/raft/hard-state.ts';
import {demand} from './violation.ts';

interface Write {
  /** What becomes durable with it, inclusive; falls when a later write supersedes that. */
  lastIndex: number;
  /** What it brings to the disk, superseded since or not. */
  readonly writtenIndex: number;
  /** Null: a snapshot took its place before it was written. */
  hardState: HardState | null;
}

export class MemberLog {
  readonly #name: string;
  #start = 0;
  #startTerm = 0;
  /** Of the entries after `start`. */
  #terms: number[] = [];
  #checksums: number[] = [];
  /** Confirmed by the disk in its present form, inclusive. */
  #durableIndex = 0;
  #durableHardState: HardState | null = null;
  #writtenIndex = 0;
  #confirmedAtMs = -1;
  /** Durable before the newest batch was. */
  #olderDurableIndex = 0;
  #olderDurableHardState: HardState | null = null;
  /** On their way to the disk, oldest first. */
  #writes: Write[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  get start(): number {
    return this.#start;
  }

  get last(): number {
    return this.#start + this.#terms.length;
  }

  get durableIndex(): number {
    return this.#durableIndex;
  }

  /**
   * On the disk with the newest confirmed write, even if a later leader's entries are about to
   * replace it: an answer to the former leader may still tell of it.
   */
  get writtenIndex(): number {
    return Math.max(this.#writtenIndex, this.#durableIndex);
  }

  get durableHardState(): HardState | null {
    return this.#durableHardState;
  }

  /** Undefined: not held. */
  term(index: number): number | undefined {
    if (index === this.#start) return this.#startTerm;
    return this.#terms[index - this.#start - 1];
  }

  checksum(index: number): number | undefined {
    return this.#checksums[index - this.#start - 1];
  }

  holdsDurably(id: {readonly index: number; readonly term: number}): boolean {
    if (id.index > this.#durableIndex) return false;
    return id.index < this.#start || this.term(id.index) === id.term;
  }

  /** The member handed a write to its disk. Returns how many entries it superseded. */
  hand(hardState: HardState, entries: readonly Entry[]): number {
    const first = entries[0];
    let superseded = 0;
    if (first !== undefined) {
      demand(first.index > this.#start && first.index <= this.last + 1, 'log has no gaps', () => {
        return `${this.#name} appends ${first.index} to (${this.#start}, ${this.last}]`;
      });
      superseded = this.last + 1 - first.index;
      if (superseded > 0) this.#truncateAfter(first.index - 1);
      for (const entry of entries) {
        this.#terms.push(entry.term);
        this.#checksums.push(entry.checksum);
      }
    }
    this.#writes.push({lastIndex: this.last, writtenIndex: this.last, hardState});
    return superseded;
  }

  /** The oldest write on its way is durable. */
  confirm(nowMs: number): void {
    const write = this.#writes.shift();
    demand(write !== undefined, 'writes are confirmed once', `${this.#name} confirms nothing`);
    if (nowMs > this.#confirmedAtMs) {
      this.#olderDurableIndex = this.#durableIndex;
      this.#olderDurableHardState = this.#durableHardState;
    }
    this.#confirmedAtMs = nowMs;
    this.#durableIndex = Math.max(this.#durableIndex, write.lastIndex);
    this.#writtenIndex = write.writtenIndex;
    this.#durableHardState = write.hardState ?? this.#durableHardState;
  }

  /** A snapshot took the place of everything; on the disk, together with the next write. */
  reset(id: EntryId): void {
    this.#start = id.index;
    this.#startTerm = id.term;
    this.#terms = [];
    this.#checksums = [];
    this.#durableIndex = Math.min(this.#durableIndex, id.index);
    for (const write of this.#writes) {
      write.lastIndex = 0;
      write.hardState = null;
    }
  }

  /** Entries up to `index`, inclusive, are not kept any more. */
  release(index: number): void {
    const count = index - this.#start;
    if (count <= 0) return;
    this.#startTerm = this.term(index) ?? this.#startTerm;
    this.#terms.splice(0, count);
    this.#checksums.splice(0, count);
    this.#start = index;
  }

  /**
   * Damage to the newest batch passes for a torn write until the log has said, at most a moment
   * later, that the batch was durable (wal-sync-mark.ts).
   */
  mayTakeNewestForTorn(last: number, found: HardState): boolean {
    const isForgotten = last < this.#durableIndex || forgets(found, this.#durableHardState);
    const isOlderKept =
      last >= this.#olderDurableIndex && !forgets(found, this.#olderDurableHardState);
    return isForgotten && isOlderKept;
  }

  /** A new life begins with what was found on the disk, which must hold all that was durable. */
  recover(found: {
    readonly start: EntryId;
    readonly entries: readonly Entry[];
    readonly hardState: HardState;
    /** Somebody committed the entry at `start`. */
    readonly isStartCommitted: boolean;
  }): void {
    const {start, entries, hardState} = found;
    const last = start.index + entries.length;
    const held = this.term(start.index);
    // A checkpoint that was lost and fetched again ends in another entry than this log has there:
    // what is committed takes the place of all that a former leader left.
    if (found.isStartCommitted && held !== undefined && held !== start.term) this.reset(start);
    const durable = this.#durableIndex;
    demand(last >= durable, 'what was durable survives', () => {
      return `${this.#name} restarts with entries up to ${last}, ${durable} was durable`;
    });
    for (let index = Math.max(start.index, this.#start); index <= durable; index++) {
      const before = this.term(index);
      const after = index === start.index ? start.term : entries[index - start.index - 1]?.term;
      demand(before === after || index === 0, 'what was durable survives', () => {
        return `${this.#name}: entry ${index} was of term ${before ?? 0}, is of ${after ?? 0}`;
      });
    }
    this.#checkHardState(hardState);
    this.#start = start.index;
    this.#startTerm = start.term;
    this.#terms = entries.map(entry => entry.term);
    this.#checksums = entries.map(entry => entry.checksum);
    this.#durableIndex = last;
    this.#durableHardState = hardState;
    this.#writes = [];
  }

  /** The process is gone; what was on its way may or may not be on the disk. */
  endLife(): void {
    this.#writes = [];
  }

  #checkHardState(found: HardState): void {
    const durable = this.#durableHardState;
    if (durable === null) return;
    demand(found.term >= durable.term, 'term and vote survive', () => {
      return `${this.#name} restarts in term ${found.term}, ${durable.term} was durable`;
    });
    demand(!forgets(found, durable), 'term and vote survive', () => {
      return `${this.#name} restarts with vote ${found.vote ?? '-'} in term ${found.term}, it had voted for ${durable.vote ?? '-'}`;
    });
  }

  #truncateAfter(index: number): void {
    this.#terms.length = index - this.#start;
    this.#checksums.length = index - this.#start;
    this.#durableIndex = Math.min(this.#durableIndex, index);
    for (const write of this.#writes) write.lastIndex = Math.min(write.lastIndex, index);
  }
}

/** A term that is lower, or a vote of the same term that is gone or another. */
function forgets(found: HardState, known: HardState | null): boolean {
  if (known === null || found.term > known.term) return false;
  return found.term < known.term || (known.vote !== null && found.vote !== known.vote);
}
