/**
 * One of the two connections this node keeps to a peer, used for sending only. Dials, dials again
 * with back-off, and notices a peer that vanished without a word:
 *
 *   1. The peer's host disappears; nothing is refused and nothing arrives.
 *   2. Heartbeats go into the kernel's buffer, so writes keep succeeding.
 *   3. TCP alone would find out in minutes, and resume seconds after the network is back.
 *
 * So every tick provokes an ack, and a connection without any ack for `peerAckTimeoutMs` worth of
 * ticks is destroyed. Ticks are counted, not milliseconds: after a pause of this process the acks
 * that wait in the socket are read before they are missed.
 */
import type {Socket} from 'node:net';
import type {Clock, Timer} from '../base/clock.ts';
import {emptyBytes} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {Prng} from '../base/prng.ts';
import type {NodeId} from '../raft/ids.ts';
import type {DialResult} from './dial.ts';
import {dial} from './dial.ts';
import {FrameParser} from './frame.ts';
import {FrameWriter} from './frame-writer.ts';
import type {EncodableMessage} from './message-codec.ts';
import {messageSizeBytes} from './message-codec.ts';
import {Backoff} from './reconnect.ts';
import type {Refusal} from './transport.ts';

/** A turn that gathers more than this is written before it ends. */
const flushSizeBytes = 256 * 1024;
const missedAckCountMax = Math.ceil(limits.peerAckTimeoutMs / limits.peerPingIntervalMs);

export interface OutgoingChannelOptions {
  readonly to: NodeId;
  readonly address: string;
  readonly bufferSizeBytesMax: number;
  readonly headers: () => Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly prng: Prng;
  /** Asks for one `flush` at the end of this turn. */
  readonly needFlush: (channel: OutgoingChannel) => void;
  readonly onOpen: () => void;
  readonly onLost: (reason: string) => void;
  readonly onRefused: (refusal: Refusal) => void;
  /** Nobody answered an attempt, or somebody else. */
  readonly onFailed: (reason: string) => void;
}

export class OutgoingChannel {
  readonly #options: OutgoingChannelOptions;
  readonly #backoff: Backoff;
  readonly #writer = new FrameWriter();
  #socket: Socket | null = null;
  #cancelDial: (() => void) | null = null;
  #redialTimer: Timer | null = null;
  /** Nobody answered the last attempt, or somebody who was not ready. */
  #wasUnreachable = false;
  #isFlushDue = false;
  #missedAckCount = 0;
  #droppedCount = 0;
  #isClosed = false;

  constructor(options: OutgoingChannelOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.prng);
    this.#dial();
  }

  get isOpen(): boolean {
    return this.#socket !== null;
  }

  get droppedCount(): number {
    return this.#droppedCount;
  }

  /** Accepted and not yet taken by the kernel. */
  get bufferedSizeBytes(): number {
    return this.#socket === null ? 0 : this.#writer.sizeBytes + this.#socket.writableLength;
  }

  send(message: EncodableMessage): boolean {
    const isWithinBound =
      this.bufferedSizeBytes + messageSizeBytes(message) <= this.#options.bufferSizeBytesMax;
    if (this.#socket === null || !isWithinBound) {
      this.#droppedCount += 1;
      return false;
    }
    this.#writer.message(message);
    if (this.#writer.sizeBytes >= flushSizeBytes) this.#write();
    else this.#requestFlush();
    return true;
  }

  flush(): void {
    this.#isFlushDue = false;
    this.#write();
  }

  /** Every peerPingIntervalMs, after the poll phase. */
  tick(): void {
    const socket = this.#socket;
    if (socket === null) return;
    if (this.#missedAckCount >= missedAckCountMax) {
      this.#lose(socket, 'no sign of life');
      return;
    }
    this.#missedAckCount += 1;
    this.#writer.frame('ping', emptyBytes);
    this.#write();
  }

  /**
   * The peer has just connected to this node, so it is there: whoever could not reach it before
   * need not wait until it is time to dial again. After a connection that was lost it does wait:
   * two that drop each other's connections must not do so without a pause.
   */
  hurry(): void {
    if (!this.#wasUnreachable || this.#redialTimer === null || this.#isClosed) return;
    this.#redialTimer.cancel();
    this.#backoff.reset();
    this.#dial();
  }

  /** Nothing is reported from now on. */
  close(): void {
    this.#isClosed = true;
    this.#redialTimer?.cancel();
    this.#cancelDial?.();
    this.#socket?.destroy();
    this.#socket = null;
    this.#writer.take();
  }

  #dial(): void {
    const {address, to, clock} = this.#options;
    const startedAtMs = clock.monotonicMs();
    this.#redialTimer = null;
    this.#cancelDial = dial({address, to, headers: this.#options.headers(), clock}, result => {
      this.#cancelDial = null;
      this.#onDialed(result, startedAtMs);
    });
  }

  #onDialed(result: DialResult, startedAtMs: number): void {
    const isRefused = result.type === 'refused';
    // A member that starts refuses everybody for a moment.
    const isStarting = isRefused && result.refusal.code === 'STARTING';
    this.#wasUnreachable = result.type === 'failed' || isStarting;
    if (result.type === 'open') {
      this.#adopt(result.socket, result.head);
      return;
    }
    this.#scheduleDial(startedAtMs);
    if (result.type === 'refused') this.#options.onRefused(result.refusal);
    else this.#options.onFailed(result.error.message);
  }

  #scheduleDial(startedAtMs: number): void {
    if (this.#isClosed) return;
    const {clock} = this.#options;
    const elapsedMs = clock.monotonicMs() - startedAtMs;
    this.#redialTimer = clock.setTimer(Math.max(0, this.#backoff.nextMs() - elapsedMs), () =>
      this.#dial(),
    );
  }

  #adopt(socket: Socket, head: Buffer): void {
    this.#socket = socket;
    this.#missedAckCount = 0;
    socket.setNoDelay(true);
    socket.setTimeout(0);
    const parser = new FrameParser((kind, payload) => {
      if (kind !== 'ack' || payload.length > 0) return false;
      // Only an acceptor that reads is worth dialing fast again.
      this.#missedAckCount = 0;
      this.#backoff.reset();
      return true;
    });
    const onData = (chunk: Buffer): void => {
      if (this.#socket !== socket) return;
      const problem = parser.push(chunk);
      if (problem !== null) this.#lose(socket, `not an ack: ${problem}`);
    };
    socket.on('error', error => this.#lose(socket, error.message));
    socket.on('end', () => this.#lose(socket, 'closed by the peer'));
    socket.on('close', () => this.#lose(socket, 'closed'));
    socket.on('data', onData);
    if (head.length > 0) onData(head);
    // The first ping makes the first ack, which resets the back-off.
    this.#writer.frame('ping', emptyBytes);
    this.#requestFlush();
    this.#options.onOpen();
  }

  #lose(socket: Socket, reason: string): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    socket.destroy();
    this.#writer.take();
    this.#scheduleDial(this.#options.clock.monotonicMs());
    this.#options.onLost(reason);
  }

  #requestFlush(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    this.#options.needFlush(this);
  }

  #write(): void {
    const socket = this.#socket;
    if (socket === null) return;
    const chunks = this.#writer.take();
    if (chunks.length > 1) socket.cork();
    for (const chunk of chunks) socket.write(chunk);
    if (chunks.length > 1) socket.uncork();
  }
}
