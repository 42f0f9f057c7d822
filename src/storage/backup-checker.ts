/**
 * Takes the bytes of a backup file as they come, in pieces of any size, and holds them to its
 * checksums. Holds one block at most. What the blocks say is for whoever asks for them.
 */
import {Buffer} from 'node:buffer';
import {asBuffer, MalformedBytesError} from '../base/bytes.ts';
import {checksum, joinChecksums} from '../base/checksum.ts';
import {limits} from '../base/limits.ts';
import type {BackupEnd, BackupHead} from './backup-format.ts';
import {checksumOfBlock} from './snapshot-block.ts';
import {
  backupEndSizeBytes,
  backupHeadSizeBytes,
  backupPrefixSizeBytes,
  decodeBackupEnd,
  decodeBackupHead,
} from './backup-format.ts';

const sizeFieldSizeBytes = 4;
/** Payload size before and checksum behind the payload of a block. */
const blockFrameSizeBytes = 8;

/** A block's; the head is smaller. */
const partSizeBytesMax = limits.snapshotBlockSizeBytesMax;

/** What comes next, and how many bytes of it must be here to say more. */
type Part = 'prefix' | 'head' | 'size' | 'block' | 'end' | 'nothing';

export class BackupChecker {
  readonly #visitBlock: (blockView: Uint8Array) => void;
  #part: Part = 'prefix';
  #wantedSizeBytes = backupPrefixSizeBytes;
  /** Of the part that has begun, when it comes in several pieces; `#begunSize` bytes of it are. */
  readonly #begun = Buffer.allocUnsafeSlow(partSizeBytesMax);
  #begunSize = 0;
  #head: BackupHead | null = null;
  #end: BackupEnd | null = null;
  /** Of everything that was checked, up to the part that comes next. */
  #sizeBytes = 0;
  #checksum = 0;

  /**
   * `visitBlock` gets each block whose checksum holds, as SnapshotDecoder takes it: a view, valid
   * during the visit.
   */
  constructor(visitBlock: (blockView: Uint8Array) => void = () => undefined) {
    this.#visitBlock = visitBlock;
  }

  /** Null until it has come. */
  get head(): BackupHead | null {
    return this.#head;
  }

  get sizeBytes(): number {
    return this.#sizeBytes + this.#begunSize;
  }

  /** Throws MalformedBytesError. */
  push(bytes: Uint8Array): void {
    let rest = asBuffer(bytes);
    while (rest.length > 0) {
      if (this.#part === 'nothing') throw new MalformedBytesError('bytes behind its end');
      const isWhole = this.#begunSize === 0 && rest.length >= this.#wantedSizeBytes;
      rest = rest.subarray(
        isWhole ? this.#take(rest.subarray(0, this.#wantedSizeBytes)) : this.#gather(rest),
      );
    }
  }

  /** Returns how much of it belongs to the part that has begun. */
  #gather(bytes: Buffer): number {
    const size = Math.min(this.#wantedSizeBytes - this.#begunSize, bytes.length);
    bytes.copy(this.#begun, this.#begunSize, 0, size);
    this.#begunSize += size;
    if (this.#begunSize === this.#wantedSizeBytes) {
      const begun = this.#begun.subarray(0, this.#begunSize);
      // Nothing is done with when more is wanted of the same part.
      if (this.#take(begun) > 0) this.#begunSize = 0;
    }
    return size;
  }

  /** All bytes have been pushed. Throws MalformedBytesError when that was not a whole file. */
  finish(): BackupEnd {
    if (this.#end !== null) return this.#end;
    throw new MalformedBytesError(`it is cut off after ${this.sizeBytes} bytes`);
  }

  /** Checks what is wanted; returns how much of it is done with. */
  #take(bytes: Buffer): number {
    switch (this.#part) {
      case 'prefix':
        this.#expect('head', backupHeadSizeBytes(bytes));
        return 0;
      case 'head':
        this.#head = decodeBackupHead(bytes);
        return this.#count(bytes);
      case 'size':
        this.#takeSize(bytes.readUInt32LE(0));
        return 0;
      case 'block': {
        const payload = bytes.subarray(sizeFieldSizeBytes, bytes.length - 4);
        if (checksum(payload) !== bytes.readUInt32LE(bytes.length - 4)) {
          throw new MalformedBytesError(`the block at byte ${this.#sizeBytes} is damaged`);
        }
        this.#visitBlock(bytes);
        return this.#count(bytes, checksumOfBlock(bytes));
      }
      case 'end':
        this.#takeEnd(decodeBackupEnd(bytes));
        return bytes.length;
      case 'nothing':
        return 0;
    }
  }

  #takeSize(payloadSizeBytes: number): void {
    const sizeBytes = payloadSizeBytes + blockFrameSizeBytes;
    if (payloadSizeBytes === 0) this.#expect('end', backupEndSizeBytes);
    else if (sizeBytes <= limits.snapshotBlockSizeBytesMax) this.#expect('block', sizeBytes);
    else throw new MalformedBytesError(`the block at byte ${this.#sizeBytes} is damaged`);
  }

  #takeEnd(end: BackupEnd): void {
    if (end.sizeBytes !== this.#sizeBytes || end.checksum !== this.#checksum) {
      throw new MalformedBytesError('the checksum of the whole does not match');
    }
    this.#end = end;
    this.#sizeBytes += backupEndSizeBytes;
    this.#expect('nothing', 0);
  }

  #count(bytes: Buffer, sum = checksum(bytes)): number {
    this.#sizeBytes += bytes.length;
    this.#checksum = joinChecksums(this.#checksum, sum, bytes.length);
    this.#expect('size', sizeFieldSizeBytes);
    return bytes.length;
  }

  #expect(part: Part, sizeBytes: number): void {
    this.#part = part;
    this.#wantedSizeBytes = sizeBytes;
  }
}
