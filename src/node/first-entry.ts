/**
 * Entry 1 of a cluster that its first members form together: the membership, equal on every one of
 * them, in force and committed from the start.
 */
import {makeEntry} from '../raft/entry.ts';
import {logIndex, term} from '../raft/ids.ts';
import type {Member, Membership} from '../raft/membership.ts';
import {encodeMembership} from '../raft/membership.ts';
import type {OpenedLog} from '../storage/wal-log-store.ts';

/** Makes it durable in an empty log; what the log says then is in `written`. */
export function writeFirstEntry(
  opened: OpenedLog,
  members: readonly Member[],
  callback: (error: Error | null, written: OpenedLog) => void,
): void {
  const membership = firstMembership(members);
  const entry = makeEntry({
    term: term(1),
    index: logIndex(1),
    type: 'membership',
    proposedAtMs: 0,
    data: encodeMembership(membership),
  });
  const hardState = {term: term(1), vote: null, commit: logIndex(1)};
  const memberships = [...opened.memberships, {index: entry.index, membership}];
  opened.store.append({hardState, entries: [entry]}, error =>
    callback(error, {...opened, hardState, memberships}),
  );
}

function firstMembership(members: readonly Member[]): Membership {
  const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : 1));
  return {
    voters: sorted.map(member => member.id),
    votersOutgoing: [],
    learners: [],
    members: sorted,
  };
}
