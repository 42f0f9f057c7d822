/**
 * One raw connection to a server of the same process: everything is sent, in pieces, the server's
 * silence is awaited, and the client hangs up.
 */
import {once} from 'node:events';
import type {Socket} from 'node:net';
import fc from 'fast-check';
import {assert, must} from '../../src/base/assert.ts';

/** Turns of the event loop without a byte after which a server has said what it will. */
const quietTurnCount = 12;
const separateWriteCountMax = 20;

/** How a client behaves beside what it says. */
export interface Manners {
  /** Sizes of the pieces that are written, used in turn. */
  readonly cuts: readonly number[];
  readonly hangUp: 'end' | 'reset' | 'reset-at-once';
}

export const manners: fc.Arbitrary<Manners> = fc.record({
  cuts: fc.array(fc.integer({min: 1, max: 400}), {minLength: 1, maxLength: 3}),
  hangUp: fc.constantFrom('end', 'end', 'end', 'end', 'reset', 'reset-at-once'),
});

export class Conversation {
  readonly #socket: Socket;
  readonly #closed: Promise<void>;
  #received = '';
  #isOver = false;
  #quietTurns = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.#received += text;
      this.#quietTurns = 0;
    });
    // The server may cut a connection at any moment.
    socket.on('error', () => undefined);
    this.#closed = new Promise(resolve => {
      socket.on('close', () => {
        this.#isOver = true;
        resolve();
      });
    });
  }

  /** Resolves with what was received. */
  async hold(bytes: Buffer, {cuts, hangUp}: Manners): Promise<string> {
    await Promise.race([once(this.#socket, 'connect'), this.#closed]);
    for (let at = 0, turn = 0; at < bytes.length && !this.#isOver; turn++) {
      const size = must(cuts[turn % cuts.length], 'a size');
      this.#socket.write(bytes.subarray(at, at + size));
      at += size;
      if (turn < separateWriteCountMax) await nextTurn();
    }
    const turnCount = hangUp === 'reset-at-once' ? 1 : quietTurnCount;
    for (; !this.#isOver && this.#quietTurns < turnCount; this.#quietTurns++) await nextTurn();
    if (hangUp === 'end') this.#socket.end();
    else this.#socket.resetAndDestroy();
    await this.#closed;
    // What had arrived before a reset is still worked on.
    for (let i = 0; hangUp !== 'end' && i < quietTurnCount; i++) await nextTurn();
    return this.#received;
  }
}

export function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

export interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
  /** False: cut off by the end of the connection, or the answer to a HEAD. */
  readonly isWhole: boolean;
}

/** The answers of a connection that speaks HTTP, each with a head in due form. */
export function answersOf(received: string): Answer[] {
  const answers: Answer[] = [];
  for (let at = 0; at < received.length;) {
    const headEnd = received.indexOf('\r\n\r\n', at);
    if (headEnd < 0) break;
    const head = received.slice(at, headEnd);
    const match = /^HTTP\/1\.1 ([1-5][0-9]{2}) [^\r\n]*(\r\n[^\r\n]+)*$/.exec(head);
    assert(match !== null, `not the head of an answer: ${JSON.stringify(head)}`);
    const status = Number(match[1]);
    at = headEnd + 4;
    if (status === 100) continue;
    if (status === 101) {
      answers.push({status, head, body: received.slice(at), isWhole: true});
      break;
    }
    const announced = /\r\nContent-Length: ([0-9]+)/i.exec(head)?.[1];
    if (announced === undefined && status !== 204 && status !== 304) {
      answers.push({status, head, body: received.slice(at), isWhole: false});
      break;
    }
    const length = Number(announced ?? 0);
    // The answer to a HEAD announces a body that does not come: the next answer follows at once.
    const isBare = received.startsWith('HTTP/1.1 ', at);
    const body = isBare ? '' : received.slice(at, at + length);
    at += body.length;
    answers.push({status, head, body, isWhole: body.length === length});
  }
  return answers;
}
