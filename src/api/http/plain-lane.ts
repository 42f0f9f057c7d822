/**
 * The plain connections of a server: where each begins, the sweep that gives up slow and idle
 * ones, and the way over to node:http for those that turn out not to be plain.
 */
import type {Socket} from 'node:net';
import type {Clock, Timer} from '../../base/clock.ts';
import type {Arrivals} from './arrivals.ts';
import {PlainConnection, type PlainHost} from './plain-connection.ts';

export interface PlainLaneOptions {
  readonly clock: Clock;
  readonly timeouts: PlainHost['timeouts'] & {readonly checkingIntervalMs: number};
  readonly onRequest: PlainHost['onRequest'];
  readonly handOver: PlainHost['handOver'];
  readonly budget: PlainHost['budget'];
  /** Of all lanes: they share a turn. */
  readonly arrivals: Arrivals;
}

export class PlainLane {
  readonly #connections = new Set<PlainConnection>();
  readonly #clock: Clock;
  readonly #arrivals: Arrivals;
  readonly #host: PlainHost;
  readonly #checkingIntervalMs: number;
  readonly #keepLines: string;
  #dateSecond = -1;
  #dateLine = '';
  #sweepTimer: Timer | null = null;

  constructor(options: PlainLaneOptions) {
    const {clock, timeouts} = options;
    this.#clock = clock;
    this.#arrivals = options.arrivals;
    this.#checkingIntervalMs = timeouts.checkingIntervalMs;
    const seconds = Math.floor(timeouts.keepAliveTimeoutMs / 1000);
    this.#keepLines = `Connection: keep-alive\r\nKeep-Alive: timeout=${seconds}\r\n\r\n`;
    this.#host = {
      nowMs: () => clock.monotonicMs(),
      closingLines: isKept =>
        this.#date() + (isKept ? this.#keepLines : 'Connection: close\r\n\r\n'),
      onRequest: options.onRequest,
      handOver: options.handOver,
      budget: options.budget,
      arrivals: this.#arrivals,
      timeouts,
    };
  }

  accept(socket: Socket): void {
    this.#arrivals.note();
    const connection = new PlainConnection(socket, this.#host, () => {
      this.#connections.delete(connection);
    });
    this.#connections.add(connection);
    this.#sweepTimer ??= this.#sweepLater();
  }

  closeIdle(): void {
    for (const connection of this.#connections) {
      if (connection.isIdle) connection.socket.destroy();
    }
  }

  /** Connections that have not sent anything yet. */
  closeSilent(): void {
    for (const connection of this.#connections) {
      if (connection.isSilent) connection.socket.destroy();
    }
  }

  closeAll(): void {
    for (const connection of this.#connections) connection.socket.destroy();
  }

  #sweepLater(): Timer {
    return this.#clock.setTimer(this.#checkingIntervalMs, () => {
      const nowMs = this.#clock.monotonicMs();
      for (const connection of this.#connections) connection.checkTime(nowMs);
      this.#sweepTimer = this.#connections.size > 0 ? this.#sweepLater() : null;
    });
  }

  /** RFC 9110 §6.6.1; made once a second. */
  #date(): string {
    const second = Math.floor(this.#clock.wallMs() / 1000);
    if (second !== this.#dateSecond) {
      this.#dateSecond = second;
      // Not a reading of the clock but the text of an instant that was read from it.
      this.#dateLine = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
    }
    return this.#dateLine;
  }
}
