/**
 * One call: attempts until an answer, the deadline, or the caller's signal. What certainly did
 * nothing is sent again freely; so is what can be repeated without harm. A write whose outcome is
 * unknown is sent again only under the idempotency key of its first attempt, so it happens once.
 */
import {must} from '../base/assert.ts';
import type {ErrorCode} from '../base/errors.ts';
import {ClientError, invalidArgument} from './client-error.ts';
import {clientLimits, type CallOptions, type Surroundings} from './client-options.ts';
import type {Endpoint, Endpoints} from './endpoints.ts';
import {SendError, type HttpAnswer, type HttpRequest, type HttpSender} from './http-sender.ts';
import {isCommittedRefusal, readProblem, remedyFor, unexpectedAnswer} from './problem.ts';
import type {WriteKey, WriteKeys} from './write-keys.ts';

export interface Call {
  readonly method: HttpRequest['method'];
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** `freely`: reads, and what may happen twice. `with-key`: everything else that writes. */
  readonly repeat: 'freely' | 'with-key';
  /** A refusal that the caller takes for an answer. */
  readonly accepts?: ErrorCode;
  /** Instead of the client's endpoints: this one alone. */
  readonly endpoint?: Endpoint;
  /** After each attempt that failed: what the call would reject with now. */
  readonly onFailed?: (error: ClientError) => void;
}

export interface CallerOptions {
  readonly endpoints: Endpoints;
  readonly surroundings: Surroundings;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
}

const noHeaders: Readonly<Record<string, string>> = {};
/** How much earlier than the client the server gives up, so that its answer still arrives. */
const answerMarginMsMax = 250;
const farewellMsMax = 250;
/** An attempt after the first takes so long at least. */
const attemptMsMin = 20;
const laterMsMin = 50;
const laterMsMax = 1_000;

export class Caller {
  readonly #endpoints: Endpoints;
  readonly #surroundings: Surroundings;
  readonly #timeoutMs: number;
  readonly #attemptTimeoutMs: number;
  #keys: WriteKeys | null = null;
  #isClosed = false;
  /** Wakes whoever waits between two attempts. */
  readonly #sleepers = new Set<() => void>();

  constructor(options: CallerOptions) {
    this.#endpoints = options.endpoints;
    this.#surroundings = options.surroundings;
    this.#timeoutMs = options.timeoutMs;
    this.#attemptTimeoutMs = options.attemptTimeoutMs;
  }

  /** Once, before the first write: keys are made by calls of their own. */
  useKeys(keys: WriteKeys): void {
    this.#keys = keys;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get endpoints(): Endpoints {
    return this.#endpoints;
  }

  get sender(): HttpSender {
    return this.#surroundings.sender;
  }

  nowMs(): number {
    return this.#surroundings.nowMs();
  }

  /** Ends all calls. `farewell` is sent first, once and without waiting long. Never rejects. */
  async close(farewell: Pick<HttpRequest, 'method' | 'target'> | null): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const wake of this.#sleepers) wake();
    const {sender} = this.#surroundings;
    if (farewell !== null) {
      const {endpoint} = this.#endpoints.pick();
      const options = {signal: undefined, timeoutMs: farewellMsMax};
      const request = {...farewell, headers: noHeaders, body: null};
      await sender.send(endpoint.origin, request, options).catch(() => undefined);
    }
    sender.close();
  }

  /** Resolves with an answer of status 200 or an accepted refusal. Rejects with ClientError. */
  async call(call: Call, options: CallOptions = {}): Promise<HttpAnswer> {
    const deadlineMs = this.nowMs() + this.#timeoutOf(options);
    const {signal} = options;
    const course = new Course(call, signal);
    this.#check(course);
    let isAnswered = false;
    try {
      for (;;) {
        if (call.repeat === 'with-key' && course.key === null) {
          course.key = await this.#takeKey(course, deadlineMs);
          // Not before the course has the key: a number that nobody settles stops the session.
          this.#check(course);
        }
        const answer = await this.#attempt(course, deadlineMs);
        if (answer === null) continue;
        isAnswered = true;
        return answer;
      }
    } catch (error) {
      isAnswered = course.isSettled;
      throw error;
    } finally {
      course.key?.settle({isAnswered});
    }
  }

  /**
   * Waits for what is made for several callers, each with its own deadline and signal. `late`: why
   * nothing was asked by the deadline.
   */
  async within<T>(promise: Promise<T>, options: CallOptions, late: string): Promise<T> {
    const {signal} = options;
    const patience = new AbortController();
    const giveUp = (): void => patience.abort();
    signal?.addEventListener('abort', giveUp, {once: true});
    if (signal?.aborted === true) giveUp();
    try {
      return await Promise.race([
        promise,
        this.sleep(this.#timeoutOf(options), patience.signal).then(() => {
          if (signal?.aborted === true) {
            throw new ClientError('ABORTED', 'the signal of the call fired', {
              cause: signal.reason,
            });
          }
          if (this.#isClosed) throw new ClientError('CLIENT_CLOSED', 'the client was closed');
          throw new ClientError('NO_ENDPOINT', late);
        }),
      ]);
    } finally {
      signal?.removeEventListener('abort', giveUp);
      patience.abort();
    }
  }

  #takeKey(course: Course, deadlineMs: number): Promise<WriteKey> {
    const timeoutMs = Math.max(1, deadlineMs - this.nowMs());
    const keys = must(this.#keys, 'a write needs keys');
    return keys.take({signal: course.signal, timeoutMs});
  }

  /** Waits, unless the client is closed or `signal` fires before. */
  async sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#isClosed || signal?.aborted === true) return;
    await new Promise<void>(resolve => {
      const wake = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', wake);
        this.#sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      signal?.addEventListener('abort', wake, {once: true});
      this.#sleepers.add(wake);
    });
  }

  /** Null: nothing came of it, go on. Throws what ends the call. */
  async #attempt(course: Course, deadlineMs: number): Promise<HttpAnswer | null> {
    const {call, signal} = course;
    const {endpoint, waitMs} =
      call.endpoint === undefined
        ? this.#endpoints.pick()
        : {endpoint: call.endpoint, waitMs: course.laterMs()};
    const pauseMs = Math.max(waitMs, course.pauseMs);
    course.pauseMs = 0;
    if (pauseMs > 0) {
      // Whoever cannot be asked in time is not asked.
      if (this.nowMs() + pauseMs >= deadlineMs) throw course.timedOut();
      await this.sleep(pauseMs, signal);
      this.#check(course);
    }
    const remainingMs = deadlineMs - this.nowMs();
    // What cannot be answered in time would only make the outcome unknown.
    if (remainingMs < (course.hasFailed ? attemptMsMin : 0)) throw course.timedOut();
    const timeoutMs = Math.min(remainingMs, this.#attemptTimeoutMs);
    const {epoch} = endpoint;
    course.endpoint = endpoint.origin;
    let answer: HttpAnswer;
    try {
      const request = requestOf(course, timeoutMs);
      answer = await this.#surroundings.sender.send(endpoint.origin, request, {signal, timeoutMs});
    } catch (error) {
      if (!(error instanceof SendError)) throw error;
      course.noteSilence(error);
      this.#check(course);
      this.#endpoints.failed(endpoint, epoch);
      return null;
    }
    // This API knows no other success: a redirection, or an answer without content, is not its own.
    if (answer.status === 200) {
      this.#endpoints.succeeded(endpoint);
      return answer;
    }
    return this.#judge(course, answer, endpoint, epoch);
  }

  #judge(course: Course, answer: HttpAnswer, endpoint: Endpoint, epoch: number): HttpAnswer | null {
    const problem = readProblem(answer);
    if (problem === null) {
      course.noteRefusal(unexpectedAnswer(answer, endpoint.origin));
      this.#endpoints.failed(endpoint, epoch);
      return null;
    }
    const {code, detail, outcome} = problem;
    const remedy = remedyFor(code);
    if (remedy === 'never' || remedy === 'later') this.#endpoints.succeeded(endpoint);
    if (code === course.call.accepts) return answer;
    const fields = {outcome, status: answer.status, endpoint: endpoint.origin};
    course.noteRefusal(new ClientError(code, detail, fields));
    if (code === 'SESSION_EXPIRED' && course.key !== null) {
      course.expireKey();
      return null;
    }
    if (remedy === 'never') throw course.refused(isCommittedRefusal(code));
    if (remedy === 'later') course.pauseMs = pauseAsked(answer, course.laterMs());
    else this.#endpoints.failed(endpoint, epoch);
    return null;
  }

  #check(course: Course): void {
    if (course.signal?.aborted === true) throw course.aborted(course.signal.reason);
    if (this.#isClosed) throw course.closed();
  }

  #timeoutOf(options: CallOptions): number {
    const {timeoutMs} = options;
    if (timeoutMs === undefined) return this.#timeoutMs;
    return checkedTimeout(timeoutMs, 'timeoutMs', clientLimits.timeoutMsMax);
  }
}

export function checkedTimeout(ms: number, name: string, msMax: number): number {
  if (ms >= 1 && ms <= msMax) return ms;
  throw invalidArgument(`${name} must be 1 to ${msMax} milliseconds`);
}

/** What is known so far of one call. */
class Course {
  readonly call: Call;
  readonly signal: AbortSignal | undefined;
  key: WriteKey | null = null;
  endpoint: string | null = null;
  /** A refusal was the committed answer. */
  isSettled = false;
  /** To wait before the next attempt. */
  pauseMs = 0;
  /** An attempt may have written, and no later answer said what became of it. */
  #isUnknown = false;
  #last: ClientError | SendError | null = null;
  #failureCount = 0;

  constructor(call: Call, signal: AbortSignal | undefined) {
    this.call = call;
    this.signal = signal;
  }

  get hasFailed(): boolean {
    return this.#failureCount > 0;
  }

  noteSilence(error: SendError): void {
    if (this.call.repeat === 'with-key' && error.mayHaveArrived) this.#isUnknown = true;
    this.#note(error);
  }

  noteRefusal(error: ClientError): void {
    if (this.call.repeat === 'with-key' && error.outcome === 'unknown') this.#isUnknown = true;
    this.#note(error);
  }

  /**
   * The session is gone. What certainly never ran gets a new number; of anything else nobody can
   * know, and it must not run again.
   */
  expireKey(): void {
    this.key?.expire();
    if (this.#isUnknown) {
      const detail = 'the write may or may not have happened, and its session has ended';
      const {endpoint} = this;
      throw new ClientError('OUTCOME_UNKNOWN', detail, {outcome: 'unknown', status: 409, endpoint});
    }
    this.key?.settle({isAnswered: true});
    this.key = null;
  }

  #note(error: ClientError | SendError): void {
    this.#last = error;
    this.#failureCount += 1;
    this.call.onFailed?.(this.#final());
  }

  /** Longer with each attempt that failed; 0 before the first. */
  laterMs(): number {
    if (this.#failureCount === 0) return 0;
    return Math.min(laterMsMax, laterMsMin * 2 ** Math.min(this.#failureCount - 1, 10));
  }

  /** `settles`: the refusal is the committed answer. */
  refused(settles: boolean): ClientError {
    this.isSettled = settles;
    if (settles) this.#isUnknown = false;
    return this.#final();
  }

  timedOut(): ClientError {
    return this.#final();
  }

  aborted(reason: unknown): ClientError {
    return new ClientError('ABORTED', 'the signal of the call fired', {
      outcome: this.#outcome(),
      endpoint: this.endpoint,
      cause: reason,
    });
  }

  closed(): ClientError {
    const detail = 'the client was closed';
    const {endpoint} = this;
    return new ClientError('CLIENT_CLOSED', detail, {outcome: this.#outcome(), endpoint});
  }

  #outcome(): 'definite' | 'unknown' {
    return this.#isUnknown ? 'unknown' : 'definite';
  }

  #final(): ClientError {
    const last = this.#last;
    const {endpoint} = this;
    if (last instanceof ClientError) {
      const {code, detail, status, cause} = last;
      return new ClientError(code, detail, {outcome: this.#outcome(), status, endpoint, cause});
    }
    const why = last === null ? 'the deadline left no time to ask' : last.message;
    const options = {endpoint, ...(last === null ? {} : {cause: last})};
    if (this.#isUnknown) {
      const detail = `the write may or may not have happened: ${why}`;
      return new ClientError('OUTCOME_UNKNOWN', detail, {...options, outcome: 'unknown'});
    }
    return new ClientError('NO_ENDPOINT', `no endpoint answered in time: ${why}`, options);
  }
}

function requestOf(course: Course, timeoutMs: number): HttpRequest {
  const {method, target, headers = noHeaders, body = null} = course.call;
  const keyed = course.key === null ? headers : {...headers, ...course.key.headers()};
  const marginMs = Math.min(answerMarginMsMax, timeoutMs / 4);
  const serverMs = Math.max(1, Math.floor(timeoutMs - marginMs));
  const separator = target.includes('?') ? '&' : '?';
  return {method, target: `${target}${separator}timeout=${serverMs}`, headers: keyed, body};
}

/** Retry-After is in seconds; without it, or hidden by a browser, the client's own pause. */
function pauseAsked(answer: HttpAnswer, laterMs: number): number {
  const seconds = Number(answer.header('retry-after') ?? Number.NaN);
  return seconds >= 0 ? Math.max(seconds * 1000, laterMs) : laterMs;
}
