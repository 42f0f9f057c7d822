/**
 * Reads one page of a range, slice by slice with other work in between, and answers it. The first
 * slice decides the revision; later ones are pinned to it, so the page is one moment of the store.
 * Memory: at most limits.rangeSizeBytesMax of answer (or one record, if that is larger), counted
 * in the buffer budget as it grows.
 */
import {Buffer} from 'node:buffer';
import {must} from '../../base/assert.ts';
import {compareBytes, keySuccessor} from '../../base/bytes.ts';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import type {KeyRange} from '../../kv/command.ts';
import type {KeyRecord} from '../../kv/result.ts';
import type {RangeSlice, StateReader} from '../../kv/state-reader.ts';
import type {Consistency} from '../../node/service.ts';
import {encodeCursor} from './cursor.ts';
import type {Exchange} from './exchange.ts';
import type {RangeRequest} from './range-request.ts';
import {recordJson} from './record-json.ts';

/** Per slice; together about a millisecond of work. */
const sliceRecordCountMax = 256;
const sliceRowCountMax = 512;
/** Counting reads no values. */
const countRowCountMax = 1024;
const sliceSizeBytesMax = 256 * 1024;

/** `],"count":…,"more":…,"cursor":"…","revision":…}` with the longest cursor. */
const tailSizeBytesMax = 4 * 1024;

type Phase = 'records' | 'count' | 'is-there-more';

export class RangeReader {
  readonly #exchange: Exchange;
  readonly #request: RangeRequest;
  readonly #deadlineMs: number;
  readonly #chunks: Buffer[] = [Buffer.from('{"records":[')];
  #phase: Phase;
  /** Of the state that is read; 0 before the first slice. */
  #revision: number;
  /** What the cursor of this page will say; null: nothing is left. */
  #rest: KeyRange | null;
  /** What the next slice looks at; runs ahead of #rest while asking whether there is more. */
  #ahead: KeyRange | null;
  #count = 0;
  #hasMore = false;
  #sizeBytes = 0;
  #heldSizeBytes = 0;

  constructor(exchange: Exchange, request: RangeRequest, timeoutMs: number) {
    this.#exchange = exchange;
    this.#request = request;
    this.#deadlineMs = exchange.startedAtMs + timeoutMs;
    this.#phase = request.countOnly ? 'count' : 'records';
    this.#revision = request.revision;
    this.#rest = request.range;
    this.#ahead = request.range;
  }

  start(options: {readonly consistency: Consistency; readonly timeoutMs: number}): void {
    this.#exchange.context.service.read(options, (error, reader) => this.#onReader(error, reader));
  }

  #readNext(): void {
    const timeoutMs = Math.ceil(this.#deadlineMs - this.#exchange.context.clock.monotonicMs());
    if (this.#exchange.isGone) {
      this.#release();
      return;
    }
    if (timeoutMs <= 0) {
      this.#fail(new RosettaError('READ_TIMEOUT', 'the range could not be read in time'));
      return;
    }
    // The revision is pinned and this node has applied it: its own state is as good as any.
    this.start({consistency: 'local', timeoutMs});
  }

  #onReader(error: RosettaError | null, reader: StateReader | null): void {
    if (error !== null) {
      this.#fail(error);
      return;
    }
    const state = must(reader, 'a read has an error or a reader');
    const current = state.revision();
    if (this.#revision === 0) this.#revision = current;
    let isDone: boolean;
    try {
      isDone = this.#readSlice(state);
    } catch (failure) {
      this.#fail(failure, current);
      return;
    }
    if (this.#exchange.isAnswered) return;
    if (isDone) this.#answer();
    else this.#exchange.context.clock.afterPoll(() => this.#readNext());
  }

  /** True when the page is complete. */
  #readSlice(state: StateReader): boolean {
    const range = this.#ahead;
    if (this.#phase === 'count' && isEverything(range) && this.#revision === state.revision()) {
      this.#count = state.keyCount();
      return true;
    }
    // Even an empty range refuses a revision that has been compacted or has not happened.
    const slice =
      range === null || isEmptyRange(range)
        ? emptySlice(state, this.#revision)
        : state.rangeSlice(this.#sliceRequest(state, range));
    this.#ahead = slice.rest;
    switch (this.#phase) {
      case 'count':
        this.#count += slice.count;
        this.#rest = null;
        return slice.rest === null;
      case 'is-there-more':
        this.#hasMore = slice.count > 0;
        return this.#hasMore || slice.rest === null;
      case 'records':
        return this.#take(slice);
    }
  }

  #sliceRequest(state: StateReader, range: KeyRange): Parameters<StateReader['rangeSlice']>[0] {
    const isProbe = this.#phase === 'is-there-more';
    const isCount = this.#phase === 'count';
    const wanted = Math.min(sliceRecordCountMax, this.#request.limit - this.#count);
    return {
      range,
      revision: this.#revision === state.revision() ? 0 : this.#revision,
      isReverse: this.#request.isReverse,
      keysOnly: this.#request.keysOnly || isProbe,
      countOnly: isCount,
      countMax: isProbe ? 1 : isCount ? countRowCountMax : wanted,
      sizeBytesMax: sliceSizeBytesMax,
      rowCountMax: isCount ? countRowCountMax : sliceRowCountMax,
    };
  }

  /** Appends the records of a slice; true when the page is complete. */
  #take(slice: RangeSlice): boolean {
    const form = {keysOnly: this.#request.keysOnly};
    const texts: string[] = [];
    let isFull = false;
    this.#rest = slice.rest;
    for (const record of slice.records) {
      const text = recordJson(record, form);
      const sizeBytes = Buffer.byteLength(text) + 1;
      if (this.#count > 0 && this.#sizeBytes + sizeBytes > pageSizeBytesMax) {
        // This record, and what lies behind it, is left for the next page.
        this.#rest = this.#restFrom(record);
        this.#ahead = this.#rest;
        isFull = true;
        break;
      }
      texts.push(this.#count === 0 ? text : `,${text}`);
      this.#count++;
      this.#sizeBytes += sizeBytes;
    }
    if (texts.length > 0 && !this.#append(Buffer.from(texts.join('')))) return true;
    if (this.#rest === null) return true;
    if (isFull) {
      this.#hasMore = true;
      return true;
    }
    if (this.#count >= this.#request.limit) this.#phase = 'is-there-more';
    return false;
  }

  #restFrom(record: KeyRecord): KeyRange {
    const {start, end} = must(this.#request.range, 'a request has a range');
    return this.#request.isReverse
      ? {start, end: keySuccessor(record.key)}
      : {start: record.key, end};
  }

  /** False: there is no memory for it, and the exchange is over. */
  #append(chunk: Buffer): boolean {
    if (!this.#exchange.hold(chunk.length)) {
      this.#release();
      return false;
    }
    this.#heldSizeBytes += chunk.length;
    this.#chunks.push(chunk);
    return true;
  }

  #answer(): void {
    const {limit, isReverse, keysOnly, rangeHash} = this.#request;
    const revision = this.#revision;
    let cursor = '';
    if (this.#hasMore) {
      const rest = must(this.#rest, 'more records lie in a rest');
      const text = encodeCursor({rest, revision, limit, isReverse, keysOnly, rangeHash});
      cursor = `"cursor":"${text}",`;
    }
    this.#chunks.push(
      Buffer.from(
        `],"count":${this.#count},"more":${this.#hasMore},${cursor}"revision":${revision}}`,
      ),
    );
    // The answer takes over what the page has held.
    this.#release();
    this.#exchange.sendJsonChunks(this.#chunks, revision);
  }

  #fail(error: unknown, revision = 0): void {
    this.#release();
    this.#exchange.fail(error, revision);
  }

  #release(): void {
    this.#exchange.release(this.#heldSizeBytes);
    this.#heldSizeBytes = 0;
  }
}

const pageSizeBytesMax = limits.rangeSizeBytesMax - tailSizeBytesMax;

function isEverything(range: KeyRange | null): boolean {
  return range !== null && range.start.length === 0 && range.end === null;
}

function isEmptyRange({start, end}: KeyRange): boolean {
  return end !== null && compareBytes(start, end) >= 0;
}

const nothing: RangeSlice = {records: [], count: 0, rest: null};

function emptySlice(state: StateReader, revision: number): RangeSlice {
  state.get(probeKey, revision);
  return nothing;
}

const probeKey = Uint8Array.of(0);
