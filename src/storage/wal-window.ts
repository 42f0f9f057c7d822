/**
 * The bytes of a segment as recovery goes through them: a window that moves forward over the file.
 * A whole segment at once would be fresh memory, page by page, and in no cache when it is checked.
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import type {WalSegment} from './wal-segment.ts';

/** More for one batch that is larger. */
const windowSizeBytes = 1024 * 1024;

export class WalWindow {
  #memory = Buffer.alloc(0);
  #segment: WalSegment | null = null;
  #from = 0;
  #bytes = this.#memory;

  /** What it holds; valid until it moves. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  /** Where `offset` of the file, which it holds, stands in `bytes`. */
  at(offset: number): number {
    const at = offset - this.#from;
    assert(at >= 0 && at <= this.#bytes.length, 'offset % is not in the window', offset);
    return at;
  }

  /**
   * Moves, unless it holds so many bytes from `offset` on. Then it holds more than those, but not
   * beyond the end of the file.
   */
  hold(segment: WalSegment, offset: number, sizeBytes: number): void {
    const end = this.#from + this.#bytes.length;
    const isInside = offset >= this.#from && offset + sizeBytes <= end;
    if (this.#segment === segment && isInside) return;
    // No more memory than there are bytes: a short file must not cost more than it holds.
    const wantedSizeBytes = Math.max(sizeBytes, Math.min(windowSizeBytes, segment.filled - offset));
    if (this.#memory.length < wantedSizeBytes) {
      this.#memory = Buffer.allocUnsafeSlow(wantedSizeBytes);
    }
    const count = segment.readSync(this.#memory, offset);
    this.#segment = segment;
    this.#from = offset;
    this.#bytes = this.#memory.subarray(0, count);
  }
}
