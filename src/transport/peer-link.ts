/** The two outgoing channels to one peer: which message takes which, and when the peer is "up". */
import type {Clock} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import type {Prng} from '../base/prng.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Channel} from './handshake.ts';
import type {EncodableMessage} from './message-codec.ts';
import {OutgoingChannel} from './outgoing-channel.ts';
import type {PeerCounters, Refusal} from './transport.ts';

export interface PeerLinkOptions {
  readonly to: NodeId;
  readonly address: string;
  readonly headers: (channel: Channel) => Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly needFlush: (channel: OutgoingChannel) => void;
  readonly onUp: () => void;
  readonly onDown: (reason: string) => void;
  readonly onRefused: (refusal: Refusal) => void;
  readonly onFailed: (reason: string) => void;
}

export class PeerLink {
  readonly address: string;
  readonly #options: PeerLinkOptions;
  readonly #control: OutgoingChannel;
  readonly #data: OutgoingChannel;
  #isUp = false;

  constructor(options: PeerLinkOptions) {
    this.address = options.address;
    this.#options = options;
    this.#control = this.#open('control', limits.peerControlBufferSizeBytesMax);
    this.#data = this.#open('data', limits.peerBufferSizeBytesMax);
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  send(message: EncodableMessage): boolean {
    return isControlMessage(message) ? this.#control.send(message) : this.#data.send(message);
  }

  counters(): PeerCounters {
    return {
      isConnected: this.#isUp,
      bufferedSizeBytes: this.#control.bufferedSizeBytes + this.#data.bufferedSizeBytes,
      droppedCount: this.#control.droppedCount + this.#data.droppedCount,
    };
  }

  /** The peer has just connected to this node. */
  hurry(): void {
    this.#control.hurry();
    this.#data.hurry();
  }

  tick(): void {
    this.#control.tick();
    this.#data.tick();
  }

  close(): void {
    this.#control.close();
    this.#data.close();
    this.#isUp = false;
  }

  #open(channel: 'control' | 'data', bufferSizeBytesMax: number): OutgoingChannel {
    const {to, address, clock, prng, needFlush, onRefused, onFailed} = this.#options;
    return new OutgoingChannel({
      to,
      address,
      bufferSizeBytesMax,
      clock,
      prng,
      needFlush,
      onRefused,
      onFailed,
      headers: () => this.#options.headers(channel),
      onOpen: () => this.#onOpen(),
      onLost: reason => this.#onLost(`${channel}: ${reason}`),
    });
  }

  #onOpen(): void {
    if (!this.#control.isOpen || !this.#data.isOpen) return;
    this.#isUp = true;
    this.#options.onUp();
  }

  #onLost(reason: string): void {
    if (!this.#isUp) return;
    this.#isUp = false;
    this.#options.onDown(reason);
  }
}

/**
 * Control messages are small and must not wait behind entries. Answers to appends travel with the
 * data: they come in pairs with forwards, and one write carries both.
 */
function isControlMessage(message: EncodableMessage): boolean {
  switch (message.type) {
    case 'append':
    case 'append-accepted':
    case 'append-rejected':
    case 'forward':
    case 'forward-response':
    case 'state-hash':
      return false;
    default:
      return true;
  }
}
