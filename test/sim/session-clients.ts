/**
 * Clients with sessions: every write has a number and is sent again under it until it is answered,
 * at once or much later, to any member. They acknowledge what they have, sometimes late; try
 * numbers that were answered, given up or are far ahead; stay idle until their session ends; close
 * it, and try it once more.
 */
import {must} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {CommandBody} from '../../src/kv/command.ts';
import type {CommandResult} from '../../src/kv/result.ts';
import {encode} from '../contract/commands.ts';
import type {SentCommand} from './checks/command-check.ts';
import type {CommandCalls} from './command-calls.ts';
import type {Coverage} from './coverage.ts';
import type {EventQueue} from './event-queue.ts';
import type {Machine} from './machine.ts';
import {RandomTransaction} from './random-transaction.ts';
import {exponential} from './sim-network.ts';

export interface SessionClientsParts {
  readonly queue: EventQueue;
  readonly prng: Prng;
  readonly coverage: Coverage;
  readonly calls: CommandCalls;
  readonly keyCount: number;
  /** One that runs, at random; null: none does. */
  readonly machineFor: (prng: Prng) => Machine | null;
}

const clientCount = 2;
const thinkMeanMs = 300;
const idleMeanMs = 6_000;
const settleRetryMs = 50;
const settledCountMax = 8;
const settleTimeoutMs = 5_000;

/** One number of a session. */
interface Numbered {
  readonly number: number;
  readonly sent: SentCommand;
  readonly request: number;
  isAnswered: boolean;
}

interface Session {
  readonly id: string;
  next: number;
  acknowledged: number;
  /** By number, from 1. */
  readonly numbers: Map<number, Numbered>;
}

export class SessionClients {
  readonly #parts: SessionClientsParts;
  readonly #drawing: RandomTransaction;
  readonly #sessions: (Session | null)[] = Array.from({length: clientCount}, () => null);
  #isOpen = true;
  #settlingCount = 0;

  constructor(parts: SessionClientsParts) {
    this.#parts = parts;
    this.#drawing = new RandomTransaction(parts.prng, parts.keyCount);
  }

  start(): void {
    for (const client of this.#sessions.keys()) this.#think(client, thinkMeanMs);
  }

  close(): void {
    this.#isOpen = false;
  }

  /** Everything works again: some that were never answered are sent once more, and must be. */
  settle(): void {
    for (const session of this.#sessions) {
      if (session === null) continue;
      const open = [...session.numbers.values()].filter(({isAnswered}) => !isAnswered);
      this.#settlingCount++;
      this.#settle(session, open.slice(-settledCountMax));
    }
  }

  /** One after the other: a store that is slow gets no more than it can do. */
  #settle(session: Session, open: readonly Numbered[]): void {
    const {queue, prng, machineFor} = this.#parts;
    const [numbered, ...others] = open;
    if (numbered === undefined) {
      this.#settlingCount--;
      return;
    }
    const machine = must(machineFor(prng), 'all run');
    this.#sendNumber(machine, session, numbered, result => {
      const rest = result === null ? open : others;
      queue.add(settleRetryMs, -1, 'client', () => this.#settle(session, rest));
    });
  }

  get isSettled(): boolean {
    return this.#settlingCount === 0;
  }

  #think(client: number, meanMs: number): void {
    const {queue, prng} = this.#parts;
    queue.add(exponential(prng, meanMs), -1, 'client', () => this.#next(client));
  }

  #next(client: number): void {
    const {prng, machineFor, coverage} = this.#parts;
    if (!this.#isOpen) return;
    const machine = machineFor(prng);
    const session = this.#sessions[client] ?? null;
    const done = (): void => this.#think(client, thinkMeanMs);
    const dice = prng.integer({min: 1, max: 100});
    if (machine === null) done();
    else if (session === null) this.#open(client, machine);
    else if (dice <= 3) {
      coverage.count('session idle');
      this.#think(client, idleMeanMs);
    } else if (dice <= 6) this.#close(client, session, machine);
    else if (dice <= 20) this.#sendAgain(client, session, machine);
    else {
      // Ahead of all others by a few, or by more than may be under way.
      if (dice <= 24) session.next += prng.integer({min: 1, max: 5});
      this.#write(client, session, machine);
    }
  }

  #open(client: number, machine: Machine): void {
    const {calls} = this.#parts;
    const id = `s${calls.nextSerial()}`;
    const body: CommandBody = {type: 'session', action: 'open', id};
    const sent = calls.create(`opening of session ${id}`, body);
    calls.perform(sent, {machine, command: encode(body), session: null}, () => {
      // Perhaps it is open although nobody said so: its first number tells.
      this.#sessions[client] = {id, next: 1, acknowledged: 0, numbers: new Map()};
      this.#think(client, thinkMeanMs);
    });
  }

  /** What comes under its numbers after that must be refused. */
  #close(client: number, session: Session, machine: Machine): void {
    const {calls, prng} = this.#parts;
    const {id} = session;
    const body: CommandBody = {type: 'session', action: 'close', id};
    const sent = calls.create(`closing of session ${id}`, body);
    // It may be closed a second time: different bytes for each.
    const command = encode(body, {key: `close-${calls.nextSerial()}`, request: 0});
    calls.perform(sent, {machine, command, session: null}, () => {
      if (prng.integer({min: 0, max: 1}) === 0) {
        this.#sessions[client] = null;
        this.#think(client, thinkMeanMs);
      } else {
        this.#write(client, session, machine);
      }
    });
  }

  #write(client: number, session: Session, machine: Machine): void {
    const {calls} = this.#parts;
    const number = session.next++;
    const serial = calls.nextSerial();
    const body = this.#drawing.draw(`s${serial}`);
    const sent = calls.create(`number ${number} of session ${session.id}`, body, true);
    const numbered = {number, sent, request: serial, isAnswered: false};
    session.numbers.set(number, numbered);
    this.#send(client, session, numbered, machine);
  }

  /** One that was never answered, or was, or was given up. */
  #sendAgain(client: number, session: Session, machine: Machine): void {
    const {prng, coverage} = this.#parts;
    const all = [...session.numbers.values()];
    const open = all.filter(({isAnswered}) => !isAnswered);
    const from = open.length > 0 && prng.integer({min: 0, max: 1}) === 0 ? open : all.slice(-8);
    const numbered = from[prng.integer({min: 0, max: Math.max(0, from.length - 1)})];
    if (numbered === undefined) {
      this.#think(client, thinkMeanMs);
      return;
    }
    coverage.count(numbered.isAnswered ? 'answered number sent again' : 'number sent again late');
    this.#send(client, session, numbered, machine);
  }

  #send(client: number, session: Session, numbered: Numbered, machine: Machine): void {
    const {prng, machineFor} = this.#parts;
    this.#sendNumber(machine, session, numbered, result => {
      if (result?.type === 'refused' && result.code === 'SESSION_EXPIRED') {
        this.#sessions[client] = null;
      } else if (result !== null) {
        this.#drawing.learn(result);
      } else if (this.#isOpen && prng.integer({min: 1, max: 4}) > 1) {
        const next = machineFor(prng) ?? machine;
        this.#parts.queue.add(exponential(prng, 200), -1, 'client', () => {
          this.#send(client, session, numbered, next);
        });
        return;
      }
      this.#think(client, thinkMeanMs);
    });
  }

  #sendNumber(
    machine: Machine,
    session: Session,
    numbered: Numbered,
    callback: (result: CommandResult | null) => void,
  ): void {
    const {calls, prng} = this.#parts;
    if (prng.integer({min: 1, max: 3}) === 1) this.#acknowledge(session);
    const {id, acknowledged} = session;
    const {number, request, sent} = numbered;
    const call = {id, number, acknowledged, request};
    const key = `${id}/${number}`;
    const command = encode(sent.body, {key, request: request % 251, acknowledged});
    const timeoutMs = this.#settlingCount > 0 ? settleTimeoutMs : undefined;
    calls.perform(sent, {machine, command, session: call, timeoutMs}, result => {
      // An overfull window is no answer: there is room when others are acknowledged.
      const isFull = result?.type === 'refused' && result.code === 'OVERLOADED';
      if (result !== null && !isFull) numbered.isAnswered = true;
      callback(result);
    });
  }

  /** Up to the first that has no answer; one in four times also that one is given up. */
  #acknowledge(session: Session): void {
    for (;;) {
      const next = session.acknowledged + 1;
      if (next >= session.next) return;
      const numbered = session.numbers.get(next);
      // It was left out.
      const isGone = numbered === undefined || numbered.isAnswered;
      if (!isGone && this.#parts.prng.integer({min: 1, max: 4}) > 1) return;
      if (!isGone) this.#parts.coverage.count('session number given up');
      session.acknowledged = next;
    }
  }
}
