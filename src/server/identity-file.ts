/** The identity record of node/identity-record.ts in the identity file of the data directory. */
import {RosettaError} from '../base/errors.ts';
import {readMembers} from '../node/formation-messages.ts';
import type {IdentityRecord} from '../node/identity-record.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Disk} from '../storage/disk.ts';
import {damagedFileError, isJsonObject} from '../storage/durable-file.ts';
import type {Identity} from '../storage/identity.ts';
import {readIdentity, writeIdentity} from '../storage/identity.ts';

const stages = ['fresh', 'founded', 'adopted', 'member'] as const;

/** A new directory gets the drawn incarnation, durably, before anybody hears of it. */
export function openIdentity(
  disk: Disk,
  file: string,
  fresh: {readonly id: NodeId; readonly drawIncarnation: () => string},
): IdentityRecord {
  const identity = readIdentity(disk, file);
  if (identity === null) {
    const record: IdentityRecord = {
      nodeId: fresh.id,
      incarnation: fresh.drawIncarnation(),
      clusterId: null,
      stage: 'fresh',
      members: [],
    };
    saveIdentity(disk, file, record);
    return record;
  }
  const {nodeId} = identity;
  if (nodeId !== fresh.id) {
    const detail = `${file} belongs to ${nodeId}, not to ${fresh.id}; use -id=${nodeId} or another -data`;
    throw new RosettaError('INVALID_REQUEST', detail);
  }
  return toRecord(file, identity);
}

/** Throws StorageError when what the identity keeps is not what `saveIdentity` wrote. */
export function toRecord(file: string, identity: Identity): IdentityRecord {
  const {nodeId, incarnation, clusterId} = identity;
  const kept = isJsonObject(identity.members) ? identity.members : {};
  const stage = stages.find(name => name === kept['stage']);
  const list = kept['members'];
  const members = Array.isArray(list) && list.length === 0 ? [] : readMembers(list);
  if (stage === undefined || members === null) throw damagedFileError(file, 'its members');
  const {divergence} = kept;
  return {
    ...{nodeId, incarnation, clusterId, stage, members},
    ...(kept['hasRejoined'] === true ? {hasRejoined: true} : {}),
    ...(typeof divergence === 'string' ? {divergence} : {}),
  };
}

/** Whether `-rejoin` has something to replace: a member that has not come with it already. */
export function isToBeReplaced(disk: Disk, file: string): boolean {
  let identity: ReturnType<typeof readIdentity>;
  try {
    identity = readIdentity(disk, file);
  } catch {
    // Whatever it was: this directory does not start again.
    return true;
  }
  if (identity === null) return false;
  const {clusterId, members} = identity;
  const kept = isJsonObject(members) ? members : {};
  if (typeof kept['divergence'] === 'string') return true;
  return clusterId !== null && kept['hasRejoined'] !== true;
}

/** Durable when it returns. */
export function saveIdentity(disk: Disk, file: string, record: IdentityRecord): void {
  writeIdentity(disk, file, toIdentity(record));
}

export function toIdentity(record: IdentityRecord): Identity {
  const {nodeId, incarnation, clusterId, stage, hasRejoined, divergence} = record;
  const members = record.members.map(({id, incarnation: own, listen, http}) => {
    return {id, incarnation: own, listen, http};
  });
  const kept = {
    stage,
    members,
    ...(hasRejoined === true ? {hasRejoined} : {}),
    ...(divergence === undefined ? {} : {divergence}),
  };
  return {nodeId, incarnation, clusterId, members: kept};
}
