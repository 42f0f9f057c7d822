/**
 * Pipelined requests of a connection of node:http wait until the answers before theirs are out,
 * which is when their response gets the socket. Otherwise a GET would overtake the PUT that its
 * client sent before it, and one connection could have thousands of large answers made at once.
 *
 * While many wait, no more is read from their connection. node:http itself stops only when answers
 * wait to be sent, and those that have no turn yet have none. It also reads on at the end of every
 * request, so the pause comes behind all those that were read together.
 */
import type {IncomingMessage, ServerResponse} from 'node:http';
import type {Socket} from 'node:net';
import {isEnded} from './node-wire.ts';

/** What has been read at one stretch comes on top: no more than 64 KiB of requests. */
const waitingCountMax = 64;

interface Waiting {
  count: number;
  isPausing: boolean;
  isPaused: boolean;
}

export class AnswerTurns {
  readonly #waiting = new WeakMap<Socket, Waiting>();

  /** Calls back when it is this request's turn: now, later, or never if the connection ends. */
  take(request: IncomingMessage, response: ServerResponse, onTurn: () => void): void {
    const {socket} = request;
    if (response.socket !== null) {
      if (!isEnded(socket)) onTurn();
      return;
    }
    this.#wait(socket);
    response.once('socket', () => {
      this.#leave(socket);
      if (!isEnded(socket)) onTurn();
    });
  }

  #wait(socket: Socket): void {
    const waiting = this.#waiting.get(socket) ?? {count: 0, isPausing: false, isPaused: false};
    this.#waiting.set(socket, waiting);
    waiting.count++;
    if (waiting.count < waitingCountMax || waiting.isPausing) return;
    waiting.isPausing = true;
    process.nextTick(() => {
      waiting.isPausing = false;
      if (waiting.count === 0 || socket.destroyed) return;
      waiting.isPaused = true;
      socket.pause();
    });
  }

  /** Reads on with the last one only: each time brings a piece of a body that may have to wait. */
  #leave(socket: Socket): void {
    const waiting = this.#waiting.get(socket);
    if (waiting === undefined) return;
    waiting.count--;
    if (waiting.count > 0 || !waiting.isPaused) return;
    waiting.isPaused = false;
    socket.resume();
  }
}
