/** What a command says of leases, as bytes: docs/formats.md, "Commands". */
import {assert} from '../base/assert.ts';
import {MalformedBytesError} from '../base/bytes.ts';
import type {ByteReader, ByteWriter} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {LeaseGrantCommand, LeaseQuery, LeaseRevokeCommand} from './command.ts';

export function writeLeaseGrant(writer: ByteWriter, {id, ttlMs}: LeaseGrantCommand): void {
  assert(ttlMs > 0, 'a lease of % ms', ttlMs);
  writer.varint(id);
  writer.varint(ttlMs);
}

export function readLeaseGrant(reader: ByteReader): LeaseGrantCommand {
  const id = reader.varint();
  return {type: 'lease-grant', id, ttlMs: readPositive(reader)};
}

export function writeLeaseRevoke(writer: ByteWriter, {leases}: LeaseRevokeCommand): void {
  assert(leases.length <= limits.leaseRevokeCountMax, '% leases at once', leases.length);
  writer.varint(leases.length);
  for (const {id, grant} of leases) {
    writer.varint(id);
    writer.varint(grant);
  }
}

export function readLeaseRevoke(reader: ByteReader): LeaseRevokeCommand {
  const count = readPositive(reader);
  if (count > limits.leaseRevokeCountMax) throw new MalformedBytesError(`${count} leases`);
  const leases: {id: number; grant: number}[] = [];
  for (let i = 0; i < count; i++) {
    const id = readPositive(reader);
    leases.push({id, grant: reader.varint()});
  }
  return {type: 'lease-revoke', leases};
}

export function writeLeaseQuery(writer: ByteWriter, {id, isKeepalive}: LeaseQuery): void {
  writer.u8(isKeepalive ? 1 : 0);
  writer.varint(id);
}

export function readLeaseQuery(reader: ByteReader): LeaseQuery {
  const flag = reader.u8();
  if (flag > 1) throw new MalformedBytesError(`flag ${flag}`);
  return {type: 'lease-query', isKeepalive: flag === 1, id: readPositive(reader)};
}

function readPositive(reader: ByteReader): number {
  const value = reader.varint();
  if (value === 0) throw new MalformedBytesError('a zero that should have been left out');
  return value;
}
