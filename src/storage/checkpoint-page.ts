/**
 * The pages of a checkpoint's file as LMDB lays them out: `struct MDB_meta`, `MDB_page_header` and
 * `MDB_node` of LMDB as the package `lmdb` builds it, 64 bits, little-endian.
 */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import {writeU64} from '../base/bytes.ts';

export const pageHeaderSizeBytes = 24;
/** Of the transaction that wrote the page. */
export const pageTransactionOffset = 8;
export const pageFlagsOffset = 18;
/** End of the list of nodes, and where the nodes begin, both counted from the header's end. */
export const pageLowerOffset = 20;
export const pageUpperOffset = 22;
export const overflowCountOffset = 20;
export const branchFlag = 0x01;
export const leafFlag = 0x02;
export const overflowFlag = 0x04;
const metaFlag = 0x08;

export const nodeHeaderSizeBytes = 8;
/** Behind the size of the value. */
export const nodeFlagsOffset = 4;
const nodeKeySizeOffset = 6;
export const bigDataFlag = 0x01;
/** Page number, transaction and count of pages. */
export const overflowReferenceSizeBytes = 24;

const metaMagic = 0xbeefc0de;
const metaSizeBytes = 168;
/** `struct MDB_db` of the free pages and of the rows, behind their sizes and flags. */
const freeTreeOffset = 54;
const rowTreeOffset = 102;
const lastPageOffset = 144;
const transactionOffset = 152;
const bootIdOffset = 160;
export const noPage = 2 ** 64;

/** What a meta page says of a tree, as far as walking through it goes. */
export interface TreeRoot {
  readonly depth: number;
  readonly rowCount: number;
  /** `noPage`: there are no rows. */
  readonly root: number;
}

/** What the newest meta page says of the file, and of the tree of the checkpoint's rows. */
export interface PageMeta extends TreeRoot {
  readonly pageSize: number;
  /** Keys are transactions, values lists of the pages that became free in them. */
  readonly freeLists: TreeRoot;
  readonly lastPage: number;
  readonly transaction: number;
}

/** Where the nodes of a page begin; null: not within it. */
export function nodesOf(page: Buffer): readonly number[] | null {
  const lower = readU16(page, pageLowerOffset);
  const upper = readU16(page, pageUpperOffset);
  const isSane = lower % 2 === 0 && lower <= upper && upper + pageHeaderSizeBytes <= page.length;
  if (!isSane) return null;
  const nodes: number[] = [];
  for (let i = 0; i < lower; i += 2) {
    // Positions are counted from the end of the page's header.
    const offset = pageHeaderSizeBytes + readU16(page, pageHeaderSizeBytes + i);
    // LMDB begins every node at an even place.
    if (offset % 2 !== 0 || offset < pageHeaderSizeBytes + upper) return null;
    if (offset + nodeHeaderSizeBytes > page.length) return null;
    nodes.push(offset);
  }
  return nodes;
}

/** Where the key of a row or of a branch's node ends, and what follows begins. */
export function nodeKeyEnd(page: Buffer, node: number): number {
  return node + nodeHeaderSizeBytes + readU16(page, node + nodeKeySizeOffset);
}

/** A leaf with its header, the places of its rows, and the checksum of all from the first on. */
export interface CheckpointLeaf {
  readonly page: Buffer;
  readonly nodes: readonly number[];
  readonly rowsChecksum: number;
}

/** Whether no row of a sound leaf has its value on pages of its own. */
export function isWithinPage(page: Buffer, nodes: readonly number[]): boolean {
  return nodes.every(node => readU16(page, node + nodeFlagsOffset) === 0);
}

/** Null: it is not within the page. */
export function branchKey(page: Buffer, offset: number): Buffer | null {
  const start = offset + nodeHeaderSizeBytes;
  const end = nodeKeyEnd(page, offset);
  return end <= page.length ? page.subarray(start, end) : null;
}

export function branchPage(page: Buffer, offset: number): number {
  const high = page.readUInt16LE(offset + 4);
  return high * 0x1_0000_0000 + page.readUInt32LE(offset);
}

/** Numbers above 2^53 lose their last digits, and are no page of any file. */
export function readPageNumber(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + 4) * 0x1_0000_0000 + bytes.readUInt32LE(at);
}

/** Null: neither meta page is valid. */
export function newestMeta(descriptor: number): PageMeta | null {
  const first = readMeta(descriptor, 0);
  // The second page begins where the first one says; without the first try the usual sizes.
  const sizes = first === null ? [4096, 16_384, 65_536] : [first.pageSize];
  let newest = first;
  for (const size of sizes) {
    const second = readMeta(descriptor, size);
    if (second === null || second.pageSize !== size) continue;
    if (newest === null || second.transaction > newest.transaction) newest = second;
  }
  return newest;
}

/** A tree of rows, as its meta page describes it. */
interface TreeRecord extends TreeRoot {
  readonly branchPageCount: number;
  readonly leafPageCount: number;
  readonly overflowPageCount: number;
}

const emptyTree: TreeRecord = {
  depth: 0,
  branchPageCount: 0,
  leafPageCount: 0,
  overflowPageCount: 0,
  rowCount: 0,
  root: noPage,
};

/** Of the pages of a compact copy: any later commit has a higher one. */
export const copyTransaction = 1;

/** The newest meta page that LMDB made, as it is in the file. Null: neither is valid. */
export function readMetaPage(descriptor: number): Buffer | null {
  const newest = newestMeta(descriptor);
  if (newest === null) return null;
  const page = Buffer.alloc(newest.pageSize);
  for (const at of [0, newest.pageSize]) {
    fs.readSync(descriptor, page, 0, page.length, at);
    if (readPageNumber(page, transactionOffset) === newest.transaction) break;
  }
  return page;
}

/**
 * Both meta pages of a file that holds one tree and no list of free pages, as LMDB's compact copies
 * have them: the first says that there is nothing, and is older. All that is not said here is as in
 * `template`, a meta page that LMDB made.
 */
export function encodeMetaPages(template: Buffer, tree: TreeRecord, lastPage: number): Buffer {
  const first = encodeMetaPage(template, {tree: emptyTree, number: 0, lastPage: 1});
  const second = encodeMetaPage(template, {tree, number: 1, lastPage});
  return Buffer.concat([first, second]);
}

/** The page's number is also that of the transaction that wrote it. */
function encodeMetaPage(
  template: Buffer,
  content: {readonly tree: TreeRecord; readonly number: number; readonly lastPage: number},
): Buffer {
  const {tree, number, lastPage} = content;
  const page = Buffer.alloc(template.length);
  template.copy(page, 0, 0, metaSizeBytes);
  page.fill(0, 0, pageHeaderSizeBytes);
  writeU64(page, number, 0);
  page.writeUInt16LE(metaFlag, pageFlagsOffset);
  encodeTree(page, emptyTree, freeTreeOffset);
  encodeTree(page, tree, rowTreeOffset);
  writeU64(page, lastPage, lastPageOffset);
  writeU64(page, number * copyTransaction, transactionOffset);
  page.fill(0, bootIdOffset, metaSizeBytes);
  return page;
}

function encodeTree(page: Buffer, tree: TreeRecord, at: number): void {
  page.writeUInt16LE(tree.depth, at);
  writeU64(page, tree.branchPageCount, at + 2);
  writeU64(page, tree.leafPageCount, at + 10);
  writeU64(page, tree.overflowPageCount, at + 18);
  writeU64(page, tree.rowCount, at + 26);
  if (tree.root === noPage) page.fill(0xff, at + 34, at + 42);
  else writeU64(page, tree.root, at + 34);
}

function readMeta(descriptor: number, at: number): PageMeta | null {
  const bytes = Buffer.alloc(metaSizeBytes);
  if (fs.readSync(descriptor, bytes, 0, metaSizeBytes, at) < metaSizeBytes) return null;
  const pageSize = bytes.readUInt32LE(48);
  if (bytes.readUInt32LE(24) !== metaMagic || pageSize < 512 || pageSize > 65_536) return null;
  return {
    pageSize,
    ...readTree(bytes, rowTreeOffset),
    freeLists: readTree(bytes, freeTreeOffset),
    lastPage: Math.min(readPageNumber(bytes, 144), Number.MAX_SAFE_INTEGER),
    transaction: readPageNumber(bytes, 152),
  };
}

function readTree(bytes: Buffer, at: number): TreeRoot {
  const root = readPageNumber(bytes, at + 34);
  return {
    depth: bytes.readUInt16LE(at),
    rowCount: readPageNumber(bytes, at + 26),
    root: root >= noPage ? noPage : root,
  };
}

/**
 * Of a place within the page: the caller has seen to it. Compiled code is faster here than Buffer's
 * method.
 */
export function readU16(page: Buffer, at: number): number {
  return (page[at] as number) | ((page[at + 1] as number) << 8);
}
