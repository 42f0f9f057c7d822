/**
 * Writes the file of a checkpoint from rows in the order of their keys: each leaf when it is full,
 * each branch behind the pages it leads to, as LMDB's compact copies are laid out. LMDB makes the
 * file, so that its meta pages are its own, and gets it back when it is whole. Through LMDB's
 * binding a row costs several times as much. Until `finish` the file has no meta page and is none.
 */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import {assert, must} from '../base/assert.ts';
import {readU32, writeU32, writeU64} from '../base/bytes.ts';
import {checksum} from '../base/checksum.ts';
import {
  bigDataFlag,
  branchFlag,
  copyTransaction,
  encodeMetaPages,
  leafFlag,
  nodeHeaderSizeBytes,
  nodeKeyEnd,
  overflowCountOffset,
  overflowFlag,
  overflowReferenceSizeBytes,
  pageFlagsOffset,
  pageHeaderSizeBytes,
  pageLowerOffset,
  pageTransactionOffset,
  pageUpperOffset,
  readMetaPage,
  readU16,
} from './checkpoint-page.ts';
import {encodeMeta, formatRowKey, rowChecksumSizeBytes} from './checkpoint-row.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import {beginFreeList, LmdbEnvironment} from './lmdb-environment.ts';
import {PageOutput} from './page-output.ts';

const firstPage = 2;
/** What each node costs in the list at the beginning of its page. */
const pointerSizeBytes = 2;
/** What LMDB leaves of a node for its key, next to a record of another database. */
const databaseRecordSizeBytes = 48;

/** A page below a branch, and the key by which the branch finds it. */
interface Child {
  readonly key: Buffer;
  readonly number: number;
}

interface Branch {
  children: Child[];
  /** Of their nodes. */
  sizeBytes: number;
}

export class CheckpointFileWriter {
  readonly path: string;
  readonly #output: PageOutput;
  readonly #metaTemplate: Buffer;
  readonly #pageSize: number;
  /** A larger row has its value on pages of its own. */
  readonly #nodeSizeBytesMax: number;
  #nextPage = firstPage;
  readonly #leaf: Buffer;
  #leafLower = 0;
  #leafUpper: number;
  /** Of the first row of the leaf, within it. */
  #leafKeyStart = 0;
  #leafKeyEnd = 0;
  /** The branches that are being filled, the lowest first. */
  readonly #branches: Branch[] = [];
  #leafPageCount = 0;
  #branchPageCount = 0;
  #overflowPageCount = 0;
  #rowCount = 0;

  /** A new file in a directory that is there. `meta`: of the format row, the first of all rows. */
  constructor(path: string, meta: CheckpointMeta) {
    this.path = path;
    const environment = new LmdbEnvironment(path, {isUnsynced: true});
    try {
      environment.transaction(() => environment.putMeta(meta));
    } finally {
      environment.close();
    }
    this.#metaTemplate = takeMetaPage(path);
    const pageSize = this.#metaTemplate.length;
    this.#pageSize = pageSize;
    // Two nodes and what the list of their page needs for them fit into every page: LMDB splits
    // pages in reliance on that.
    this.#nodeSizeBytesMax = (((pageSize - pageHeaderSizeBytes) >> 1) & ~1) - pointerSizeBytes;
    this.#output = new PageOutput(path, firstPage * pageSize);
    this.#leaf = Buffer.alloc(pageSize);
    this.#leafUpper = pageSize - pageHeaderSizeBytes;
    const row = Buffer.concat([formatRowKey, encodeMeta(meta)]);
    this.addRow(row, 0, formatRowKey.length, formatRowKey.length, row.length);
  }

  /**
   * The key from `keyStart` up to `keyEnd` of `bytes`, above all before, and the value behind it.
   * Throws the system's errors.
   */
  addRow(
    bytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueStart: number,
    valueEnd: number,
  ): void {
    const keySize = keyEnd - keyStart;
    const valueSize = valueEnd - valueStart;
    const storedSize = valueSize + rowChecksumSizeBytes;
    this.#checkKeySize(keySize);
    const inlineSize = nodeHeaderSizeBytes + keySize + storedSize;
    const isBig = inlineSize > this.#nodeSizeBytesMax;
    const nodeSize = isBig
      ? nodeHeaderSizeBytes + keySize + overflowReferenceSizeBytes
      : inlineSize;
    const at = this.#beginNode(nodeSize);
    const leaf = this.#leaf;
    leaf[at] = storedSize;
    leaf[at + 1] = storedSize >>> 8;
    leaf[at + 2] = storedSize >>> 16;
    leaf[at + 3] = storedSize >>> 24;
    leaf[at + 4] = isBig ? bigDataFlag : 0;
    leaf[at + 5] = 0;
    leaf[at + 6] = keySize;
    leaf[at + 7] = keySize >>> 8;
    const keyAt = at + nodeHeaderSizeBytes;
    if (this.#leafLower === pointerSizeBytes) {
      this.#leafKeyStart = keyAt;
      this.#leafKeyEnd = keyAt + keySize;
    }
    if (isBig) {
      leaf.set(bytes.subarray(keyStart, keyEnd), keyAt);
      const key = leaf.subarray(keyAt, keyAt + keySize);
      this.#writeOverflow(key, bytes.subarray(valueStart, valueEnd), keyAt + keySize);
    } else {
      this.#copyRow(bytes, keyStart, keyEnd, valueStart, valueEnd, keyAt);
    }
    this.#rowCount += 1;
  }

  /** What a leaf must have that `addLeaf` takes. */
  get pageSizeBytes(): number {
    return this.#pageSize;
  }

  /**
   * A whole leaf, but for its header, which is overwritten, and the places of its rows, all above
   * those before and none with its value elsewhere. Throws the system's errors.
   */
  addLeaf(page: Buffer, nodes: readonly number[]): void {
    assert(page.length === this.#pageSize, 'a leaf of % bytes', page.length);
    const first = must(nodes[0], 'a leaf has rows');
    for (const node of nodes) this.#checkNode(page, node);
    this.#closeLeaf();
    const keyStart = first + nodeHeaderSizeBytes;
    const keyEnd = nodeKeyEnd(page, first);
    const places = {lower: readU16(page, pageLowerOffset), upper: readU16(page, pageUpperOffset)};
    this.#addLeafPage(page, Buffer.from(page.subarray(keyStart, keyEnd)), places);
    this.#rowCount += nodes.length;
  }

  /** The file is whole and durable when this returns. Throws the system's errors. */
  finish(): void {
    this.#closeLeaf();
    const {root, depth} = this.#closeBranches();
    const tree = {
      root,
      depth,
      rowCount: this.#rowCount,
      leafPageCount: this.#leafPageCount,
      branchPageCount: this.#branchPageCount,
      overflowPageCount: this.#overflowPageCount,
    };
    const lastPage = this.#nextPage - 1;
    const position = this.#output.flush();
    assert(position === this.#nextPage * this.#pageSize, 'all pages are in the file');
    this.#output.writeFirst(encodeMetaPages(this.#metaTemplate, tree, lastPage));
    this.#output.sync();
    beginFreeList(this.path);
    // Of what LMDB has just changed, too, no error may be lost to another descriptor.
    this.#output.sync();
    this.close();
  }

  /** What was written is of no use, unless it was finished. */
  close(): void {
    this.#output.close();
  }

  /** LMDB ends the process over a row of another's leaf that is larger than it would write it. */
  #checkNode(page: Buffer, node: number): void {
    const keyEnd = nodeKeyEnd(page, node);
    this.#checkKeySize(keyEnd - node - nodeHeaderSizeBytes);
    const sizeBytes = keyEnd - node + readU32(page, node);
    if (sizeBytes > this.#nodeSizeBytesMax) throw new Error(`a row of ${sizeBytes} bytes`);
  }

  #checkKeySize(sizeBytes: number): void {
    const most = this.#nodeSizeBytesMax - nodeHeaderSizeBytes - databaseRecordSizeBytes;
    if (sizeBytes === 0 || sizeBytes > most) throw new Error(`a row key of ${sizeBytes} bytes`);
  }

  /** Room for a node in the leaf, the next one when this one is full. Returns where it begins. */
  #beginNode(sizeBytes: number): number {
    const evenSize = (sizeBytes + 1) & ~1;
    if (this.#leafLower + pointerSizeBytes + evenSize > this.#leafUpper) this.#closeLeaf();
    const leaf = this.#leaf;
    const upper = this.#leafUpper - evenSize;
    const pointerAt = pageHeaderSizeBytes + this.#leafLower;
    leaf[pointerAt] = upper;
    leaf[pointerAt + 1] = upper >>> 8;
    this.#leafUpper = upper;
    this.#leafLower += pointerSizeBytes;
    // Of a node of odd size the last byte.
    leaf[pageHeaderSizeBytes + upper + evenSize - 1] = 0;
    return pageHeaderSizeBytes + upper;
  }

  /** Key, value and their checksum into the leaf. */
  #copyRow(
    bytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueStart: number,
    valueEnd: number,
    at: number,
  ): void {
    const leaf = this.#leaf;
    const valueAt = at + keyEnd - keyStart;
    const end = valueAt + valueEnd - valueStart;
    const gap = valueStart - keyEnd;
    if (gap <= rowChecksumSizeBytes) {
      // One copy, then the value moves up to its key. The checksum comes where that left a gap.
      leaf.set(bytes.subarray(keyStart, valueEnd), at);
      if (gap > 0) leaf.copyWithin(valueAt, valueAt + gap, end + gap);
    } else {
      leaf.set(bytes.subarray(keyStart, keyEnd), at);
      leaf.set(bytes.subarray(valueStart, valueEnd), valueAt);
    }
    writeU32(leaf, checksum(leaf.subarray(at, end)), end);
  }

  /** The value on pages of its own, and in the leaf at `referenceAt` where they are. */
  #writeOverflow(key: Uint8Array, value: Uint8Array, referenceAt: number): void {
    const pageSize = this.#pageSize;
    const storedSize = value.length + rowChecksumSizeBytes;
    const count = Math.ceil((pageHeaderSizeBytes + storedSize) / pageSize);
    const pages = Buffer.alloc(count * pageSize);
    const number = this.#nextPage;
    writeU64(pages, number, 0);
    writeU64(pages, copyTransaction, pageTransactionOffset);
    pages.writeUInt16LE(overflowFlag, pageFlagsOffset);
    writeU32(pages, count, overflowCountOffset);
    pages.set(value, pageHeaderSizeBytes);
    writeU32(pages, checksum(value, checksum(key)), pageHeaderSizeBytes + value.length);
    const reference = writeU64(this.#leaf, number, referenceAt);
    writeU64(this.#leaf, count, writeU64(this.#leaf, copyTransaction, reference));
    this.#nextPage += count;
    this.#overflowPageCount += count;
    this.#output.append(pages);
  }

  /** Unless it has no rows. */
  #closeLeaf(): void {
    const leaf = this.#leaf;
    const lower = this.#leafLower;
    if (lower === 0) return;
    // What an earlier leaf had between the list and the rows.
    leaf.fill(0, pageHeaderSizeBytes + lower, pageHeaderSizeBytes + this.#leafUpper);
    const key = Buffer.from(leaf.subarray(this.#leafKeyStart, this.#leafKeyEnd));
    this.#addLeafPage(leaf, key, {lower, upper: this.#leafUpper});
    this.#leafLower = 0;
    this.#leafUpper = this.#pageSize - pageHeaderSizeBytes;
  }

  #addLeafPage(
    page: Buffer,
    key: Buffer,
    places: {readonly lower: number; readonly upper: number},
  ): void {
    const number = this.#addPage(page, leafFlag, places);
    this.#leafPageCount += 1;
    this.#addChild(0, {key, number});
  }

  #addChild(level: number, child: Child): void {
    const branch = (this.#branches[level] ??= {children: [], sizeBytes: 0});
    const room = this.#pageSize - pageHeaderSizeBytes - branch.sizeBytes;
    if (nodeSizeInBranch(branch, child) > room) {
      // LMDB takes no branch with one child: the last one begins the next branch. Whatever the
      // keys are, there is room for three children.
      const last = must(branch.children.pop(), 'a full branch has children');
      this.#closeBranch(level);
      addToBranch(branch, last);
    }
    addToBranch(branch, child);
  }

  #closeBranch(level: number): void {
    const branch = must(this.#branches[level], 'a branch at this level');
    const {children} = branch;
    assert(children.length > 1, 'a branch with % children', children.length);
    const page = Buffer.alloc(this.#pageSize);
    let lower = 0;
    let upper = this.#pageSize - pageHeaderSizeBytes;
    for (const [i, {key, number}] of children.entries()) {
      const keySize = i === 0 ? 0 : key.length;
      upper -= (nodeHeaderSizeBytes + keySize + 1) & ~1;
      page.writeUInt16LE(upper, pageHeaderSizeBytes + lower);
      lower += pointerSizeBytes;
      const at = pageHeaderSizeBytes + upper;
      writeU32(page, number >>> 0, at);
      page.writeUInt16LE(Math.floor(number / 0x1_0000_0000), at + 4);
      page.writeUInt16LE(keySize, at + 6);
      if (i > 0) page.set(key, at + nodeHeaderSizeBytes);
    }
    const number = this.#addPage(page, branchFlag, {lower, upper});
    this.#branchPageCount += 1;
    const {key} = must(children[0], 'a first child');
    branch.children = [];
    branch.sizeBytes = 0;
    this.#addChild(level + 1, {key, number});
  }

  /** All levels, up to the one page that leads to all others. */
  #closeBranches(): {readonly root: number; readonly depth: number} {
    for (let level = 0; ; level++) {
      const {children} = must(this.#branches[level], 'a branch at this level');
      const [first] = children;
      if (first !== undefined && children.length === 1 && this.#branches.length === level + 1) {
        return {root: first.number, depth: level + 1};
      }
      this.#closeBranch(level);
    }
  }

  /** Behind all pages so far. Returns its number. */
  #addPage(
    page: Buffer,
    flags: number,
    {lower, upper}: {readonly lower: number; readonly upper: number},
  ): number {
    const number = this.#nextPage;
    this.#nextPage += 1;
    writeU64(page, number, 0);
    writeU64(page, copyTransaction, pageTransactionOffset);
    page.writeUInt16LE(flags, pageFlagsOffset);
    page.writeUInt16LE(lower, pageLowerOffset);
    page.writeUInt16LE(upper, pageUpperOffset);
    this.#output.append(page);
    return number;
  }
}

/** The file keeps its name and nothing else. */
function takeMetaPage(path: string): Buffer {
  const descriptor = fs.openSync(path, 'r+');
  try {
    const page = must(readMetaPage(descriptor), 'LMDB made a meta page');
    fs.ftruncateSync(descriptor, 0);
    return page;
  } finally {
    fs.closeSync(descriptor);
  }
}

function addToBranch(branch: Branch, child: Child): void {
  branch.sizeBytes += nodeSizeInBranch(branch, child);
  branch.children.push(child);
}

/** The first key of a branch is none: whatever is below the second one belongs there. */
function nodeSizeInBranch({children}: Branch, {key}: Child): number {
  const keySize = children.length === 0 ? 0 : key.length;
  return pointerSizeBytes + ((nodeHeaderSizeBytes + keySize + 1) & ~1);
}
