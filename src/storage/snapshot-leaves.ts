/**
 * Whole leaves of a checkpoint in one block of a snapshot stream. Row by row their bytes would be
 * taken apart at one end and put together at the other; a leaf goes as it is, without its header
 * and without what lies between the list of its rows and the rows. Leaves with large rows, whose
 * values lie elsewhere, do not go this way. Format: docs/formats.md, "Snapshot stream".
 */
import {Buffer} from 'node:buffer';
import {assert} from '../base/assert.ts';
import {MalformedBytesError, readU32, writeU32} from '../base/bytes.ts';
import {joinChecksums, rangeChecksum} from '../base/checksum.ts';
import type {CheckpointLeaf} from './checkpoint-page.ts';
import {
  isWithinPage,
  nodeKeyEnd,
  nodesOf,
  pageHeaderSizeBytes,
  pageLowerOffset,
  pageUpperOffset,
  readU16,
} from './checkpoint-page.ts';
import {rowChecksumSizeBytes} from './checkpoint-row.ts';
import {LeafCheck} from './leaf-check.ts';
import {blockContentSizeBytesMax} from './snapshot-block.ts';

/** Of a page, at the beginning of the content. */
const pageSizeSizeBytes = 4;
/** How far the list of rows goes, and where the rows begin, both as in the header of the page. */
const leafHeaderSizeBytes = 4;
/** LMDB has pages of these sizes. */
const pageSizeBytesMin = 512;
const pageSizeBytesMax = 65_536;

/** Who has a use for leaves as they are. */
export interface LeafTaker {
  readonly pageSizeBytes: number;
  /**
   * A page whose header says where its rows are and nothing else, and their places in it. Keys are
   * in order and none is empty, checksums hold. Both are valid during the call; the header may be
   * overwritten.
   */
  take(page: Buffer, nodes: readonly number[]): void;
}

/** Where the value of a row ends and its checksum begins. */
export function valueEndOf(page: Buffer, node: number): number {
  return nodeKeyEnd(page, node) + readU32(page, node) - rowChecksumSizeBytes;
}

/** Gathers the leaves of one block, which has room for any of them. */
export class LeafPacker {
  readonly #content = Buffer.allocUnsafeSlow(blockContentSizeBytesMax());
  #length = 0;
  #checksum = 0;
  rowCount = 0;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  hasRoomFor(page: Buffer): boolean {
    const start = Math.max(this.#length, pageSizeSizeBytes);
    return start + leafHeaderSizeBytes + page.length <= this.#content.length;
  }

  /** Of the content. */
  get checksum(): number {
    return this.#checksum;
  }

  /**
   * A leaf for which there is room, and of the size of those before it. `rowsChecksum`: of what
   * `LeafCheck` says; nothing is read for it twice.
   */
  add(page: Buffer, {nodes, rowsChecksum}: Omit<CheckpointLeaf, 'page'>): void {
    assert(this.hasRoomFor(page), 'the leaves are not taken');
    const content = this.#content;
    if (this.isEmpty) this.#begin(page.length);
    assert(readU32(content, 0) === page.length, 'leaves of one size');
    const lowerEnd = pageHeaderSizeBytes + readU16(page, pageLowerOffset);
    const rowsStart = pageHeaderSizeBytes + readU16(page, pageUpperOffset);
    // The two fields lie side by side.
    let at = this.#length;
    at += page.copy(content, at, pageLowerOffset, pageLowerOffset + leafHeaderSizeBytes);
    at += page.copy(content, at, pageHeaderSizeBytes, lowerEnd);
    const sum = rangeChecksum(content, this.#length, at, this.#checksum);
    const rowsSize = page.copy(content, at, rowsStart, page.length);
    this.#checksum = joinChecksums(sum, rowsChecksum, rowsSize);
    this.#length = at + rowsSize;
    this.rowCount += nodes.length;
  }

  #begin(pageSizeBytes: number): void {
    this.#length = writeU32(this.#content, pageSizeBytes, 0);
    this.#checksum = rangeChecksum(this.#content, 0, this.#length);
  }

  /** Valid until the next `add`. */
  contentView(): Buffer {
    return this.#content.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
    this.rowCount = 0;
  }
}

/** The other end. Every deviation is a MalformedBytesError. */
export class LeafReader {
  readonly #visitLeaf: (page: Buffer, nodes: readonly number[]) => void;
  #page: Buffer = Buffer.alloc(0);
  #check = new LeafCheck(0);

  /** `visitLeaf`: as LeafTaker.take, but that the keys may be in any order. */
  constructor(visitLeaf: (page: Buffer, nodes: readonly number[]) => void) {
    this.#visitLeaf = visitLeaf;
  }

  take(content: Buffer): void {
    if (content.length < pageSizeSizeBytes) throw new MalformedBytesError('leaves cut off');
    this.#usePageSize(readU32(content, 0));
    let at = pageSizeSizeBytes;
    while (at < content.length) at = this.#takeLeaf(content, at);
  }

  #usePageSize(sizeBytes: number): void {
    if (this.#page.length === sizeBytes) return;
    const isUsual = sizeBytes >= pageSizeBytesMin && sizeBytes <= pageSizeBytesMax;
    if (!isUsual || sizeBytes % pageSizeBytesMin !== 0) {
      throw new MalformedBytesError(`pages of ${sizeBytes} bytes`);
    }
    this.#page = Buffer.alloc(sizeBytes);
    this.#check = new LeafCheck(sizeBytes);
  }

  /** Returns where the next one begins. */
  #takeLeaf(content: Buffer, start: number): number {
    const page = this.#page;
    const listStart = start + leafHeaderSizeBytes;
    if (listStart > content.length) throw new MalformedBytesError('leaves cut off');
    const lower = readU16(content, start);
    const upper = readU16(content, start + 2);
    const listEnd = listStart + lower;
    const rowsSize = page.length - pageHeaderSizeBytes - upper;
    const end = listEnd + rowsSize;
    if (rowsSize < 0 || lower > upper || end > content.length) {
      throw new MalformedBytesError('a leaf is cut off');
    }
    page.fill(0, 0, pageHeaderSizeBytes);
    content.copy(page, pageLowerOffset, start, listStart);
    content.copy(page, pageHeaderSizeBytes, listStart, listEnd);
    page.fill(0, pageHeaderSizeBytes + lower, pageHeaderSizeBytes + upper);
    content.copy(page, pageHeaderSizeBytes + upper, listEnd, end);
    const nodes = nodesOf(page);
    const isSound = nodes !== null && nodes.length > 0 && this.#check.isSound(page, nodes);
    if (!isSound || !isWithinPage(page, nodes)) throw new MalformedBytesError('a leaf is damaged');
    this.#visitLeaf(page, nodes);
    return end;
  }
}
