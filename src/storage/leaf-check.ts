/**
 * All rows of a leaf against their checksums at once, for who reads every row: one way into native
 * code for a page, not for a row. What its own checksum follows has a checksum that is known
 * (`sealedChecksum`), so the checksum of the whole page follows from the headers of its rows and
 * their sizes. One damaged row shows as surely as in its own checksum, since what comes behind it
 * only shifts the difference; of several the differences would have to cancel, one time in 2^32.
 */
import type {Buffer} from 'node:buffer';
import {checksum, joinChecksums, rangeChecksum, sealedChecksum} from '../base/checksum.ts';
import {
  bigDataFlag,
  nodeFlagsOffset,
  nodeHeaderSizeBytes,
  nodeKeySizeOffset,
  overflowReferenceSizeBytes,
  pageHeaderSizeBytes,
  pageUpperOffset,
  readU16,
} from './checkpoint-page.ts';
import {rowChecksumSizeBytes} from './checkpoint-row.ts';

export class LeafCheck {
  /** Of each even offset, whether a row of the leaf at hand begins there. */
  readonly #isNode: Uint8Array;
  /** Of all rows of the leaf that was sound last, from the first byte of them to the page's end. */
  rowsChecksum = 0;

  constructor(pageSize: number) {
    this.#isNode = new Uint8Array(pageSize / 2);
  }

  /**
   * True: the checksums of all rows hold, but for those whose value is on pages of its own, and
   * `nodes`, the offsets that the leaf lists, are rows. False says nothing: whoever wants to know
   * looks at the rows one by one. That is so of a damaged leaf, and of one with gaps.
   */
  isSound(leaf: Buffer, nodes: readonly number[]): boolean {
    // An odd offset would have the mark of the row that begins a byte before it.
    let oddBits = 0;
    for (const offset of nodes) {
      oddBits |= offset;
      this.#isNode[offset >>> 1] = 1;
    }
    if ((oddBits & 1) === 0 && this.#areNodes(leaf, nodes.length)) return this.#sumsHold(leaf);
    this.#isNode.fill(0);
    return false;
  }

  /** All marks are gone when it is true: each of them was met once. */
  #areNodes(leaf: Buffer, count: number): boolean {
    let metCount = 0;
    let at = rowsStart(leaf);
    while (at < leaf.length) {
      if (at % 2 !== 0 || this.#isNode[at >>> 1] !== 1) return false;
      this.#isNode[at >>> 1] = 0;
      metCount += 1;
      const keyEnd = at + nodeHeaderSizeBytes + readU16(leaf, at + nodeKeySizeOffset);
      const flags = readU16(leaf, at + nodeFlagsOffset);
      const end = nodeEnd(leaf, at);
      if (end > leaf.length) return false;
      const isInline = flags === 0 && end >= keyEnd + rowChecksumSizeBytes;
      if (!isInline && flags !== bigDataFlag) return false;
      // Rows begin at even offsets.
      at = end + (end % 2);
    }
    return at === leaf.length && metCount === count;
  }

  /** Of rows that lie side by side. */
  #sumsHold(leaf: Buffer): boolean {
    const start = rowsStart(leaf);
    let sum = 0;
    let at = start;
    while (at < leaf.length) {
      const end = nodeEnd(leaf, at);
      if (readU16(leaf, at + nodeFlagsOffset) === bigDataFlag) {
        sum = rangeChecksum(leaf, at, end, sum);
      } else {
        sum = rangeChecksum(leaf, at, at + nodeHeaderSizeBytes, sum);
        sum = joinChecksums(sum, sealedChecksum, end - at - nodeHeaderSizeBytes);
      }
      at = end + (end % 2);
      if (at > end) sum = rangeChecksum(leaf, end, at, sum);
    }
    this.rowsChecksum = sum;
    return sum === checksum(leaf.subarray(start));
  }
}

function rowsStart(leaf: Buffer): number {
  return pageHeaderSizeBytes + readU16(leaf, pageUpperOffset);
}

/** Of the row that begins at `at`, in the leaf; may be behind the leaf. */
function nodeEnd(leaf: Buffer, at: number): number {
  const keyEnd = at + nodeHeaderSizeBytes + readU16(leaf, at + nodeKeySizeOffset);
  if (readU16(leaf, at + nodeFlagsOffset) !== 0) return keyEnd + overflowReferenceSizeBytes;
  return keyEnd + readU16(leaf, at) + readU16(leaf, at + 2) * 0x1_0000;
}
