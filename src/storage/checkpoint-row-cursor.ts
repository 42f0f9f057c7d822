/**
 * The rows of a checkpoint's file that nobody writes to, in order, from the file itself: through
 * LMDB's binding a row costs several times as much. Nothing that is read is trusted: what is not as
 * it has to be is a CheckpointDamagedError, and each row is checked against its checksum.
 */
import {Buffer} from 'node:buffer';
import {compareBytes, readU32} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import {AscendingKeys} from './ascending-keys.ts';
import type {CheckpointFile} from './checkpoint-file.ts';
import {makeWindow} from './checkpoint-file.ts';
import type {CheckpointLeaf} from './checkpoint-page.ts';
import {
  bigDataFlag,
  branchFlag,
  branchKey,
  branchPage,
  isWithinPage,
  leafFlag,
  nodeHeaderSizeBytes,
  nodeKeyEnd,
  nodesOf,
  noPage,
  overflowFlag,
  overflowReferenceSizeBytes,
  pageFlagsOffset,
  pageHeaderSizeBytes,
  readPageNumber,
  readU16,
} from './checkpoint-page.ts';
import {CheckpointDamagedError, rowChecksumSizeBytes} from './checkpoint-row.ts';
import {LeafCheck} from './leaf-check.ts';

/** A page on the way to the row at hand, and which of its nodes comes next. */
interface Step {
  readonly page: Buffer;
  readonly nodes: readonly number[];
  /** The checksums of all rows of this leaf hold, except those of large ones. */
  readonly isSound: boolean;
  /** As LeafCheck says, if so. */
  readonly rowsChecksum: number;
  position: number;
}

const nothing = Buffer.alloc(0);

export class CheckpointRowCursor {
  /** Key and value of the row at hand, after `next` was true and until it is called again. */
  rowView: Buffer = nothing;
  /** The value is what follows in `rowView`. */
  keySizeBytes = 0;
  readonly #file: CheckpointFile;
  readonly #window = makeWindow();
  readonly #leafCheck: LeafCheck;
  /** Number of the first page in the window, and bytes that were read. */
  #windowStart = 0;
  #windowEnd = 0;
  /** Branches from the root down; the last one is a leaf. */
  readonly #steps: Step[] = [];
  /** Rows before where it began are not counted. */
  #rowCount = 0;
  readonly #isFromFirst: boolean;
  #keys = new AscendingKeys();

  /** Begins behind `after`; null: with the first row. */
  constructor(file: CheckpointFile, after: Uint8Array | null) {
    this.#file = file;
    this.#isFromFirst = after === null;
    this.#leafCheck = new LeafCheck(file.meta.pageSize);
    const {root} = file.meta;
    if (root === noPage) return;
    this.#enter(root);
    while (!this.#isAtLeaf()) this.#descend(after);
    if (after === null) return;
    while (this.next()) {
      if (compareBytes(this.rowKeyView, after) <= 0) continue;
      // It is the first one to hand out.
      this.#leaf().position -= 1;
      this.#rowCount -= 1;
      this.#keys = new AscendingKeys();
      this.#keys.take(after, 0, after.length);
      return;
    }
  }

  get rowKeyView(): Buffer {
    return this.rowView.subarray(0, this.keySizeBytes);
  }

  /** Without its checksum. */
  get valueView(): Buffer {
    return this.rowView.subarray(this.keySizeBytes);
  }

  /** False: there are no more rows. Throws CheckpointDamagedError, and the system's errors. */
  next(): boolean {
    for (;;) {
      const step = this.#steps.at(-1);
      if (step === undefined) {
        this.#checkCount();
        return false;
      }
      const offset = step.nodes[step.position];
      if (offset === undefined) {
        this.#steps.pop();
        continue;
      }
      if (this.#isAtLeaf()) {
        step.position += 1;
        this.#take(step, offset);
        // Nothing else tells when one row stands in the place of another.
        if (!this.#keys.take(this.rowView, 0, this.keySizeBytes)) {
          throw this.#damaged('rows out of order');
        }
        return true;
      }
      this.#descend(null);
    }
  }

  /**
   * The leaf of all whose rows the first one comes next, when none of them is a large one and all
   * checksums hold; null: it is another. Takes nothing; a view, until the next call.
   */
  peekLeaf(): CheckpointLeaf | null {
    for (;;) {
      const step = this.#steps.at(-1);
      if (step === undefined) return null;
      if (step.position === step.nodes.length) this.#steps.pop();
      else if (this.#isAtLeaf()) return step.isSound && step.position === 0 ? wholeOf(step) : null;
      else this.#descend(null);
    }
  }

  /** As `next` for each row of the leaf that `peekLeaf` returned, but that none is at hand then. */
  takeLeaf(): void {
    const step = this.#leaf();
    const {page, nodes} = step;
    for (const offset of nodes) {
      const keyStart = offset + nodeHeaderSizeBytes;
      if (!this.#keys.take(page, keyStart, nodeKeyEnd(page, offset))) {
        throw this.#damaged('rows out of order');
      }
    }
    step.position = nodes.length;
    this.#rowCount += nodes.length;
    if (this.#rowCount > this.#file.meta.rowCount) throw this.#damaged('more rows than counted');
  }

  #checkCount(): void {
    const {rowCount} = this.#file.meta;
    if (!this.#isFromFirst || this.#rowCount === rowCount) return;
    throw this.#damaged(`${this.#rowCount} rows found, ${rowCount} counted`);
  }

  #isAtLeaf(): boolean {
    return this.#steps.length === this.#file.meta.depth;
  }

  #leaf(): Step {
    const step = this.#steps.at(-1);
    if (step === undefined) throw this.#damaged('there is no leaf');
    return step;
  }

  /** To the page below that may hold `key`; null: to the next one. */
  #descend(key: Uint8Array | null): void {
    const step = this.#leaf();
    const {page, nodes} = step;
    if (key !== null) step.position = this.#positionOf(page, nodes, key);
    const offset = nodes[step.position];
    if (offset === undefined) throw this.#damaged('a branch without rows');
    step.position += 1;
    this.#enter(branchPage(page, offset));
  }

  /** Of the last node whose key is not behind `key`. The first key of a branch is none. */
  #positionOf(page: Buffer, nodes: readonly number[], key: Uint8Array): number {
    let low = 0;
    let high = nodes.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      const separator = branchKey(page, nodes[middle] as number);
      if (separator === null) throw this.#damaged('the key of a branch is not valid');
      if (compareBytes(separator, key) <= 0) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #enter(number: number): void {
    const {depth} = this.#file.meta;
    const level = this.#steps.length + 1;
    if (level > depth) throw this.#damaged('the tree is deeper than its meta page says');
    const isLeaf = level === depth;
    const view = isLeaf ? this.#leafPage(number) : this.#branchPage(number);
    const wanted = isLeaf ? leafFlag : branchFlag;
    const kinds = leafFlag | branchFlag | overflowFlag;
    if ((view.readUInt16LE(pageFlagsOffset) & kinds) !== wanted) {
      throw this.#damaged(`page ${number} is of another kind than its place in the tree`);
    }
    const nodes = nodesOf(view);
    if (nodes === null) throw this.#damaged(`the list of rows of page ${number} is not valid`);
    const isSound = isLeaf && this.#leafCheck.isSound(view, nodes);
    const {rowsChecksum} = this.#leafCheck;
    this.#steps.push({page: view, nodes, isSound, rowsChecksum, position: 0});
  }

  #take({page, isSound}: Step, offset: number): void {
    this.#rowCount += 1;
    if (this.#rowCount > this.#file.meta.rowCount) throw this.#damaged('more rows than counted');
    const size = readU16(page, offset) + readU16(page, offset + 2) * 0x1_0000;
    const flags = readU16(page, offset + 4);
    const keySizeBytes = readU16(page, offset + 6);
    const keyStart = offset + nodeHeaderSizeBytes;
    const keyEnd = keyStart + keySizeBytes;
    this.keySizeBytes = keySizeBytes;
    if (flags === bigDataFlag) {
      this.#takeBig(page, {keyStart, keyEnd, sizeBytes: size});
      return;
    }
    const valueEnd = keyEnd + size - rowChecksumSizeBytes;
    if (flags !== 0 || valueEnd < keyEnd || keyEnd + size > page.length) {
      throw this.#damaged('a row is not valid');
    }
    // Key and value lie side by side: one view and one checksum for both.
    const row = page.subarray(keyStart, valueEnd);
    if (!isSound && checksum(row) !== readU32(page, valueEnd)) {
      throw this.#damaged('the checksum of a row does not match');
    }
    this.rowView = row;
  }

  /** A row whose value has pages of its own. */
  #takeBig(
    page: Buffer,
    row: {readonly keyStart: number; readonly keyEnd: number; readonly sizeBytes: number},
  ): void {
    const {keyStart, keyEnd, sizeBytes} = row;
    if (keyEnd + overflowReferenceSizeBytes > page.length) {
      throw this.#damaged('a row is not valid');
    }
    const number = readPageNumber(page, keyEnd);
    const {pageSize, lastPage} = this.#file.meta;
    const count = Math.ceil((pageHeaderSizeBytes + sizeBytes) / pageSize);
    if (number < 2 || number + count - 1 > lastPage) throw this.#damaged(`no page ${number}`);
    if (sizeBytes < rowChecksumSizeBytes) throw this.#damaged('a row is not valid');
    const bytes = Buffer.allocUnsafe(pageHeaderSizeBytes + sizeBytes);
    const readCount = this.#file.read(bytes, number * pageSize);
    const isWhole = readCount === bytes.length && readPageNumber(bytes, 0) === number;
    if (!isWhole || (bytes.readUInt16LE(pageFlagsOffset) & overflowFlag) === 0) {
      throw this.#damaged(`page ${number} does not hold a large row`);
    }
    const valueEnd = bytes.length - rowChecksumSizeBytes;
    const value = bytes.subarray(pageHeaderSizeBytes, valueEnd);
    const whole = Buffer.concat([page.subarray(keyStart, keyEnd), value]);
    if (checksum(whole) !== readU32(bytes, valueEnd)) {
      throw this.#damaged('the checksum of a row does not match');
    }
    this.rowView = whole;
  }

  /** A view, until the window moves on. */
  #leafPage(number: number): Buffer {
    const {pageSize} = this.#file.meta;
    this.#checkRange(number);
    let at = (number - this.#windowStart) * pageSize;
    if (at < 0 || at + pageSize > this.#windowEnd) {
      const readCount = this.#file.readWindow(this.#window, number * pageSize);
      this.#windowEnd = this.#checkedCount(readCount, number);
      this.#windowStart = number;
      at = 0;
    }
    const page = this.#window.subarray(at, at + pageSize);
    this.#checkNumber(page, number);
    return page;
  }

  /**
   * Read alone: it lies behind all leaves it leads to, and the window is to stay with those. It is
   * needed while the window moves on.
   */
  #branchPage(number: number): Buffer {
    this.#checkRange(number);
    const {pageSize} = this.#file.meta;
    const page = Buffer.allocUnsafe(pageSize);
    this.#checkedCount(this.#file.read(page, number * pageSize), number);
    this.#checkNumber(page, number);
    return page;
  }

  #checkedCount(readCount: number, number: number): number {
    if (readCount < this.#file.meta.pageSize) throw this.#damaged(`page ${number} is cut off`);
    return readCount;
  }

  #checkRange(number: number): void {
    const isThere = number >= 2 && number <= this.#file.meta.lastPage;
    if (!isThere) throw this.#damaged(`there is no page ${number}`);
  }

  #checkNumber(page: Buffer, number: number): void {
    if (readPageNumber(page, 0) !== number) throw this.#damaged(`page ${number} is another one`);
  }

  #damaged(problem: string): CheckpointDamagedError {
    return new CheckpointDamagedError(this.#file.path, problem);
  }
}

function wholeOf(step: Step): CheckpointLeaf | null {
  return isWithinPage(step.page, step.nodes) ? step : null;
}
