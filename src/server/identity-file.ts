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
  refuseOtherNode(file, identity, fresh.id);
  return toRecord(file, identity);
}

/** Throws RosettaError when the directory is another node's. */
export function refuseOtherNode(file: string, {nodeId}: Identity, id: NodeId): void {
  if (nodeId === id) return;
  const detail = `${file} belongs to ${nodeId}, not to ${id}; use -id=${nodeId} or another -data`;
  throw new RosettaError('INVALID_REQUEST', detail);
}

/** Throws StorageError when what the identity keeps is not what `saveIdentity` wrote. */
export function toRecord(file: string, identity: Identity): IdentityRecord {
  const {nodeId, incarnation, clusterId} = identity;
  const kept = isJsonObject(identity.members) ? identity.members : {};
  const stage = stages.find(name => name === kept['stage']);
  const list = kept['members'];
  const members = Array.isArray(list) && list.length === 0 ? [] : readMembers(list);
  if (stage === undefined || members === null) throw damagedFileError(file, 'its members');
  const {divergence, formerClusterId} = kept;
  return {
    ...{nodeId, incarnation, clusterId, stage, members},
    ...(typeof formerClusterId === 'string' ? {formerClusterId} : {}),
    ...(typeof divergence === 'string' ? {divergence} : {}),
  };
}

/** Durable when it returns. */
export function saveIdentity(disk: Disk, file: string, record: IdentityRecord): void {
  writeIdentity(disk, file, toIdentity(record));
}

export function toIdentity(record: IdentityRecord): Identity {
  const {nodeId, incarnation, clusterId, stage, formerClusterId, divergence} = record;
  const members = record.members.map(({id, incarnation: own, listen, http}) => {
    return {id, incarnation: own, listen, http};
  });
  const kept = {
    stage,
    members,
    ...(formerClusterId === undefined ? {} : {formerClusterId}),
    ...(divergence === undefined ? {} : {divergence}),
  };
  return {nodeId, incarnation, clusterId, members: kept};
}
