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
  nodeKeyEnd,
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
    const isSound = (oddBits & 1) === 0 && this.#areNodes(leaf, nodes.length);
    if (!isSound) this.#isNode.fill(0);
    return isSound;
  }

  /** All marks are gone when it is true: each of them was met once. */
  #areNodes(leaf: Buffer, count: number): boolean {
    const start = pageHeaderSizeBytes + readU16(leaf, pageUpperOffset);
    let sum = 0;
    let metCount = 0;
    let at = start;
    while (at < leaf.length) {
      if (at % 2 !== 0 || this.#isNode[at >>> 1] !== 1) return false;
      this.#isNode[at >>> 1] = 0;
      metCount += 1;
      const keyEnd = nodeKeyEnd(leaf, at);
      const flags = readU16(leaf, at + nodeFlagsOffset);
      let end = keyEnd + overflowReferenceSizeBytes;
      if (flags === 0) end = keyEnd + readU16(leaf, at) + readU16(leaf, at + 2) * 0x1_0000;
      if (end > leaf.length) return false;
      if (flags === bigDataFlag) {
        sum = rangeChecksum(leaf, at, end, sum);
      } else {
        if (flags !== 0 || end < keyEnd + rowChecksumSizeBytes) return false;
        sum = rangeChecksum(leaf, at, at + nodeHeaderSizeBytes, sum);
        sum = joinChecksums(sum, sealedChecksum, end - at - nodeHeaderSizeBytes);
      }
      // Rows begin at even offsets.
      at = end + (end % 2);
      if (at > end) sum = rangeChecksum(leaf, end, at, sum);
    }
    this.rowsChecksum = sum;
    return at === leaf.length && metCount === count && sum === checksum(leaf.subarray(start));
  }
}
