/**
 * One disk, one member, one vote: an incarnation belongs to one id for ever, a voter's disk is
 * replaced only by way of a removal and a learner, who left stays away, and what a leader counts
 * for a member is on the disk that the membership names.
 */
import {isActive} from '../../../src/raft/contact.ts';
import type {Membership} from '../../../src/raft/membership.ts';
import type {RaftState} from '../../../src/raft/raft-state.ts';
import {demand} from './violation.ts';

export interface PresentDisk {
  readonly incarnation: string;
  /** The latest that it has heard of. */
  readonly term: number;
  /** Up to where it is durable. */
  readonly durableIndex: number;
}

export class MembershipCheck {
  readonly #ids = new Map<string, string>();
  /** All changes are asked of nodes, which have rules; false: some go to raft itself. */
  hasRules = true;

  /** `membership` has come into force somewhere, after `before`. */
  onMembership(membership: Membership, before: Membership | undefined): void {
    const {voters, members, removed = []} = membership;
    for (const {id, incarnation} of members) {
      if (incarnation === '') {
        demand(!voters.includes(id), 'a voter has a disk', id);
        continue;
      }
      const known = this.#ids.get(incarnation) ?? id;
      this.#ids.set(incarnation, id);
      demand(known === id, 'one id for a disk', `${incarnation} is ${known} and ${id}`);
      const hasLeft = removed.some(row => row.incarnation === incarnation);
      demand(!hasLeft, 'who left stays away', `${id} with ${incarnation}`);
      const former = before?.members.find(row => row.id === id);
      const isVoter = voters.includes(id) && before?.voters.includes(id) === true;
      demand(
        !isVoter || former?.incarnation === incarnation,
        'a voter keeps its disk',
        `${id} from ${former?.incarnation ?? '-'} to ${incarnation}`,
      );
    }
  }

  /**
   * A leader has proposed `membership` after `before`. It takes a voter out only while a majority
   * of those that stay has answered it lately: else the cluster would stand still until they come.
   */
  onProposed(state: Readonly<RaftState>, membership: Membership, before: Membership): void {
    const {voters} = membership;
    const isRemoval =
      voters.length < before.voters.length && voters.every(id => before.voters.includes(id));
    if (!isRemoval || !this.hasRules) return;
    const present = voters.filter(id => {
      const progress = state.leadership?.progress.get(id);
      return id === state.id || (progress !== undefined && isActive(state, progress));
    });
    demand(present.length * 2 > voters.length, 'a removal leaves a quorum', () => {
      return `${state.id} makes ${voters.join(', ')} the voters, and hears ${present.join(', ')}`;
    });
  }

  /** `disks`: the present directory of each member. */
  onLeader(state: Readonly<RaftState>, disks: (id: string) => PresentDisk | null): void {
    for (const progress of state.leadership?.progress.values() ?? []) {
      const disk = disks(progress.id);
      if (disk?.incarnation !== progress.incarnation) continue;
      // A later leader may have replaced what it acknowledged; this one can commit no more of it.
      if (disk.term > state.term) continue;
      demand(progress.matchIndex <= disk.durableIndex, 'what is counted is there', () => {
        return `${state.id} counts ${progress.matchIndex} of ${progress.id}, durable is ${disk.durableIndex}`;
      });
    }
  }
}
