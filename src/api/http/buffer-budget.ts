/**
 * Bounds the memory that bodies and answers occupy while clients send or read them slowly: per
 * connection, and for the whole server, where thousands of connections that each read 8 MiB very
 * slowly would otherwise add up. Small bodies and answers are not counted.
 */
import type {Socket} from 'node:net';
import {assert} from '../../base/assert.ts';
import {limits} from '../../base/limits.ts';

/** Sizes up to this are free: what they cost is bounded by the connection count. */
export const uncountedSizeBytesMax = 4 * 1024;

export type HoldOutcome = 'held' | 'connection-full' | 'server-full';

interface ConnectionUse {
  heldSizeBytes: number;
  isClosed: boolean;
}

export class BufferBudget {
  readonly #uses = new WeakMap<Socket, ConnectionUse>();
  #totalSizeBytes = 0;

  get totalSizeBytes(): number {
    return this.#totalSizeBytes;
  }

  /** The total is used up. */
  get isFull(): boolean {
    return this.#totalSizeBytes >= limits.httpBufferSizeBytesTotalMax;
  }

  hold(socket: Socket, sizeBytes: number): HoldOutcome {
    const use = this.#useOf(socket);
    if (use.heldSizeBytes + sizeBytes > limits.httpResponseBufferSizeBytesMax) {
      return 'connection-full';
    }
    if (this.#totalSizeBytes + sizeBytes > limits.httpBufferSizeBytesTotalMax) {
      return 'server-full';
    }
    if (use.isClosed) return 'held';
    use.heldSizeBytes += sizeBytes;
    this.#totalSizeBytes += sizeBytes;
    return 'held';
  }

  /**
   * For an answer, which exists already. Alone on its connection each one fits. `mustFit`: it
   * counts beyond the total too, up to twice as much, as that of a write does, which has happened;
   * beyond that its connection is to be cut.
   */
  holdAnswer(
    socket: Socket,
    sizeBytes: number,
    {mustFit}: {readonly mustFit: boolean},
  ): HoldOutcome {
    const use = this.#useOf(socket);
    const held = use.heldSizeBytes;
    if (held > 0 && held + sizeBytes > limits.httpResponseBufferSizeBytesMax) {
      return 'connection-full';
    }
    const total = this.#totalSizeBytes + sizeBytes;
    if (total > limits.httpBufferSizeBytesTotalMax && !mustFit) return 'server-full';
    if (total > 2 * limits.httpBufferSizeBytesTotalMax) return 'connection-full';
    if (use.isClosed) return 'held';
    use.heldSizeBytes += sizeBytes;
    this.#totalSizeBytes += sizeBytes;
    return 'held';
  }

  release(socket: Socket, sizeBytes: number): void {
    const use = this.#useOf(socket);
    // A closed connection has given back everything at once.
    if (use.isClosed) return;
    assert(use.heldSizeBytes >= sizeBytes, 'release % of %', sizeBytes, use.heldSizeBytes);
    use.heldSizeBytes -= sizeBytes;
    this.#totalSizeBytes -= sizeBytes;
  }

  #useOf(socket: Socket): ConnectionUse {
    const known = this.#uses.get(socket);
    if (known !== undefined) return known;
    const use: ConnectionUse = {heldSizeBytes: 0, isClosed: socket.destroyed};
    this.#uses.set(socket, use);
    // Answers that wait behind another on the connection never see a close event of their own.
    socket.once('close', () => {
      this.#totalSizeBytes -= use.heldSizeBytes;
      use.heldSizeBytes = 0;
      use.isClosed = true;
    });
    return use;
  }
}
