/**
 * The memberships of the entries that the log has written, superseded ones left out. A segment's
 * header states the last of them. What was appended and still waits is not among them: it may
 * supersede entries that the header follows, and a crash may take it away.
 */
import {must} from '../base/assert.ts';
import type {Entry} from '../raft/entry.ts';
import type {LogIndex} from '../raft/ids.ts';
import {decodeMembership} from '../raft/membership.ts';
import type {MembershipRecord} from '../raft/options.ts';

export class WrittenMemberships {
  /** In force at the start of the log, then every later one. Invariant: never empty. */
  #records: MembershipRecord[];

  constructor(records: readonly MembershipRecord[]) {
    this.#records = [...records];
  }

  /** In force at the last entry written. */
  get last(): MembershipRecord {
    return must(this.#records.at(-1), 'a membership');
  }

  /** A batch of entries that begins with `firstIndex` is written. */
  noteBatch(firstIndex: LogIndex, groups: readonly (readonly Entry[])[]): void {
    while (this.last.index >= firstIndex) this.#records.pop();
    for (const entries of groups) {
      for (const {type, index, data} of entries) {
        if (type === 'membership') this.#records.push({index, membership: decodeMembership(data)});
      }
    }
  }

  /** The log starts behind `index` from now on. */
  dropBefore(index: LogIndex): void {
    this.#records = membershipsFrom(this.#records, index);
  }

  reset(record: MembershipRecord): void {
    this.#records = [record];
  }
}

/** Membership records from the one in force at `index` on. */
export function membershipsFrom(
  records: readonly MembershipRecord[],
  index: LogIndex,
): MembershipRecord[] {
  const inForce = records.findLastIndex(record => record.index <= index);
  return records.slice(Math.max(0, inForce));
}
