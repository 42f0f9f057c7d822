/**
 * A connection a peer opened: its messages come in, acks go out. Ends at the first byte that is not
 * as announced, and when the peer, which pings four times a second, has been silent for seconds.
 */
import type {Duplex} from 'node:stream';
import type {TurnBudget} from '../base/turn-budget.ts';
import {limits} from '../base/limits.ts';
import type {NodeId} from '../raft/ids.ts';
import {encodeFrame} from './frame.ts';
import type {Introduction} from './handshake.ts';
import type {EncodableMessage} from './message-codec.ts';
import type {StreamProblem} from './message-reader.ts';
import {MessageReader} from './message-reader.ts';

const ackFrame = encodeFrame('ack');
/** Smaller chunks are no bulk, and what control channels carry never waits. */
const pacedSizeBytesMin = 16 * 1024;
const silentTickCountMax = Math.ceil(limits.peerIdleTimeoutMs / limits.peerPingIntervalMs);

export interface IncomingChannelListener {
  onContact(from: NodeId): void;
  onMessage(from: NodeId, message: EncodableMessage): void;
  /** Once; `problem` is null when the peer just went away. */
  onClosed(channel: IncomingChannel, problem: StreamProblem | null): void;
}

export class IncomingChannel {
  readonly introduction: Introduction;
  readonly #socket: Duplex;
  readonly #listener: IncomingChannelListener;
  /** Shared by all channels of this node. */
  readonly #budget: TurnBudget;
  readonly #reader: MessageReader;
  #isAckDue = true;
  #silentTickCount = 0;
  #isClosed = false;

  constructor(
    introduction: Introduction,
    socket: Duplex,
    parts: {readonly listener: IncomingChannelListener; readonly budget: TurnBudget},
  ) {
    this.introduction = introduction;
    this.#socket = socket;
    this.#listener = parts.listener;
    this.#budget = parts.budget;
    const {from, to} = introduction.handshake;
    this.#reader = new MessageReader(
      {from, to},
      {
        onPayload: () => this.#listener.onContact(from),
        onMessage: message => {
          this.#listener.onMessage(from, message);
          return !this.#isClosed;
        },
      },
    );
  }

  /** `head`: bytes that came in one piece with the request. */
  start(head: Buffer): void {
    const socket = this.#socket;
    socket.on('error', () => this.close());
    socket.on('end', () => this.close());
    socket.on('close', () => this.close());
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    if (head.length > 0) this.#onData(head);
  }

  /** Every peerPingIntervalMs. */
  tick(): void {
    this.#isAckDue = true;
    this.#silentTickCount += 1;
    if (this.#silentTickCount > silentTickCountMax) this.close();
  }

  close(): void {
    this.#close(null);
  }

  #onData(chunk: Buffer): void {
    if (this.#isClosed) return;
    this.#silentTickCount = 0;
    const problem = this.#reader.push(chunk);
    if (this.#isAlreadyClosed()) return;
    if (problem !== null) {
      this.#close(problem);
      return;
    }
    this.#pace(chunk.length);
    // A dialer that does not read its acks gets no second one.
    if (!this.#isAckDue || this.#socket.writableLength > 0) return;
    this.#isAckDue = false;
    this.#socket.write(ackFrame);
  }

  /** Much that arrives at once is read over several turns; what waits stays with the sender. */
  #pace(sizeBytes: number): void {
    if (sizeBytes < pacedSizeBytesMin || !this.#budget.spend(sizeBytes)) return;
    this.#socket.pause();
    this.#budget.defer(sizeBytes, () => {
      if (!this.#isClosed) this.#socket.resume();
    });
  }

  /** A handler may have closed the channel while it took a message. */
  #isAlreadyClosed(): boolean {
    return this.#isClosed;
  }

  #close(problem: StreamProblem | null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.destroy();
    this.#listener.onClosed(this, problem);
  }
}
