/**
 * Frames in, messages out: splits frames of messages, joins fragments, checks every entry. Either a
 * message is whole and sound or the stream is at its end; nothing in between reaches raft.
 */
import {Buffer} from 'node:buffer';
import {MalformedBytesError, readU32} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {FrameKind} from './frame.ts';
import {FrameParser} from './frame.ts';
import type {EncodableMessage, MessageRoute} from './message-codec.ts';
import {decodeMessage, findDamagedEntry} from './message-codec.ts';

/** Why a stream ended. */
export interface StreamProblem {
  readonly reason: 'bad-frame' | 'bad-message' | 'damaged-entry';
  readonly detail: string;
}

export interface MessageReaderListener {
  /** Payload bytes arrived, perhaps no whole message yet. Once per chunk, after its messages. */
  onPayload(): void;
  /** Returns false when the connection has been closed meanwhile. */
  onMessage(message: EncodableMessage): boolean;
}

export class MessageReader {
  readonly #route: MessageRoute;
  readonly #listener: MessageReaderListener;
  readonly #parser: FrameParser;
  #fragments: Buffer[] = [];
  #fragmentsSizeBytes = 0;
  #problem: StreamProblem | null = null;

  constructor(route: MessageRoute, listener: MessageReaderListener) {
    this.#route = route;
    this.#listener = listener;
    this.#parser = new FrameParser((kind, payload) => this.#onFrame(kind, payload));
  }

  /** Null, or why the connection must be closed. */
  push(chunk: Buffer): StreamProblem | null {
    const before = this.#parser.payloadByteCount;
    const detail = this.#parser.push(chunk);
    if (this.#problem !== null) return this.#problem;
    if (detail !== null) return {reason: 'bad-frame', detail};
    // Pings have no payload: they say that the process lives, not that its raft does.
    if (this.#parser.payloadByteCount !== before) this.#listener.onPayload();
    return null;
  }

  #onFrame(kind: FrameKind, payload: Buffer): boolean {
    switch (kind) {
      case 'messages':
        return this.#onMessages(payload);
      case 'fragment':
      case 'last-fragment':
        return this.#onFragment(payload, {isLast: kind === 'last-fragment'});
      case 'ping':
        return payload.length === 0 || this.#fail('bad-frame', 'ping with a payload');
      default:
        return this.#fail('bad-frame', `${kind} frame among messages`);
    }
  }

  #onMessages(payload: Buffer): boolean {
    if (this.#fragments.length > 0) return this.#fail('bad-frame', 'fragments broken off');
    if (payload.length === 0) return this.#fail('bad-frame', 'no messages in a frame');
    let at = 0;
    while (at < payload.length) {
      if (payload.length - at < 4) return this.#fail('bad-frame', 'message size cut off');
      const start = at + 4;
      const end = start + readU32(payload, at);
      if (end === start || end > payload.length) return this.#fail('bad-frame', 'message size');
      if (!this.#onMessageBytes(payload.subarray(start, end))) return false;
      at = end;
    }
    return true;
  }

  #onFragment(payload: Buffer, options: {readonly isLast: boolean}): boolean {
    if (payload.length === 0) return this.#fail('bad-frame', 'empty fragment');
    this.#fragmentsSizeBytes += payload.length;
    if (this.#fragmentsSizeBytes > limits.messageSizeBytesMax) {
      return this.#fail('bad-frame', `message above ${limits.messageSizeBytesMax} bytes`);
    }
    this.#fragments.push(payload);
    if (!options.isLast) return true;
    const message = Buffer.concat(this.#fragments, this.#fragmentsSizeBytes);
    this.#fragments = [];
    this.#fragmentsSizeBytes = 0;
    return this.#onMessageBytes(message);
  }

  #onMessageBytes(bytes: Buffer): boolean {
    let message: EncodableMessage;
    try {
      message = decodeMessage(bytes, this.#route);
    } catch (error) {
      if (!(error instanceof MalformedBytesError)) throw error;
      return this.#fail('bad-message', error.message);
    }
    const damaged = findDamagedEntry(message);
    if (damaged !== undefined) {
      return this.#fail('damaged-entry', `entry ${damaged.index} of term ${damaged.term}`);
    }
    return this.#listener.onMessage(message);
  }

  #fail(reason: StreamProblem['reason'], detail: string): false {
    this.#problem = {reason, detail};
    return false;
  }
}
