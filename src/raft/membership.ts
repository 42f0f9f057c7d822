/**
 * Who belongs to the cluster. A membership entry carries the whole new membership, never a delta;
 * it takes effect when appended and is rolled back when truncated (dissertation §4.1). While
 * `votersOutgoing` is not empty the membership is joint: elections and commits need a majority of
 * both sets (dissertation §4.3).
 */
import {ByteReader, ByteWriter, MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {NodeId} from './ids.ts';
import {isNodeId} from './ids.ts';

export interface Member {
  readonly id: NodeId;
  /**
   * 16 hex digits drawn when the data directory was created: names this disk, not this name. Empty
   * for a learner that was announced and has not come yet.
   */
  readonly incarnation: string;
  /** Raft address told to others, `host:port`. */
  readonly listen: string;
  /** API address told to others, `host:port`; empty while the incarnation is. */
  readonly http: string;
}

/** A disk whose member left: it never speaks for any member again. */
export interface RemovedMember {
  readonly id: NodeId;
  readonly incarnation: string;
}

/** Invariant: id lists are sorted, without repetition; learners and voters are disjoint. */
export interface Membership {
  readonly voters: readonly NodeId[];
  /** The voters before the change; empty unless the membership is joint. */
  readonly votersOutgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Exactly one row for every id named above, sorted by id. */
  readonly members: readonly Member[];
  /** The last that left, oldest first, at most `limits.removedMemberCountMax`; absent: none. */
  readonly removed?: readonly RemovedMember[];
}

export const emptyMembership: Membership = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  members: [],
};

export function isJoint(membership: Membership): boolean {
  return membership.votersOutgoing.length > 0;
}

export function isVoter(membership: Membership, id: NodeId): boolean {
  return membership.voters.includes(id) || membership.votersOutgoing.includes(id);
}

/**
 * Whether it is a voter with this disk: a membership that has another incarnation under `id` speaks
 * of a former one. `incarnation` undefined: no id ever comes back with another disk.
 */
export function isVoterOn(
  membership: Membership,
  id: NodeId,
  incarnation: string | undefined,
): boolean {
  if (!isVoter(membership, id)) return false;
  return incarnation === undefined || findMember(membership, id)?.incarnation === incarnation;
}

export function isLearner(membership: Membership, id: NodeId): boolean {
  return membership.learners.includes(id);
}

export function findMember(membership: Membership, id: NodeId): Member | undefined {
  return membership.members.find(member => member.id === id);
}

export function isRemoved(membership: Membership, incarnation: string): boolean {
  return membership.removed?.some(row => row.incarnation === incarnation) === true;
}

/** Somebody left and did not come back with another directory. */
export function hasShrunk(membership: Membership): boolean {
  return membership.removed?.some(({id}) => findMember(membership, id) === undefined) === true;
}

/** Version 2 has a list of those who left. */
const formatVersion = 1;
const formatVersionWithRemoved = 2;

/** Format: docs/formats.md, "Membership". */
export function encodeMembership(membership: Membership): Uint8Array {
  const writer = new ByteWriter();
  const {removed} = membership;
  writer.u8(removed === undefined ? formatVersion : formatVersionWithRemoved);
  for (const ids of [membership.voters, membership.votersOutgoing, membership.learners]) {
    writer.varint(ids.length);
    for (const id of ids) writer.string(id);
  }
  writer.varint(membership.members.length);
  for (const member of membership.members) {
    writer.string(member.id);
    writer.string(member.incarnation);
    writer.string(member.listen);
    writer.string(member.http);
  }
  if (removed !== undefined) {
    writer.varint(removed.length);
    for (const {id, incarnation} of removed) {
      writer.string(id);
      writer.string(incarnation);
    }
  }
  return writer.finish();
}

/** Throws MalformedBytesError. */
export function decodeMembership(bytes: Uint8Array): Membership {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  const hasRemoved = version === formatVersionWithRemoved;
  if (version !== formatVersion && !hasRemoved) {
    throw new MalformedBytesError(`membership version ${version}`);
  }
  const voters = readIds(reader);
  const votersOutgoing = readIds(reader);
  const learners = readIds(reader);
  const count = readCount(reader);
  const members: Member[] = [];
  for (let i = 0; i < count; i++) {
    const id = readId(reader);
    members.push({
      id,
      incarnation: reader.string(),
      listen: reader.string(),
      http: reader.string(),
    });
  }
  const removed = hasRemoved ? readRemoved(reader) : undefined;
  reader.end();
  const membership = {voters, votersOutgoing, learners, members};
  return removed === undefined ? membership : {...membership, removed};
}

function readRemoved(reader: ByteReader): RemovedMember[] {
  const count = reader.varint();
  if (count === 0 || count > limits.removedMemberCountMax) {
    throw new MalformedBytesError(`${count} removed members`);
  }
  const removed: RemovedMember[] = [];
  for (let i = 0; i < count; i++) removed.push({id: readId(reader), incarnation: reader.string()});
  return removed;
}

function readIds(reader: ByteReader): NodeId[] {
  const count = readCount(reader);
  const ids: NodeId[] = [];
  for (let i = 0; i < count; i++) ids.push(readId(reader));
  return ids;
}

function readId(reader: ByteReader): NodeId {
  const text = reader.string();
  if (!isNodeId(text)) throw new MalformedBytesError('not a node id');
  return text;
}

function readCount(reader: ByteReader): number {
  const count = reader.varint();
  // Voters, outgoing voters and learners of one change together stay below four full clusters.
  if (count > limits.memberCountMax * 4) throw new MalformedBytesError(`${count} members`);
  return count;
}
