/** Clients that send transactions of several operations, one after the other, to any member. */
import type {Prng} from '../../src/base/prng.ts';
import {encode} from '../contract/commands.ts';
import type {CommandCalls} from './command-calls.ts';
import type {EventQueue} from './event-queue.ts';
import type {Machine} from './machine.ts';
import {RandomTransaction} from './random-transaction.ts';
import {exponential} from './sim-network.ts';

export interface TransactionClientsParts {
  readonly queue: EventQueue;
  readonly prng: Prng;
  readonly calls: CommandCalls;
  readonly keyCount: number;
  /** One that runs, at random; null: none does. */
  readonly machineFor: (prng: Prng) => Machine | null;
}

const clientCount = 2;
const thinkMeanMs = 400;

export class TransactionClients {
  readonly #parts: TransactionClientsParts;
  readonly #drawing: RandomTransaction;
  #isOpen = true;

  constructor(parts: TransactionClientsParts) {
    this.#parts = parts;
    this.#drawing = new RandomTransaction(parts.prng, parts.keyCount);
  }

  start(): void {
    for (let client = 0; client < clientCount; client++) this.#think();
  }

  close(): void {
    this.#isOpen = false;
  }

  #think(): void {
    const {queue, prng} = this.#parts;
    queue.add(exponential(prng, thinkMeanMs), -1, 'client', () => this.#next());
  }

  #next(): void {
    const {calls, prng, machineFor} = this.#parts;
    if (!this.#isOpen) return;
    const machine = machineFor(prng);
    if (machine === null) {
      this.#think();
      return;
    }
    const serial = calls.nextSerial();
    const body = this.#drawing.draw(`t${serial}`);
    const sent = calls.create(`transaction ${serial}`, body);
    calls.perform(sent, {machine, command: encode(body), session: null}, result => {
      if (result !== null) this.#drawing.learn(result);
      this.#think();
    });
  }
}
