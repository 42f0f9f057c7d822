/**
 * Snapshots as the checkpoint's thread handles them: a copy of the checkpoint, its rows as blocks,
 * and blocks that become rows of a new environment.
 */
import fs from 'node:fs';
import path from 'node:path';
import {assert, unreachable} from '../base/assert.ts';
import {equalBytes} from '../base/bytes.ts';
import {dataFileName, prepareCurrent} from './checkpoint-directory.ts';
import {CheckpointFile} from './checkpoint-file.ts';
import type {CheckpointLeaf} from './checkpoint-page.ts';
import {nodeHeaderSizeBytes} from './checkpoint-page.ts';
import {CheckpointRowCursor} from './checkpoint-row-cursor.ts';
import {CheckpointDamagedError, decodeMeta, formatRowKey} from './checkpoint-row.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import {CheckpointFileWriter} from './checkpoint-file-writer.ts';
import type {LeafTaker} from './snapshot-leaves.ts';
import {LeafPacker} from './snapshot-leaves.ts';
import type {SnapshotPosition} from './snapshot-position.ts';
import type {RowVisitor} from './snapshot-stream.ts';
import {SnapshotDecoder, SnapshotEncoder} from './snapshot-stream.ts';

/** The format row belongs to the checkpoint itself. */
const ownRowCount = 1;

/** A compact copy of the checkpoint in a directory of its own, which whoever closes it removes. */
export class SnapshotCopy {
  readonly meta: CheckpointMeta;
  readonly file: CheckpointFile;
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
    this.file = new CheckpointFile(path.join(directory, dataFileName));
    try {
      this.meta = this.#readMeta();
    } catch (error) {
      this.file.close();
      throw error;
    }
  }

  /** The format row is the first of all rows. */
  #readMeta(): CheckpointMeta {
    const cursor = new CheckpointRowCursor(this.file, null);
    if (cursor.next() && equalBytes(cursor.rowKeyView, formatRowKey)) {
      return decodeMeta(cursor.valueView);
    }
    throw new CheckpointDamagedError(this.file.path, 'no format row');
  }

  close(): void {
    this.file.close();
  }
}

/** The rows of a copy as blocks, from a position on. Use it before the copy is closed. */
export class SnapshotRows {
  readonly #copy: SnapshotCopy;
  readonly #encoder: SnapshotEncoder;
  readonly #after: SnapshotPosition | null;
  readonly #leaves = new LeafPacker();
  #cursor: CheckpointRowCursor | null = null;
  #state: 'header' | 'rows' | 'done' = 'header';

  constructor(copy: SnapshotCopy, after: SnapshotPosition | null) {
    this.#copy = copy;
    this.#encoder = new SnapshotEncoder(after);
    this.#after = after;
  }

  /** A block of rows is made in `memory`. */
  next(memory: ArrayBuffer): Uint8Array | null {
    switch (this.#state) {
      case 'header':
        this.#state = 'rows';
        return this.#encoder.header(this.#copy.meta);
      case 'rows': {
        const block = this.#nextRows(memory);
        if (block !== null) return block;
        this.#state = 'done';
        this.#checkCount();
        return this.#encoder.end();
      }
      case 'done':
        return null;
      default:
        return unreachable(this.#state);
    }
  }

  /** Also of a stream that went on where another one broke off. */
  #checkCount(): void {
    const {file} = this.#copy;
    const count = this.#encoder.rowCount + ownRowCount;
    if (count === file.meta.rowCount) return;
    const problem = `${count} rows found, ${file.meta.rowCount} counted`;
    throw new CheckpointDamagedError(file.path, problem);
  }

  /** Null: there are no more. */
  #nextRows(memory: ArrayBuffer): Uint8Array | null {
    const encoder = this.#encoder;
    const leaves = this.#leaves;
    this.#cursor ??= new CheckpointRowCursor(this.#copy.file, this.#after?.lastKey ?? null);
    const cursor = this.#cursor;
    while (!encoder.isFull()) {
      // Where leaves with large rows lie between others, blocks would become small.
      const leaf = encoder.mayEndBlock() ? cursor.peekLeaf() : null;
      if (leaf !== null && !isOwn(leaf)) {
        if (encoder.hasRows()) break;
        if (!leaves.hasRoomFor(leaf.page)) return encoder.takeLeaves(leaves, memory);
        leaves.add(leaf.page, leaf);
        cursor.takeLeaf();
        continue;
      }
      if (!leaves.isEmpty) return encoder.takeLeaves(leaves, memory);
      if (!cursor.next()) break;
      // Rows of the checkpoint itself are made anew by whoever receives this.
      if (cursor.rowView[0] !== 0) encoder.addRow(cursor.rowView, cursor.keySizeBytes);
    }
    return encoder.takeRows(memory);
  }
}

/** The rows of the checkpoint itself are the first of all. */
function isOwn({page, nodes}: Pick<CheckpointLeaf, 'page' | 'nodes'>): boolean {
  const [first] = nodes;
  return first === undefined || page[first + nodeHeaderSizeBytes] === 0;
}

/** Builds the environment of a snapshot that arrives. */
export class SnapshotBuilder {
  readonly #writer: CheckpointFileWriter;
  readonly #decoder: SnapshotDecoder;
  /** After an error nothing more is taken: what is there ends somewhere within a block. */
  #hasFailed = false;

  constructor(file: string, meta: CheckpointMeta) {
    fs.mkdirSync(path.dirname(file), {mode: 0o700});
    const writer = new CheckpointFileWriter(file, meta);
    this.#writer = writer;
    const visitRow: RowVisitor = (bytes, keyStart, keyEnd, valueStart, valueEnd) => {
      assert((bytes[keyStart] ?? 0) > 0 || keyStart === keyEnd, 'a row of the checkpoint itself');
      writer.addRow(bytes, keyStart, keyEnd, valueStart, valueEnd);
    };
    const take: LeafTaker['take'] = (page, nodes) => {
      assert(!isOwn({page, nodes}), 'a row of the checkpoint itself');
      writer.addLeaf(page, nodes);
    };
    const {pageSizeBytes} = writer;
    this.#decoder = new SnapshotDecoder(meta, visitRow, {pageSizeBytes, take});
  }

  /** Another stream begins, behind what is returned. */
  begin(): SnapshotPosition | null {
    return this.#decoder.begin();
  }

  takeBlock(block: Uint8Array): void {
    if (this.#hasFailed) throw new Error('an earlier block was refused');
    this.#hasFailed = true;
    this.#decoder.takeBlock(block);
    this.#hasFailed = false;
  }

  /** Durable when it returns. */
  finish(): void {
    if (!this.#decoder.isComplete) throw new Error('the snapshot ends early');
    const {path: file} = this.#writer;
    this.#writer.finish();
    prepareCurrent(path.dirname(file));
  }

  close(): void {
    this.#writer.close();
  }
}
