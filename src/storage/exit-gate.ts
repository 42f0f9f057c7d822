/**
 * Keeps the process from ending while another thread of it is inside LMDB: what LMDB reports to a
 * thread that is being torn down aborts the whole process, with a native stack trace in the place
 * of the exit code. The thread passes the gate with every piece of work; who wants to exit waits,
 * for a while, until nobody is inside, and then nobody enters any more.
 */
import {assert} from '../base/assert.ts';

// Two numbers that both threads see.
const insideAt = 0;
const closedAt = 1;

export class ExitGate {
  /** To be handed to the other thread, which makes its own ExitGate of it. */
  readonly shared: SharedArrayBuffer;
  readonly #state: Int32Array;

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#state = new Int32Array(shared);
  }

  /** False: the process is about to exit. Otherwise `leave` must follow. */
  enter(): boolean {
    const before = Atomics.exchange(this.#state, insideAt, 1);
    assert(before === 0, 'one piece of work at a time');
    // Looked at from inside: who closes looks here only after it has closed.
    if (Atomics.load(this.#state, closedAt) === 0) return true;
    this.leave();
    return false;
  }

  leave(): void {
    const before = Atomics.exchange(this.#state, insideAt, 0);
    assert(before === 1, 'who leaves has entered');
    Atomics.notify(this.#state, insideAt);
  }

  /** One piece of work that no message brought. Throws when the process is about to exit. */
  run<Result>(work: () => Result): Result {
    if (!this.enter()) throw new Error('the process is about to end');
    try {
      return work();
    } finally {
      this.leave();
    }
  }

  /** For good. Blocks the calling thread, at most so long; false: somebody is still inside. */
  close(timeoutMs: number): boolean {
    Atomics.store(this.#state, closedAt, 1);
    return Atomics.wait(this.#state, insideAt, 1, timeoutMs) !== 'timed-out';
  }
}
