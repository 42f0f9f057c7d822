/**
 * Sessions: write keys that stay good however late an attempt arrives. The client numbers its
 * writes within a session, and says with each up to which number it has all answers. A node keeps
 * the answers beyond that, so a number runs once; what arrives when its number was acknowledged, or
 * its session has ended, is refused and never run.
 */
import type {Caller} from './call.ts';
import {ClientError, isClientError} from './client-error.ts';
import {mayPass} from './problem.ts';
import {parseObject, textField} from './record.ts';
import type {KeyOptions, WriteKey, WriteKeys} from './write-keys.ts';

/** Numbers beyond the acknowledged one that a node takes. */
const windowSize = 1_024;
/** Between two attempts to open a session within the time of one write. */
const openPauseMsMin = 50;
const openPauseMsMax = 1_000;
const notOpened = 'no node opened a session for the write in time';
const tooMany = 'as many writes were under way as a session takes, until the deadline of this one';

export class SessionKeys implements WriteKeys {
  readonly #caller: Caller;
  #session: Session | null = null;
  #opening: Promise<void> | null = null;
  /** What came of the last attempt to open one. */
  #failure: {readonly error: ClientError; readonly atMs: number} | null = null;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  async take({signal, timeoutMs}: KeyOptions): Promise<WriteKey> {
    const deadlineMs = this.#caller.nowMs() + timeoutMs;
    let pauseMs = openPauseMsMin;
    for (;;) {
      const session = this.#session;
      const leftMs = Math.max(1, deadlineMs - this.#caller.nowMs());
      const options = {signal, timeoutMs: leftMs};
      if (session === null) {
        const lastStartMs = deadlineMs - openPauseMsMin;
        const beganMs = deadlineMs - timeoutMs;
        if (await this.#isOpened(options, {beganMs, lastStartMs})) continue;
        const untilLastMs = Math.max(1, lastStartMs - this.#caller.nowMs());
        await this.#caller.sleep(Math.min(pauseMs, untilLastMs), signal);
        pauseMs = Math.min(2 * pauseMs, openPauseMsMax);
      } else if (session.isFull) await this.#caller.within(session.whenRoom(), options, tooMany);
      else if (session.isSpent) this.#session = null;
      else return session.take(() => this.#forget(session));
    }
  }

  /** The id of the session that is open, for its end. */
  get sessionId(): string | null {
    return this.#session?.id ?? null;
  }

  #forget(session: Session): void {
    if (this.#session === session) this.#session = null;
  }

  /**
   * False: a session that could not be opened in the client's time may still be in this write's.
   * Rejects when no other attempt can begin by `lastStartMs`, with what the nodes said last since
   * the write began. What failed may have failed without asking anybody, at once: the next attempt
   * has to wait.
   */
  async #isOpened(
    options: KeyOptions,
    {beganMs, lastStartMs}: {readonly beganMs: number; readonly lastStartMs: number},
  ): Promise<boolean> {
    try {
      await this.#caller.within(this.#open(), options, notOpened);
      return true;
    } catch (error) {
      if (!isClientError(error) || !mayPass(error.code)) throw error;
      if (this.#caller.nowMs() < lastStartMs) return false;
      const failure = this.#failure;
      throw unsent(failure !== null && failure.atMs >= beganMs ? failure.error : error);
    }
  }

  /** For everybody who waits for it. */
  #open(): Promise<void> {
    this.#opening ??= this.#request().finally(() => (this.#opening = null));
    return this.#opening;
  }

  async #request(): Promise<void> {
    // One that nobody uses, because its answer was lost, ends by itself.
    const answer = await this.#caller.call({
      method: 'POST',
      target: '/session',
      repeat: 'freely',
      onFailed: error => (this.#failure = {error, atMs: this.#caller.nowMs()}),
    });
    this.#session = new Session(textField(parseObject(answer.body), 'id'));
  }
}

class Session {
  readonly id: string;
  #next = 1;
  /** Of all numbers up to it, inclusive, the client waits for no answer. */
  #acknowledged = 0;
  /** The highest number that a node has answered. */
  #answered = 0;
  /** Settled numbers beyond `#acknowledged`. */
  readonly #settled = new Set<number>();
  #waiters: (() => void)[] = [];

  constructor(id: string) {
    this.id = id;
  }

  /** As many writes are under way as a node takes. */
  get isFull(): boolean {
    return this.#next > this.#acknowledged + windowSize;
  }

  /**
   * Nodes take numbers, and acknowledgements, only so far beyond those that reached them. After so
   * many that did not, the next could be too far ahead.
   */
  get isSpent(): boolean {
    return this.#next > this.#answered + windowSize;
  }

  whenRoom(): Promise<void> {
    return new Promise(resolve => this.#waiters.push(resolve));
  }

  take(forget: () => void): WriteKey {
    const number = this.#next++;
    return {
      headers: () => ({
        'Idempotency-Key': `${this.id}/${number}`,
        'Idempotency-Acknowledged': String(this.#acknowledged),
      }),
      settle: ({isAnswered}) => this.#settle(number, isAnswered),
      expire: forget,
    };
  }

  #settle(number: number, isAnswered: boolean): void {
    if (isAnswered) this.#answered = Math.max(this.#answered, number);
    this.#settled.add(number);
    while (this.#settled.delete(this.#acknowledged + 1)) this.#acknowledged += 1;
    if (this.isFull) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}

/** Of a write that found no session: whatever became of that, the write was not sent. */
function unsent(failure: ClientError): ClientError {
  if (failure.outcome === 'definite' && failure.code !== 'OUTCOME_UNKNOWN') return failure;
  const {detail, status, endpoint} = failure;
  return new ClientError('NO_ENDPOINT', `${notOpened}: ${detail}`, {
    status,
    endpoint,
    cause: failure,
  });
}
