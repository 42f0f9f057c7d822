/**
 * The hash of the logical state: docs/formats.md, "Row hash". A sum over rows, so that it follows
 * each change in constant time and does not depend on the path that led to the state. CRC-32 is
 * linear, hence the finalizers: without them two wrong rows could cancel each other.
 */
import {assert} from '../base/assert.ts';
import {ByteWriter} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';

interface RowHash {
  /** Two unsigned 32-bit words. */
  readonly low: number;
  readonly high: number;
}

interface HashedRecord {
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly leaseId: number;
  readonly value: Uint8Array;
}

const head = new ByteWriter(2048);

export function hashRow(key: Uint8Array, record: HashedRecord): RowHash {
  head.reset();
  head.u32(key.length);
  head.raw(key);
  head.u64(record.createRevision);
  head.u64(record.modRevision);
  head.u64(record.version);
  head.u64(record.leaseId);
  const a = checksum(head.contentView());
  const b = checksum(record.value);
  return {low: mix(a ^ mix(b + 0x9e37_79b9)), high: mix(b ^ mix(a + 0x85eb_ca6b))};
}

/** 16 hexadecimal digits. */
export function formatStateHash(sum: RowHash, compactedRevision: number): string {
  assert(Number.isSafeInteger(compactedRevision), 'compacted revision %', compactedRevision);
  const low = mix(sum.low + mix(compactedRevision % 0x1_0000_0000));
  const high = mix(sum.high + mix(Math.floor(compactedRevision / 0x1_0000_0000) + low));
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

/** The 32-bit finalizer of MurmurHash3; takes any integer modulo 2^32. */
function mix(value: number): number {
  let bits = value | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85eb_ca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2_ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
