/** A node that is not a member yet: it forms a cluster with its peers, or asks a running one. */
import type {Clock} from '../base/clock.ts';
import type {Logger} from '../base/logger.ts';
import type {Member} from '../raft/membership.ts';
import type {FormationAnswer, Transport} from '../transport/transport.ts';
import type {FormationPeer, FormationRequest} from './formation-messages.ts';
import {Formation} from './formation.ts';
import type {IdentityRecord} from './identity-record.ts';
import {Joining} from './joining.ts';

export interface Newcomer {
  /** What it waits for. */
  readonly aim: 'formation' | 'joining';
  start(): void;
  stop(): void;
  answer(request: FormationRequest): FormationAnswer;
}

export interface JoinPlace {
  /** Raft addresses of members to ask; not empty. */
  readonly contacts: readonly string[];
  /** In place of the former directory under the same id. */
  readonly replaces: boolean;
}

export interface NewcomerParts {
  readonly self: Member;
  readonly peers: readonly FormationPeer[];
  /** Null: `peers` form a cluster. */
  readonly join: JoinPlace | null;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly drawClusterId: () => string;
}

export interface NewcomerHooks {
  /** Durable when it returns. */
  readonly save: (record: IdentityRecord) => void;
  readonly writeFirstEntry: (record: IdentityRecord, callback: () => void) => void;
  /** The member may run. Called once. */
  readonly onMember: (record: IdentityRecord) => void;
  readonly onFatal: (error: Error) => void;
  readonly onRemoved: (detail: string) => void;
}

export function createNewcomer(
  parts: NewcomerParts,
  record: IdentityRecord,
  hooks: NewcomerHooks,
): Newcomer {
  const {self, peers, join, transport, clock, logger, drawClusterId} = parts;
  const {save, writeFirstEntry, onMember, onFatal, onRemoved} = hooks;
  const shared = {self, transport, clock, logger, save, onFatal};
  if (join !== null && record.stage === 'fresh') {
    return new Joining({...shared, ...join, onJoined: onMember, onRemoved}, record);
  }
  return new Formation(
    {...shared, peers, drawClusterId, writeFirstEntry, onFormed: onMember},
    record,
  );
}
