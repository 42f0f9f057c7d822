/** A cluster of one, begun from the state of another: by `restore`, and by `recover -force`. */
import {randomBytes} from 'node:crypto';
import type {IdentityRecord} from '../node/identity-record.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Membership} from '../raft/membership.ts';

export interface FirstMember {
  readonly id: NodeId;
  /** Raft and API address, as others are told. */
  readonly listen: string;
  readonly http: string;
}

/** Ids that nobody had before: no member of another cluster takes this one for a friend. */
export function drawNewCluster(first: FirstMember): {
  readonly record: IdentityRecord;
  readonly membership: Membership;
} {
  const incarnation = randomBytes(8).toString('hex');
  const self = {...first, incarnation};
  const record: IdentityRecord = {
    nodeId: first.id,
    incarnation,
    clusterId: randomBytes(16).toString('hex'),
    stage: 'member',
    members: [self],
  };
  const membership: Membership = {
    voters: [first.id],
    votersOutgoing: [],
    learners: [],
    members: [self],
  };
  return {record, membership};
}
