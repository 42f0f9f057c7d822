/**
 * Snapshots as the checkpoint's thread handles them: a copy of the checkpoint, its rows as blocks,
 * and blocks that become rows of a new environment.
 */
import fs from 'node:fs';
import path from 'node:path';
import {assert, must, unreachable} from '../base/assert.ts';
import {dataFileName, prepareCurrent} from './checkpoint-directory.ts';
import {firstStoreRowKey} from './checkpoint-row.ts';
import type {CheckpointMeta} from './checkpoint-store.ts';
import {LmdbEnvironment, syncFile} from './lmdb-environment.ts';
import type {SnapshotPosition} from './snapshot-position.ts';
import {SnapshotDecoder, SnapshotEncoder} from './snapshot-stream.ts';

/** Sorts after every row key: tables end at 0xfe. */
const rowKeysEnd = Uint8Array.of(0xff);

/** A compact copy of the checkpoint in a directory of its own. */
export class SnapshotCopy {
  readonly meta: CheckpointMeta;
  readonly environment: LmdbEnvironment;
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    const file = path.join(directory, dataFileName);
    this.environment = new LmdbEnvironment(file, {isReadOnly: true});
    try {
      this.meta = must(this.environment.readMeta(), 'a copy has a format row');
    } catch (error) {
      this.environment.close();
      throw error;
    }
  }

  close(): void {
    this.environment.close();
    fs.rmSync(this.#directory, {recursive: true, force: true});
  }
}

/** The rows of a copy as blocks, from a position on. Holds nothing but that position. */
export class SnapshotRows {
  readonly #copy: SnapshotCopy;
  readonly #encoder: SnapshotEncoder;
  #lastKey: Uint8Array | null;
  #state: 'header' | 'rows' | 'done' = 'header';

  constructor(copy: SnapshotCopy, after: SnapshotPosition | null) {
    this.#copy = copy;
    this.#encoder = new SnapshotEncoder(after);
    this.#lastKey = after?.lastKey ?? null;
  }

  next(): Uint8Array | null {
    switch (this.#state) {
      case 'header':
        this.#state = 'rows';
        return this.#encoder.header(this.#copy.meta);
      case 'rows': {
        if (!this.#encoder.isFull()) this.#fill();
        const block = this.#encoder.takeRows();
        if (block !== null) return block;
        this.#state = 'done';
        return this.#encoder.end();
      }
      case 'done':
        return null;
      default:
        return unreachable(this.#state);
    }
  }

  #fill(): void {
    const start = this.#lastKey ?? firstStoreRowKey;
    let lastKey = this.#lastKey;
    this.#copy.environment.scan(
      {start, end: rowKeysEnd, isReverse: false},
      (rowKey, value) => {
        this.#encoder.addRow(rowKey, value);
        lastKey = rowKey;
        return !this.#encoder.isFull();
      },
      {isStartExclusive: lastKey !== null},
    );
    // LMDB hands out a copy of each key, so the last one may be kept.
    this.#lastKey = lastKey;
  }
}

/** Builds the environment of a snapshot that arrives. */
export class SnapshotBuilder {
  readonly #environment: LmdbEnvironment;
  readonly #meta: CheckpointMeta;
  readonly #decoder: SnapshotDecoder;

  constructor(file: string, meta: CheckpointMeta) {
    this.#meta = meta;
    fs.mkdirSync(path.dirname(file), {mode: 0o700});
    this.#environment = new LmdbEnvironment(file, {isUnsynced: true});
    this.#decoder = new SnapshotDecoder(meta, (rowKey, value) => {
      assert((rowKey[0] ?? 0) > 0, 'a row of the checkpoint itself');
      this.#environment.append(rowKey, value);
    });
  }

  /** Another stream begins, behind what is returned. */
  begin(): SnapshotPosition | null {
    return this.#decoder.begin();
  }

  takeBlock(block: Uint8Array): void {
    this.#environment.transaction(() => this.#decoder.takeBlock(block));
  }

  /** Durable when it returns. */
  finish(): void {
    if (!this.#decoder.isComplete) throw new Error('the snapshot ends early');
    this.#environment.transaction(() => this.#environment.putMeta(this.#meta));
    this.#environment.padFile();
    this.#environment.close();
    syncFile(this.#environment.path);
    prepareCurrent(path.dirname(this.#environment.path));
  }

  close(): void {
    this.#environment.close();
  }
}
