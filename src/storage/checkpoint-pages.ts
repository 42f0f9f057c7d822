/**
 * Walks through the pages of a checkpoint's file without LMDB, which trusts what it reads and may
 * take the process with it: finds every row and where it lies, and names each page that is not what
 * it has to be.
 */
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import {compareBytes} from '../base/bytes.ts';
import type {PageMeta, TreeRoot} from './checkpoint-page.ts';
import {
  bigDataFlag,
  branchFlag,
  branchKey,
  branchPage,
  leafFlag,
  newestMeta,
  nodeHeaderSizeBytes,
  nodesOf,
  noPage,
  overflowCountOffset,
  overflowFlag,
  overflowReferenceSizeBytes,
  pageFlagsOffset,
  pageHeaderSizeBytes,
  readPageNumber,
} from './checkpoint-page.ts';

export interface PageWalkResult {
  readonly rowCount: number;
  readonly pageCount: number;
}

export interface PageVisitor {
  /** In the order of the tree. Views, valid during the visit. `offset`: of the row in the file. */
  readonly onRow: (rowKeyView: Buffer, valueView: Buffer, offset: number) => void;
  /** What hangs below the place is skipped. */
  readonly onDamage: (offset: number, problem: string) => void;
  /**
   * Of the lists of free pages, which the first commit reads: a page that is in use and in a list,
   * or in two, would be overwritten by some later one. Left out: they are not looked at.
   */
  readonly onFreeListDamage?: PageVisitor['onDamage'];
}

const depthMax = 32;
const numberSizeBytes = 8;
/** The first two pages are meta pages. */
const firstPage = 2;

/** Where a page stands in the tree, and what it may hold. Views into pages above it. */
interface Place {
  readonly level: number;
  /** Where in the file the page is named. */
  readonly from: number;
  /** Of the keys at and below the page: inclusive and exclusive; null: none. */
  readonly lower: Buffer | null;
  readonly upper: Buffer | null;
}

/** One of the trees of a file. */
interface Tree extends TreeRoot {
  readonly compareKeys: (a: Buffer, b: Buffer) => number;
  /** Null: they are of any size. */
  readonly keySizeBytes: number | null;
}

/** Throws the system's errors only. */
export function walkPages(path: string, visitor: PageVisitor): PageWalkResult {
  const descriptor = fs.openSync(path, 'r');
  try {
    const meta = newestMeta(descriptor);
    if (meta === null) {
      visitor.onDamage(0, 'neither meta page is valid');
      return {rowCount: 0, pageCount: 0};
    }
    const hasBytes = fs.fstatSync(descriptor).size;
    const pageCount = Math.min(meta.lastPage + 1, Math.ceil(hasBytes / meta.pageSize));
    const file: PageFile = {descriptor, meta, used: new PageSet(pageCount)};
    const rows = {...meta, compareKeys: compareBytes, keySizeBytes: null};
    const result = new PageWalk(file, rows, visitor).run();
    const {onFreeListDamage} = visitor;
    if (onFreeListDamage !== undefined) {
      walkFreeLists(file, (offset, problem) => {
        onFreeListDamage(offset, `lists of free pages: ${problem}`);
      });
    }
    return result;
  } finally {
    fs.closeSync(descriptor);
  }
}

/** After the walk through the rows: their pages are not free. */
function walkFreeLists(file: PageFile, onDamage: PageVisitor['onDamage']): void {
  const {meta, used} = file;
  const blocks: FreeBlock[] = [];
  let pageCount = 0;
  const tree: Tree = {
    ...meta.freeLists,
    compareKeys: (a, b) => readPageNumber(a, 0) - readPageNumber(b, 0),
    keySizeBytes: numberSizeBytes,
  };
  const onRow = (_key: Buffer, list: Buffer, offset: number): void => {
    if (!isFreeList(list)) {
      onDamage(offset, 'the size of a list is not valid');
      return;
    }
    for (const block of blocksOf(list, offset)) {
      const isInFile = block.first >= firstPage && block.first + block.count - 1 <= meta.lastPage;
      pageCount += block.count;
      if (isInFile && pageCount <= meta.lastPage) {
        blocks.push(block);
        continue;
      }
      const {first, count} = block;
      const problem = isInFile
        ? 'they name more pages than there are'
        : `there are no ${count} pages at ${first}`;
      onDamage(offset, problem);
      return;
    }
  };
  new PageWalk(file, tree, {onDamage, onRow}).run();
  const free = new PageSet(used.pageCount);
  for (const block of blocks) {
    const problem = problemOf(block, used, free);
    if (problem !== null) onDamage(block.offset, problem);
  }
}

/** Adds the block to what is free. */
function problemOf({first, count}: FreeBlock, used: PageSet, free: PageSet): string | null {
  // Pages at the end may have been numbered and never written.
  const end = Math.min(first + count, used.pageCount);
  for (let page = first; page < end; page++) {
    if (used.has(page)) return `page ${page} is in use`;
    if (!free.add(page)) return `page ${page} is free twice`;
  }
  return null;
}

interface FreeBlock {
  readonly first: number;
  readonly count: number;
  /** Of its list in the file. */
  readonly offset: number;
}

/** How many numbers follow, the numbers, and perhaps room for more of them. */
function isFreeList(list: Buffer): boolean {
  const {length} = list;
  if (length < numberSizeBytes || length % numberSizeBytes !== 0) return false;
  return readPageNumber(list, 0) < length / numberSizeBytes;
}

/**
 * A number is a page; below zero it is the count of pages of a block, whose first one is behind it;
 * zero is nothing.
 */
function* blocksOf(list: Buffer, offset: number): Iterable<FreeBlock> {
  const end = (readPageNumber(list, 0) + 1) * numberSizeBytes;
  for (let at = numberSizeBytes; at < end; at += numberSizeBytes) {
    const number = Number(list.readBigInt64LE(at));
    if (number > 0) yield {first: number, count: 1, offset};
    if (number >= 0) continue;
    at += numberSizeBytes;
    yield {first: at < end ? readPageNumber(list, at) : 0, count: -number, offset};
  }
}

class PageSet {
  readonly pageCount: number;
  readonly #bits: Uint8Array;

  constructor(pageCount: number) {
    this.pageCount = pageCount;
    this.#bits = new Uint8Array(Math.ceil(pageCount / 8));
  }

  has(page: number): boolean {
    return ((this.#bits[page >> 3] ?? 0) & (1 << (page & 7))) !== 0;
  }

  /** False: it was there. */
  add(page: number): boolean {
    if (this.has(page)) return false;
    this.#bits[page >> 3] = (this.#bits[page >> 3] ?? 0) | (1 << (page & 7));
    return true;
  }
}

interface PageFile {
  readonly descriptor: number;
  readonly meta: PageMeta;
  /** Found in one of the trees so far. */
  readonly used: PageSet;
}

class PageWalk {
  readonly #descriptor: number;
  readonly #meta: PageMeta;
  readonly #used: PageSet;
  readonly #tree: Tree;
  readonly #visitor: PageVisitor;
  /** One page for each level of the tree. */
  readonly #pages: Buffer[] = [];
  #rowCount = 0;
  #pageCount = 0;
  #damageCount = 0;

  constructor({descriptor, meta, used}: PageFile, tree: Tree, visitor: PageVisitor) {
    this.#descriptor = descriptor;
    this.#meta = meta;
    this.#used = used;
    this.#tree = tree;
    this.#visitor = visitor;
  }

  run(): PageWalkResult {
    const {root, depth, rowCount} = this.#tree;
    const {pageSize} = this.#meta;
    if (root !== noPage) this.#walk(root, {level: 1, from: pageSize, lower: null, upper: null});
    const isCounted = this.#rowCount === rowCount && (root === noPage || depth > 0);
    if (!isCounted && this.#damageCount === 0) {
      this.#damage(0, `${this.#rowCount} rows found, ${rowCount} counted`);
    }
    return {rowCount: this.#rowCount, pageCount: this.#pageCount};
  }

  #walk(number: number, place: Place): void {
    const {level, from} = place;
    if (level > depthMax || level > this.#tree.depth) {
      this.#damage(from, 'the tree is deeper than its meta page says');
      return;
    }
    const page = this.#read(number, from, level);
    if (page === null) return;
    const flags = page.readUInt16LE(pageFlagsOffset);
    const at = number * this.#meta.pageSize;
    const isLeaf = (flags & leafFlag) !== 0;
    const isBranch = (flags & branchFlag) !== 0;
    const isLast = level === this.#tree.depth;
    if (isLeaf === isBranch || isLeaf !== isLast || (flags & overflowFlag) !== 0) {
      this.#damage(at, `page ${number} is of another kind than its place in the tree`);
      return;
    }
    const nodes = nodesOf(page);
    if (nodes === null) {
      this.#damage(at, `the list of rows of page ${number} is not valid`);
      return;
    }
    if (isBranch) {
      this.#walkBranch(page, nodes, {...place, from: at});
      return;
    }
    for (const offset of nodes) this.#visitLeaf(page, offset, {...place, from: at});
  }

  /**
   * LMDB finds a row by the keys of the branches above it, so one that lies outside of them is lost
   * to reads, though it is there. The first key of a branch is never looked at.
   */
  #walkBranch(page: Buffer, nodes: readonly number[], {level, from, lower, upper}: Place): void {
    const keys = nodes.map((offset, i) => (i === 0 ? null : branchKey(page, offset)));
    for (const [i, offset] of nodes.entries()) {
      const key = keys[i] ?? null;
      const before = keys[i - 1] ?? lower;
      const isFirst = i === 0;
      if (!isFirst && (key === null || !this.#isBetween(key, before, upper))) {
        this.#damage(from + offset, 'the key of a branch is not valid or out of order');
        return;
      }
      this.#walk(branchPage(page, offset), {
        level: level + 1,
        from: from + offset,
        lower: isFirst ? lower : key,
        upper: keys[i + 1] ?? upper,
      });
    }
  }

  #visitLeaf(page: Buffer, offset: number, {from: at, lower, upper}: Place): void {
    const size = page.readUInt16LE(offset) + page.readUInt16LE(offset + 2) * 0x1_0000;
    const flags = page.readUInt16LE(offset + 4);
    const keyEnd = offset + nodeHeaderSizeBytes + page.readUInt16LE(offset + 6);
    const isBig = flags === bigDataFlag;
    const dataEnd = keyEnd + (isBig ? overflowReferenceSizeBytes : size);
    if ((flags !== 0 && !isBig) || dataEnd > page.length) {
      this.#damage(at + offset, 'a row is not valid');
      return;
    }
    const key = page.subarray(offset + nodeHeaderSizeBytes, keyEnd);
    const {compareKeys} = this.#tree;
    const isBelow = lower !== null && this.#isKey(key) && compareKeys(key, lower) < 0;
    if (isBelow || !this.#isBetween(key, null, upper)) {
      this.#damage(at + offset, 'a row is outside of the keys that lead to it');
      return;
    }
    const value = isBig
      ? this.#readOverflow(readPageNumber(page, keyEnd), size, at + offset)
      : page.subarray(keyEnd, dataEnd);
    if (value === null) return;
    this.#rowCount += 1;
    this.#visitor.onRow(key, value, at + offset);
  }

  #readOverflow(number: number, sizeBytes: number, from: number): Buffer | null {
    const {pageSize} = this.#meta;
    const count = Math.ceil((pageHeaderSizeBytes + sizeBytes) / pageSize);
    if (!this.#take(number, count, from)) return null;
    const bytes = Buffer.allocUnsafe(pageHeaderSizeBytes + sizeBytes);
    if (!this.#fill(bytes, number, from)) return null;
    const isOverflow = (bytes.readUInt16LE(pageFlagsOffset) & overflowFlag) !== 0;
    const ownCount = bytes.readUInt32LE(overflowCountOffset);
    if (!isOverflow || ownCount < count) {
      this.#damage(number * pageSize, `page ${number} does not hold a large row`);
      return null;
    }
    // A row that became smaller keeps its pages.
    if (!this.#take(number + count, ownCount - count, from)) return null;
    return bytes.subarray(pageHeaderSizeBytes);
  }

  #read(number: number, from: number, level: number): Buffer | null {
    const page = (this.#pages[level] ??= Buffer.alloc(this.#meta.pageSize));
    return this.#take(number, 1, from) && this.#fill(page, number, from) ? page : null;
  }

  #fill(bytes: Buffer, number: number, from: number): boolean {
    const at = number * this.#meta.pageSize;
    const count = fs.readSync(this.#descriptor, bytes, 0, bytes.length, at);
    if (count === bytes.length && readPageNumber(bytes, 0) === number) return true;
    const problem = count < bytes.length ? 'is cut off' : 'is another one';
    this.#damage(at, `page ${number}, named at byte ${from}, ${problem}`);
    return false;
  }

  /** Each page belongs to one place of the tree; that also ends the walk through a ring. */
  #take(number: number, count: number, from: number): boolean {
    if (number < firstPage || number + count > this.#used.pageCount) {
      this.#damage(from, `there is no page ${number}`);
      return false;
    }
    for (let page = number; page < number + count; page++) {
      if (this.#used.add(page)) continue;
      this.#damage(from, `page ${page} is used twice`);
      return false;
    }
    this.#pageCount += count;
    return true;
  }

  #isKey(key: Buffer): boolean {
    const {keySizeBytes} = this.#tree;
    return keySizeBytes === null || key.length === keySizeBytes;
  }

  /** Whether it is a key at all, and between two others. Both exclusive; null: no bound. */
  #isBetween(key: Buffer, lower: Buffer | null, upper: Buffer | null): boolean {
    const {compareKeys} = this.#tree;
    if (!this.#isKey(key) || (lower !== null && compareKeys(key, lower) <= 0)) return false;
    return upper === null || compareKeys(key, upper) < 0;
  }

  #damage(offset: number, problem: string): void {
    this.#damageCount += 1;
    this.#visitor.onDamage(offset, problem);
  }
}
