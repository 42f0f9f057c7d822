/**
 * The head and the end of a backup file; between them are the blocks of a snapshot stream. Format:
 * docs/formats.md, "Backup file".
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {ByteReader, ByteWriter, MalformedBytesError, equalBytes} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import type {LogIndex, Term} from '../raft/ids.ts';
import {logIndex, term} from '../raft/ids.ts';
import type {Membership} from '../raft/membership.ts';
import {decodeMembership, encodeMembership} from '../raft/membership.ts';

export interface BackupHead {
  readonly clusterId: string;
  /** Of the node that sent it, and of its program. */
  readonly nodeId: string;
  readonly version: string;
  /** By the wall clock of that node, milliseconds since the epoch. */
  readonly createdAtMs: number;
  readonly revision: number;
  readonly compactedRevision: number;
  readonly keyCount: number;
  readonly stateHash: string;
  /** The last log entry in it. */
  readonly index: LogIndex;
  readonly term: Term;
  /** Of the blocks, in bytes: an estimate made beforehand. */
  readonly estimatedSizeBytes: number;
  readonly membership: Membership;
}

/** What the end says of everything before it. */
export interface BackupEnd {
  readonly sizeBytes: number;
  readonly checksum: number;
}

export const backupFormatVersion = 1;
/** Magic, version and size of the content. */
export const backupPrefixSizeBytes = 16;
export const backupContentSizeBytesMax = 64 * 1024;
export const backupEndSizeBytes = 28;
const checksumSizeBytes = 4;
const magic = Buffer.from('RSTABAK\0', 'latin1');
const endMagic = Buffer.from('RSTAEND\0', 'latin1');

export function encodeBackupHead(head: BackupHead): Uint8Array {
  const content = new ByteWriter(1024);
  content.string(head.clusterId);
  content.string(head.nodeId);
  content.string(head.version);
  content.u64(head.createdAtMs);
  content.u64(head.revision);
  content.u64(head.compactedRevision);
  content.u64(head.keyCount);
  content.string(head.stateHash);
  content.u64(head.index);
  content.u64(head.term);
  content.u64(head.estimatedSizeBytes);
  content.bytes(encodeMembership(head.membership));
  assert(content.length <= backupContentSizeBytesMax, 'a head of % bytes', content.length);
  const writer = new ByteWriter(1024);
  writer.raw(magic);
  writer.u32(backupFormatVersion);
  writer.u32(content.length);
  writer.raw(content.contentView());
  writer.u32(checksum(writer.contentView()));
  return writer.finish();
}

/** Size of the whole head, by its first `backupPrefixSizeBytes`. Throws MalformedBytesError. */
export function backupHeadSizeBytes(prefix: Uint8Array): number {
  const reader = new ByteReader(prefix);
  if (!equalBytes(reader.rawView(magic.length), magic)) {
    throw new MalformedBytesError('it is not a backup of Rosetta');
  }
  const version = reader.u32();
  if (version !== backupFormatVersion) {
    throw new MalformedBytesError(`backup format version ${version}`);
  }
  const contentSizeBytes = reader.u32();
  if (contentSizeBytes > backupContentSizeBytesMax) throw new MalformedBytesError('its head');
  return backupPrefixSizeBytes + contentSizeBytes + checksumSizeBytes;
}

/** `bytes`: the whole head. Throws MalformedBytesError. */
export function decodeBackupHead(bytes: Uint8Array): BackupHead {
  const end = bytes.length - checksumSizeBytes;
  const sum = new ByteReader(bytes, end).u32();
  if (sum !== checksum(bytes.subarray(0, end))) {
    throw new MalformedBytesError('the checksum of its head does not match');
  }
  const reader = new ByteReader(bytes.subarray(backupPrefixSizeBytes, end));
  const head: BackupHead = {
    clusterId: reader.string(),
    nodeId: reader.string(),
    version: reader.string(),
    createdAtMs: reader.u64(),
    revision: reader.u64(),
    compactedRevision: reader.u64(),
    keyCount: reader.u64(),
    stateHash: reader.string(),
    index: logIndex(reader.u64()),
    term: term(reader.u64()),
    estimatedSizeBytes: reader.u64(),
    membership: decodeMembership(reader.bytesView()),
  };
  reader.end();
  return head;
}

export function encodeBackupEnd(end: BackupEnd): Uint8Array {
  const writer = new ByteWriter(backupEndSizeBytes);
  writer.u32(0);
  writer.raw(endMagic);
  writer.u64(end.sizeBytes);
  writer.u32(end.checksum);
  writer.u32(checksum(writer.contentView()));
  return writer.finish();
}

/** Throws MalformedBytesError. */
export function decodeBackupEnd(bytes: Uint8Array): BackupEnd {
  const reader = new ByteReader(bytes);
  const zero = reader.u32();
  const hasMagic = equalBytes(reader.rawView(endMagic.length), endMagic);
  const end = {sizeBytes: reader.u64(), checksum: reader.u32()};
  const sum = reader.u32();
  reader.end();
  const covered = bytes.subarray(0, backupEndSizeBytes - checksumSizeBytes);
  if (zero !== 0 || !hasMagic || sum !== checksum(covered)) {
    throw new MalformedBytesError('its end is not valid');
  }
  return end;
}
