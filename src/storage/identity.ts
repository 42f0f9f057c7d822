/**
 * Who a data directory is: created once, before anything else is written. The cluster id is filled
 * in when the cluster forms; node id and incarnation never change.
 */
import type {NodeId} from '../raft/ids.ts';
import {isNodeId} from '../raft/ids.ts';
import type {Disk} from './disk.ts';
import type {JsonValue} from './durable-file.ts';
import {damagedFileError, isJsonObject, readDurableFile, writeDurableFile} from './durable-file.ts';

export interface Identity {
  /** Null until the cluster is formed. */
  readonly clusterId: string | null;
  readonly nodeId: NodeId;
  /** 16 hex digits drawn when the directory was created: names this disk, not this name. */
  readonly incarnation: string;
  /** What the formation of the cluster keeps; null when there is nothing to keep. */
  readonly members: JsonValue;
}

/** Null when there is none; throws StorageError when it is damaged. */
export function readIdentity(disk: Disk, file: string): Identity | null {
  const content = readDurableFile(disk, file);
  if (content === null) return null;
  if (!isJsonObject(content)) throw damagedFileError(file, 'it is not an object');
  const {clusterId, nodeId, incarnation, members} = content;
  const isClusterIdSane = clusterId === null || typeof clusterId === 'string';
  if (!isClusterIdSane) throw damagedFileError(file, 'its cluster id is not a string');
  if (typeof nodeId !== 'string' || !isNodeId(nodeId)) {
    throw damagedFileError(file, 'its node id is not one');
  }
  if (typeof incarnation !== 'string' || !/^[0-9a-f]{16}$/.test(incarnation)) {
    throw damagedFileError(file, 'its incarnation is not 16 hex digits');
  }
  return {clusterId, nodeId, incarnation, members: members ?? null};
}

/** Durable at return. */
export function writeIdentity(disk: Disk, file: string, identity: Identity): void {
  const {clusterId, nodeId, incarnation, members} = identity;
  writeDurableFile(disk, file, {clusterId, nodeId, incarnation, members});
}
