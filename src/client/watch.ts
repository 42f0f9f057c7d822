/**
 * A watch: every change of a key or a range, once and in order, across cuts, restarts and nodes.
 * Its position is the last revision of which everything was told, and how much was told of a
 * later one; wherever it goes on, it asks from there and skips what it has.
 */
import type {Bytes} from './bytes-text.ts';
import {checkObject, checkRange, rangeNames} from './argument-check.ts';
import {percentEncode} from './bytes-text.ts';
import type {Caller} from './call.ts';
import {ClientError} from './client-error.ts';
import type {Endpoint} from './endpoints.ts';
import {SendError, type HttpStream} from './http-sender.ts';
import {JsonLines} from './json-lines.ts';
import {queryOf, rangeQuery, type KeyRange} from './kv-requests.ts';
import {readProblem, remedyFor} from './problem.ts';
import {integerField, type JsonObject} from './record.ts';
import {readEvent, type WatchEvent} from './watch-event.ts';

export type WatchRange = KeyRange | {readonly key: Bytes};
const watchRangeNames: readonly string[] = ['key', ...rangeNames];

export interface WatchOptions {
  /** The first revision to tell of; default: the changes after the watch has begun. */
  readonly from?: number | undefined;
  /** Events carry the record before the change. */
  readonly previous?: boolean | undefined;
  /** Ends the iteration by ABORTED. */
  readonly signal?: AbortSignal | undefined;
}

const watchOptionNames: readonly string[] = ['from', 'previous', 'signal'];

/** A node says something every 15 s; whoever is silent for longer than two of these is gone. */
const silenceMsMax = 40_000;
const openTimeoutMs = 5_000;

export class Watch implements AsyncIterable<WatchEvent> {
  readonly #caller: Caller;
  readonly #range: WatchRange;
  readonly #options: WatchOptions;
  /** Fires when the watch is closed. */
  readonly #closed = new AbortController();
  /** Fires then, or with the signal of the options. */
  readonly #signal: AbortSignal;
  /** Everything up to it was told, inclusive; null: the watch has no beginning yet. */
  #toldRevision: number | null;
  /** A later revision that was told in part, and how many of its events were. */
  #partRevision = 0;
  #partCount = 0;
  /** Of the present stream: the revision of its last event, and how many it had of it. */
  #seenRevision = 0;
  #seenCount = 0;
  #stream: HttpStream | null = null;
  #lines: AsyncGenerator<JsonObject> | null = null;
  #silenceTimer: ReturnType<typeof setTimeout> | undefined;
  #isIterated = false;
  /** The endpoint of the stream, as `Endpoints.failed` wants it. */
  #place: {readonly endpoint: Endpoint; readonly epoch: number} | null = null;

  constructor(caller: Caller, range: WatchRange, options: WatchOptions) {
    this.#caller = caller;
    this.#range = range;
    this.#options = options;
    this.#toldRevision = options.from === undefined ? null : options.from - 1;
    const given = options.signal === undefined ? [] : [options.signal];
    this.#signal = AbortSignal.any([this.#closed.signal, ...given]);
  }

  /**
   * Resolves when the watch has begun, with the revision after which it tells everything. Without
   * it, a watch begins with its iteration. Rejects as the iteration does. A watch that is not
   * iterated after all must be closed.
   */
  async start(): Promise<number> {
    while (this.#toldRevision === null || this.#lines === null) await this.#open();
    return this.#toldRevision;
  }

  /** Ends the iteration as if its loop had been left, also while it waits. Idempotent. */
  close(): void {
    this.#closed.abort();
    this.#leave();
  }

  /** Every change up to this revision, inclusive, has been told. Null before the beginning. */
  get revision(): number | null {
    return this.#toldRevision;
  }

  /**
   * The events, until the loop is left. Rejects with REVISION_COMPACTED when what comes next has
   * been compacted away (read the range anew, and watch from there), ABORTED, CLIENT_CLOSED, and
   * what refuses the request as such. Everything else it waits for, without limit.
   *
   * One iteration a watch: the next one goes on where the last was left.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<WatchEvent, void, undefined> {
    if (this.#isIterated) {
      throw new ClientError('INVALID_ARGUMENT', 'a watch is iterated by one loop at a time');
    }
    this.#isIterated = true;
    try {
      for (;;) {
        const fields = await this.#nextLine();
        const event = fields === null ? null : this.#take(fields);
        if (event !== null) yield event;
      }
    } catch (error) {
      if (!this.#closed.signal.aborted) throw error;
    } finally {
      this.#isIterated = false;
      this.#leave();
    }
  }

  /** Null: the stream has ended, and the next call goes on with another. */
  async #nextLine(): Promise<JsonObject | null> {
    if (this.#lines === null) {
      await this.#open();
      return null;
    }
    try {
      const next = await this.#lines.next();
      this.#throwIfEnded();
      if (next.done !== true) return next.value;
      this.#leave();
    } catch (error) {
      this.#leave();
      this.#throwIfEnded();
      if (!(error instanceof SendError)) throw error;
      this.#noteFailure();
    }
    return null;
  }

  /** An event to tell, if the line has one that was not told before. */
  #take(fields: JsonObject): WatchEvent | null {
    const revision = integerField(fields, 'revision');
    if (fields['type'] === 'end') {
      this.#leave();
      const code = fields['code'];
      if (code === 'REVISION_COMPACTED') throw compacted(fields, this.#place?.endpoint.origin);
      // Too slow was the reader, not the node.
      if (code !== 'WATCH_TOO_SLOW') this.#noteFailure();
      return null;
    }
    if (fields['type'] === 'progress') {
      this.#moveTo(revision);
      return null;
    }
    const told = this.#toldRevision;
    if (told !== null && revision <= told) return null;
    const event = readEvent(fields);
    if (event === null) return null;
    this.#seenCount = revision === this.#seenRevision ? this.#seenCount + 1 : 1;
    this.#seenRevision = revision;
    const isKnown = revision === this.#partRevision && this.#seenCount <= this.#partCount;
    if (event.isLast) {
      this.#moveTo(revision);
    } else if (!isKnown) {
      this.#partRevision = revision;
      this.#partCount = this.#seenCount;
    }
    return isKnown ? null : event;
  }

  #moveTo(revision: number): void {
    if (this.#toldRevision !== null && revision <= this.#toldRevision) return;
    this.#toldRevision = revision;
  }

  /** Makes `#lines`, or waits a little and leaves it null. Throws what ends the watch. */
  async #open(): Promise<void> {
    this.#throwIfEnded();
    const signal = this.#signal;
    const {endpoint, waitMs} = this.#caller.endpoints.pick();
    if (waitMs > 0) await this.#caller.sleep(waitMs, signal);
    this.#throwIfEnded();
    this.#place = {endpoint, epoch: endpoint.epoch};
    const request = {
      method: 'GET',
      target: this.#target(),
      headers: {Accept: 'application/x-ndjson'},
      body: null,
    } as const;
    try {
      const options = {signal, timeoutMs: openTimeoutMs};
      const stream = await this.#caller.sender.open(endpoint.origin, request, options);
      if (stream.status === 200) await this.#begin(stream, endpoint);
      else await this.#refused(stream, endpoint.origin);
    } catch (error) {
      this.#throwIfEnded();
      if (!(error instanceof SendError)) throw error;
      this.#noteFailure();
    }
  }

  async #begin(stream: HttpStream, endpoint: Endpoint): Promise<void> {
    this.#stream = stream;
    this.#lines = this.#linesOf(stream);
    this.#seenRevision = 0;
    this.#seenCount = 0;
    if (this.#toldRevision !== null) {
      this.#caller.endpoints.succeeded(endpoint);
      return;
    }
    // The first line says where a watch without `from` begins. Until it is here there is no place
    // to go on from, and none is needed: nothing was told.
    const first = await this.#nextLine();
    if (first === null) return;
    this.#take(first);
    this.#caller.endpoints.succeeded(endpoint);
  }

  async #refused(stream: HttpStream, endpoint: string): Promise<void> {
    const body = await refusalOf(stream);
    const {status} = stream;
    const answer = {status, header: (name: string) => stream.header(name), body};
    const problem = readProblem(answer);
    if (problem === null || remedyFor(problem.code) !== 'never') {
      // Whoever answers something else is in the way of the nodes, for a while perhaps.
      this.#noteFailure();
      return;
    }
    throw new ClientError(problem.code, problem.detail, {status, endpoint});
  }

  #target(): string {
    const range = this.#range;
    checkObject(this.#options, 'the options of a watch', watchOptionNames);
    checkRange(range, watchRangeNames, false);
    const keys =
      'key' in range ? [['key', percentEncode(range.key, 'the key')] as const] : rangeQuery(range);
    const told = this.#toldRevision;
    return `/watch${queryOf([
      ...keys,
      ['from', told === null ? undefined : told + 1],
      ['prev', this.#options.previous === true ? 'true' : undefined],
    ])}`;
  }

  #noteFailure(): void {
    const place = this.#place;
    if (place !== null) this.#caller.endpoints.failed(place.endpoint, place.epoch);
  }

  async *#linesOf(stream: HttpStream): AsyncGenerator<JsonObject> {
    const lines = new JsonLines();
    this.#expectMore(stream);
    for await (const bytes of stream.chunks) {
      // However long the reader works on these, it is not the node that is silent.
      clearTimeout(this.#silenceTimer);
      yield* lines.feed(bytes);
      this.#expectMore(stream);
    }
  }

  /** A stream that is silent from now on is given up. One that was left needs no timer. */
  #expectMore(stream: HttpStream): void {
    clearTimeout(this.#silenceTimer);
    if (this.#stream !== stream) return;
    this.#silenceTimer = setTimeout(() => stream.close(), silenceMsMax);
  }

  #leave(): void {
    this.#stream?.close();
    this.#stream = null;
    // Left at one of its lines, it would keep its timer, and with it the process, to the end.
    void this.#lines?.return(undefined).catch(() => undefined);
    this.#lines = null;
    clearTimeout(this.#silenceTimer);
  }

  #throwIfEnded(): void {
    if (this.#signal.aborted) {
      this.#leave();
      if (this.#closed.signal.aborted) throw new ClientError('ABORTED', 'the watch was closed');
      const cause: unknown = this.#signal.reason;
      throw new ClientError('ABORTED', 'the signal of the watch fired', {cause});
    }
    if (this.#caller.isClosed) throw new ClientError('CLIENT_CLOSED', 'the client was closed');
  }
}

const refusalSizeMax = 64 * 1024;

/** Its text, as far as it comes in time. Rejects with SendError. */
async function refusalOf(stream: HttpStream): Promise<string> {
  const decoder = new TextDecoder();
  const timer = setTimeout(() => stream.close(), openTimeoutMs);
  let body = '';
  try {
    for await (const piece of stream.chunks) {
      body += decoder.decode(piece, {stream: true});
      if (body.length > refusalSizeMax) break;
    }
  } finally {
    clearTimeout(timer);
    stream.close();
  }
  return body;
}

function compacted(
  fields: JsonObject,
  endpoint: string | undefined,
): ClientError<'REVISION_COMPACTED'> {
  const {detail} = fields;
  return new ClientError(
    'REVISION_COMPACTED',
    typeof detail === 'string' ? detail : 'what comes next has been compacted away',
    {status: 410, endpoint: endpoint ?? null},
  );
}
