/**
 * The term of every entry of the log, as runs: terms rise rarely, so a few pairs replace a number
 * per entry, and raft's term look-ups never touch the disk.
 */
import {assert, must} from '../base/assert.ts';
import type {EntryId} from '../raft/entry.ts';
import type {LogIndex, Term} from '../raft/ids.ts';

/** Invariant: `runs` rise strictly in index and never fall in term; the first begins at `start`. */
export class TermRuns {
  #runs: EntryId[];
  #last: LogIndex;

  /** `start`: the entry before the first one of the log. */
  constructor(start: EntryId) {
    this.#runs = [start];
    this.#last = start.index;
  }

  /** Takes the entry after the last one. */
  push(id: EntryId): void {
    assert(id.index === this.#last + 1, 'entry % after %', id.index, this.#last);
    const last = must(this.#runs.at(-1), 'a run');
    assert(id.term >= last.term, 'term % after % at index %', id.term, last.term, id.index);
    // Not `id` itself: it may be an entry, whose data is part of something much larger.
    if (id.term !== last.term) this.#runs.push({index: id.index, term: id.term});
    this.#last = id.index;
  }

  /** Takes the entries from `first` to `lastIndex`, all of one term. */
  pushRun(first: EntryId, lastIndex: LogIndex): void {
    assert(lastIndex >= first.index, 'a run from % to %', first.index, lastIndex);
    this.push(first);
    this.#last = lastIndex;
  }

  /** Undefined outside of start … last. */
  at(index: LogIndex): Term | undefined {
    if (index > this.#last) return undefined;
    for (let i = this.#runs.length - 1; i >= 0; i--) {
      const run = must(this.#runs[i], 'a run');
      if (run.index <= index) return run.term;
    }
    return undefined;
  }

  /** `index` becomes the last; not below the start. */
  truncateAfter(index: LogIndex): void {
    assert(index >= must(this.#runs[0], 'a run').index, 'truncation to % before the start', index);
    while (must(this.#runs.at(-1), 'a run').index > index) this.#runs.pop();
    this.#last = index;
  }

  /** `index`, which must be within, becomes the start. */
  dropBefore(index: LogIndex): void {
    const term = must(this.at(index), 'index % is not in the log', index);
    const rest = this.#runs.filter(run => run.index > index);
    this.#runs = [{index, term}, ...rest];
  }
}
