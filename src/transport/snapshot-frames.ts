/**
 * What the two ends of a snapshot stream say to each other beside the blocks: the offer, the
 * position it is to go on from, a refusal. Format: docs/formats.md, "Peer frames". The decoders
 * throw MalformedBytesError.
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {ByteReader, ByteWriter, MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import {logIndex, term} from '../raft/ids.ts';
import {decodeMembership, encodeMembership} from '../raft/membership.ts';
import type {SnapshotOffer} from './transport.ts';

const idPattern = /^[0-9a-z-]+$/;

export function encodeOffer({id, meta, sizeBytes}: SnapshotOffer): Uint8Array {
  const isSound = id.length <= limits.snapshotIdSizeBytesMax && idPattern.test(id);
  assert(isSound, 'not the id of a snapshot: %', id);
  const writer = new ByteWriter();
  writer.u8(id.length);
  writer.raw(Buffer.from(id, 'latin1'));
  writer.u64(meta.index);
  writer.u64(meta.term);
  writer.u64(sizeBytes);
  writer.raw(encodeMembership(meta.membership));
  return writer.finish();
}

export function decodeOffer(payload: Buffer): SnapshotOffer {
  const reader = new ByteReader(payload);
  const idSizeBytes = reader.u8();
  if (idSizeBytes > limits.snapshotIdSizeBytesMax) throw new MalformedBytesError('id too long');
  const id = Buffer.from(reader.rawView(idSizeBytes)).toString('latin1');
  if (!idPattern.test(id)) throw new MalformedBytesError('not the id of a snapshot');
  const index = logIndex(reader.u64());
  const termOfIndex = term(reader.u64());
  const sizeBytes = reader.u64();
  const membership = decodeMembership(reader.rawView(reader.remaining));
  return {id, meta: {index, term: termOfIndex, membership}, sizeBytes};
}

export interface SnapshotRefusal {
  readonly code: string;
  readonly detail: string;
}

export function encodeRefusal({code, detail}: SnapshotRefusal): Uint8Array {
  const writer = new ByteWriter();
  const codeBytes = Buffer.from(code, 'latin1');
  writer.u8(codeBytes.length);
  writer.raw(codeBytes);
  writer.raw(Buffer.from(detail.slice(0, limits.refusalSizeBytesMax / 4)));
  return writer.finish();
}

export function decodeRefusal(payload: Buffer): SnapshotRefusal {
  const reader = new ByteReader(payload);
  const code = Buffer.from(reader.rawView(reader.u8())).toString('latin1');
  if (reader.remaining > limits.refusalSizeBytesMax) throw new MalformedBytesError('too long');
  return {code, detail: Buffer.from(reader.rawView(reader.remaining)).toString('utf8')};
}
