/**
 * One request and its answer. Handlers read the request from here and answer exactly once; each
 * answer has a Content-Length. Answering a client that has gone is allowed and does nothing.
 */
import {Buffer} from 'node:buffer';
import type {OutgoingHttpHeader} from 'node:http';
import {assert, AssertionError} from '../../base/assert.ts';
import type {Clock} from '../../base/clock.ts';
import {errorTable, RosettaError, type ErrorCode} from '../../base/errors.ts';
import type {Logger} from '../../base/logger.ts';
import type {TurnBudget} from '../../base/turn-budget.ts';
import type {Service} from '../../node/service.ts';
import type {WatchService} from '../../node/watch-service.ts';
import {uncountedSizeBytesMax, type BufferBudget, type HoldOutcome} from './buffer-budget.ts';
import {corsHeaders} from './origin-check.ts';
import type {ParameterSet} from './parameter.ts';
import {problemJson, problemType, retryAfterSeconds} from './problem.ts';
import {parseQuery, type QueryParameters} from './query-parameters.ts';
import type {RequestHeaders} from './request-headers.ts';
import type {Answer, AnswerBody, AnswerStream, Ending, StreamEvents, Wire} from './wire.ts';

/** What all exchanges of one HttpApi share. */
export interface ApiContext {
  readonly service: Service;
  readonly watches: WatchService;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly budget: BufferBudget;
  /** Bytes of bodies worked on in one turn of the event loop. */
  readonly turnBudget: TurnBudget;
  /** Origins, as browsers write them, whose pages may use the API. */
  readonly corsOrigins: ReadonlySet<string>;
  /** Host names of this server, lower case, that a browser may know it by. */
  readonly hostNames: ReadonlySet<string>;
  readonly metricsText: () => Promise<string>;
  /** The document of GET /openapi.json. */
  readonly openApiText: () => string;
  readonly observe: (route: string, method: string, status: number, durationMs: number) => void;
  /** While stopping, every answer closes its connection. */
  isStopping: boolean;
}

const noHeaders: readonly OutgoingHttpHeader[] = [];
const noRoom = 'too much is being sent and received at once';

export class Exchange {
  readonly context: ApiContext;
  readonly wire: Wire;
  readonly headers: RequestHeaders;
  readonly method: string;
  /** The raw query. */
  readonly query: string;
  /** The name of the route, for metrics. */
  readonly route: string;
  /** The raw path behind the prefix of a route with a parameter. */
  readonly rest: string;
  readonly #startedAtMs: number;
  /** The client waits for `100 Continue` before it sends the body. */
  #isHeldBack: boolean;
  #isAnswered = false;
  /** What was done cannot be refused any more, for want of memory for instance. */
  #mustAnswer: boolean;

  constructor(
    context: ApiContext,
    wire: Wire,
    parsed: {
      readonly headers: RequestHeaders;
      readonly query: string;
      readonly route: string;
      readonly rest: string;
      readonly isHeldBack: boolean;
    },
  ) {
    this.context = context;
    this.wire = wire;
    this.headers = parsed.headers;
    this.method = wire.method;
    this.query = parsed.query;
    this.route = parsed.route;
    this.rest = parsed.rest;
    this.#isHeldBack = parsed.isHeldBack;
    this.#mustAnswer = !this.isRead;
    this.#startedAtMs = context.clock.monotonicMs();
  }

  get isRead(): boolean {
    return this.method === 'GET' || this.method === 'HEAD' || this.method === 'OPTIONS';
  }

  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /** The client has gone: work for it may stop. */
  get isGone(): boolean {
    return this.wire.isGone;
  }

  get startedAtMs(): number {
    return this.#startedAtMs;
  }

  parameters(known: ParameterSet): QueryParameters {
    return parseQuery(this.query, known.names);
  }

  /** Lets a client go on that announced `Expect: 100-continue`. */
  invite(): void {
    if (!this.#isHeldBack) return;
    this.#isHeldBack = false;
    this.wire.invite();
  }

  /** `revision` 0: the answer says nothing about the store. */
  sendJson(
    status: number,
    text: string,
    revision: number,
    more: readonly OutgoingHttpHeader[] = noHeaders,
  ): void {
    this.#send(status, {type: 'application/json', body: text, revision, more});
  }

  /** The request is no read by its method, and has turned out to be one. */
  changedNothing(): void {
    this.#mustAnswer = false;
  }

  /** Throws OVERLOADED while no memory is left for answers; for what may have a large one. */
  requireRoom(): void {
    if (this.context.budget.isFull) throw new RosettaError('OVERLOADED', noRoom);
  }

  /** The chunks of one JSON text, made beforehand. */
  sendJsonChunks(chunks: readonly Uint8Array[], revision: number): void {
    this.#send(200, {type: 'application/json', body: chunks, revision, more: noHeaders});
  }

  sendBytes(
    type: string,
    bytes: Uint8Array | string,
    revision: number,
    more: readonly OutgoingHttpHeader[] = noHeaders,
  ): void {
    this.#send(200, {type, body: bytes, revision, more});
  }

  /** 204 and 304: nothing but headers. */
  sendEmpty(status: number, revision: number, more: readonly OutgoingHttpHeader[]): void {
    this.#send(status, {type: null, body: null, revision, more});
  }

  /** Begins an answer with status 200 whose content is made while it is sent. */
  stream(
    type: string,
    revision: number,
    more: readonly OutgoingHttpHeader[],
    events: StreamEvents,
  ): AnswerStream {
    assert(!this.#isAnswered, '% % is answered twice', this.method, this.route);
    this.#isAnswered = true;
    const {wire} = this;
    const head = {status: 200, type, revision, ...this.#originHeaders(more)};
    return wire.stream(head, {
      onDrain: events.onDrain,
      onClose: () => {
        this.#observe(200);
        events.onClose();
      },
    });
  }

  sendProblem(
    code: ErrorCode,
    detail: string,
    revision = 0,
    more: readonly OutgoingHttpHeader[] = noHeaders,
  ): void {
    const {status} = errorTable[code];
    const body = problemJson(code, detail, this);
    const seconds = retryAfterSeconds(status);
    const all = seconds === null ? more : [...more, 'Retry-After', seconds];
    this.#send(status, {type: problemType, body, revision, more: all});
  }

  /** Answers an operating error. A programmer's error is thrown on: it stops the process. */
  fail(error: unknown, revision = 0): void {
    if (!(error instanceof RosettaError)) throw error;
    this.sendProblem(error.code, error.message, revision);
  }

  /**
   * Takes `sizeBytes` from the memory budget until `release`. False: there is none, and the
   * exchange is over.
   */
  hold(sizeBytes: number): boolean {
    switch (this.context.budget.hold(this.wire.socket, sizeBytes)) {
      case 'held':
        return true;
      case 'connection-full':
        this.#isAnswered = true;
        this.wire.socket.destroy();
        return false;
      case 'server-full':
        this.sendProblem('OVERLOADED', noRoom);
        return false;
    }
  }

  release(sizeBytes: number): void {
    this.context.budget.release(this.wire.socket, sizeBytes);
  }

  #send(status: number, content: Content): void {
    assert(!this.#isAnswered, '% % is answered twice', this.method, this.route);
    const {wire} = this;
    const {type, body, revision} = content;
    const sizeBytes = sizeOf(body);
    const isCounted = sizeBytes > uncountedSizeBytesMax && this.method !== 'HEAD';
    const outcome = isCounted && !wire.isGone ? this.#holdUntilSent(sizeBytes) : 'held';
    if (outcome === 'server-full') {
      this.sendProblem('OVERLOADED', noRoom, revision);
      return;
    }
    this.#isAnswered = true;
    this.#observe(status);
    if (outcome === 'connection-full') wire.socket.destroy();
    if (wire.isGone) return;
    const {vary, more} = this.#originHeaders(content.more);
    wire.send({
      status,
      type,
      sizeBytes,
      revision,
      vary,
      more,
      body: this.method === 'HEAD' ? null : body,
      ending: this.#ending(),
    });
  }

  #observe(status: number): void {
    const durationMs = this.context.clock.monotonicMs() - this.#startedAtMs;
    this.context.observe(this.route, this.method, status, durationMs);
  }

  /** What the answer says of browsers, beside the headers `more`. */
  #originHeaders(more: readonly OutgoingHttpHeader[]): Pick<Answer, 'vary' | 'more'> {
    const {corsOrigins} = this.context;
    if (corsOrigins.size === 0) return {vary: 'Accept', more};
    return {
      vary: 'Accept, Origin',
      more: [...more, ...corsHeaders(this.headers.origin, corsOrigins)],
    };
  }

  #ending(): Ending {
    if (this.#hasLargeBodyUnread()) return this.#isHeldBack ? 'close' : 'linger';
    return this.#isHeldBack || this.context.isStopping ? 'close' : 'keep';
  }

  #holdUntilSent(sizeBytes: number): HoldOutcome {
    const {budget} = this.context;
    const {socket} = this.wire;
    const outcome = budget.holdAnswer(socket, sizeBytes, {mustFit: this.#mustAnswer});
    if (outcome === 'held') this.wire.onceSent(() => budget.release(socket, sizeBytes));
    return outcome;
  }

  /** A small rest is read and dropped by the server; a large one would only cost time. */
  #hasLargeBodyUnread(): boolean {
    const {isChunked, contentLength} = this.headers;
    if (this.wire.isComplete) return false;
    return isChunked || (contentLength ?? 0) > lingerThresholdSizeBytes;
  }
}

const lingerThresholdSizeBytes = 64 * 1024;

/** What differs between answers. */
interface Content {
  /** Null: there is none. */
  readonly type: string | null;
  readonly body: AnswerBody;
  readonly revision: number;
  readonly more: readonly OutgoingHttpHeader[];
}

function sizeOf(body: AnswerBody): number {
  if (body === null) return 0;
  if (typeof body === 'string') return Buffer.byteLength(body);
  if (body instanceof Uint8Array) return body.length;
  return body.reduce((sum, chunk) => sum + chunk.length, 0);
}

/** For answers to what is no exchange yet: a target or a header list that was refused. */
export function mustBeOperating(error: unknown): RosettaError {
  if (error instanceof RosettaError) return error;
  throw error instanceof Error ? error : new AssertionError(String(error));
}
