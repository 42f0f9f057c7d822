/**
 * Clients that hold leases: grant, attach keys, keep alive, revoke, or forget them, so that their
 * leader ends them; all but keepalives with an idempotency key, sent again when nobody answers.
 * When everything is repaired, one lease is kept alive and must stay, and all others must end in
 * their time.
 */
import {must} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {CommandBody} from '../../src/kv/command.ts';
import type {CommandResult} from '../../src/kv/result.ts';
import {encode, get, put, transaction} from '../contract/commands.ts';
import type {SentCommand} from './checks/command-check.ts';
import type {LeaseCheck} from './checks/lease-check.ts';
import {demand} from './checks/violation.ts';
import type {CommandCalls} from './command-calls.ts';
import type {Coverage} from './coverage.ts';
import type {EventQueue} from './event-queue.ts';
import type {Machine} from './machine.ts';
import {RandomTransaction} from './random-transaction.ts';
import {exponential} from './sim-network.ts';

export interface LeaseClientsParts {
  readonly queue: EventQueue;
  readonly prng: Prng;
  readonly coverage: Coverage;
  readonly calls: CommandCalls;
  readonly check: LeaseCheck;
  readonly keyCount: number;
  /** One that runs, at random; null: none does. */
  readonly machineFor: (prng: Prng) => Machine | null;
}

const clientCount = 2;
const thinkMeanMs = 250;
const retryMeanMs = 200;
const attemptCountMax = 3;
/** Ids that clients choose, so few that they meet. */
const chosenIdMax = 6;
const keptTtlMs = 1_500;
const keptIntervalMs = 150;
const calmMs = 2_500;

interface Client {
  /** Of the lease it holds, or believes to hold. */
  leaseId: number | null;
}

export class LeaseClients {
  readonly #parts: LeaseClientsParts;
  readonly #drawing: RandomTransaction;
  #isOpen = true;
  #calmUntilMs = Infinity;

  constructor(parts: LeaseClientsParts) {
    this.#parts = parts;
    this.#drawing = new RandomTransaction(parts.prng, parts.keyCount);
  }

  start(): void {
    for (let i = 0; i < clientCount; i++) this.#think({leaseId: null});
  }

  close(): void {
    this.#isOpen = false;
  }

  /** Nothing is wrong any more, and nobody else asks for anything. */
  calm(): void {
    const {check, queue, prng, machineFor} = this.#parts;
    this.#calmUntilMs = queue.nowMs + calmMs;
    check.awaitEnds();
    const machine = must(machineFor(prng), 'all run');
    this.#grant(machine, {id: 0, ttlMs: 500}, sent => {
      for (const lease of sent.granted) {
        this.#attach(machine, lease.id, () => undefined);
        check.awaitEnd(lease);
      }
    });
    this.#grant(machine, {id: 0, ttlMs: keptTtlMs}, sent => {
      for (const {id} of sent.granted) this.#attach(machine, id, () => this.#keepOn(id));
    });
  }

  /** What `calm` began is over, and was as it had to be. */
  get isSettled(): boolean {
    const {queue, check} = this.#parts;
    return queue.nowMs > this.#calmUntilMs && check.awaitedCount === 0;
  }

  #think(client: Client): void {
    const {queue, prng} = this.#parts;
    queue.add(exponential(prng, thinkMeanMs), -1, 'client', () => this.#next(client));
  }

  #next(client: Client): void {
    const {prng, machineFor} = this.#parts;
    if (!this.#isOpen) return;
    const machine = machineFor(prng);
    const done = (): void => this.#think(client);
    if (machine === null) {
      done();
      return;
    }
    const {leaseId} = client;
    const dice = prng.integer({min: 1, max: 100});
    if (leaseId === null || dice > 94) this.#grantTo(client, machine);
    else if (dice <= 40) this.#ask(client, machine, leaseId);
    else if (dice <= 70) this.#attachFor(client, machine, leaseId);
    else if (dice <= 80) this.#putWithLifetime(machine, done);
    else if (dice <= 86) {
      client.leaseId = null;
      this.#revoke(machine, leaseId, done);
    } else {
      client.leaseId = null;
      this.#parts.coverage.count('lease forgotten by its client');
      done();
    }
  }

  #grantTo(client: Client, machine: Machine): void {
    const {prng} = this.#parts;
    const ttlMs = must([100, 300, 1_000, 3_000][prng.integer({min: 0, max: 3})], 'a time');
    const id = Math.max(0, prng.integer({min: -chosenIdMax, max: chosenIdMax}));
    this.#grant(machine, {id, ttlMs}, (sent, result) => {
      if (result?.type === 'lease') client.leaseId = result.id;
      // Another's, by the same name, is as good.
      else if (result?.type === 'refused') client.leaseId = nameIn(sent.body);
      this.#think(client);
    });
  }

  #grant(
    machine: Machine,
    {id, ttlMs}: {readonly id: number; readonly ttlMs: number},
    callback: (sent: SentCommand, result: CommandResult | null) => void,
  ): void {
    const {check} = this.#parts;
    const sentAt = check.clocks();
    const body: CommandBody = {type: 'lease-grant', id, ttlMs};
    this.#perform(machine, `grant of lease ${id} for ${ttlMs} ms`, body, (sent, result) => {
      if (result !== null) for (const lease of sent.granted) check.onPromised(lease, sentAt);
      callback(sent, result);
    });
  }

  /** Keeps it alive, or now and then only looks at it. */
  #ask(client: Client, machine: Machine, id: number): void {
    const isKeepalive = this.#parts.prng.integer({min: 1, max: 6}) > 1;
    this.#sendQuery(machine, id, isKeepalive, result => {
      if (result?.type === 'refused') client.leaseId = null;
      this.#think(client);
    });
  }

  #sendQuery(
    machine: Machine,
    id: number,
    isKeepalive: boolean,
    callback: (result: CommandResult | null) => void,
  ): void {
    const {calls, check, queue, coverage} = this.#parts;
    const question = {
      id,
      isKeepalive,
      sentAtMs: queue.nowMs,
      sentAt: check.clocks(),
      promised: check.onAsking(id),
    };
    const command = encode({type: 'lease-query', id, isKeepalive});
    calls.send(machine, command, (_error, result) => {
      if (result !== null) {
        const isDenied = result.type === 'refused';
        const verb = isKeepalive ? 'kept alive' : 'looked at';
        coverage.count(isDenied ? 'lease denied' : `lease ${verb}`);
        check.onAsked(question, result);
      }
      callback(result);
    });
  }

  #attachFor(client: Client, machine: Machine, leaseId: number): void {
    this.#attach(machine, leaseId, result => {
      if (result?.type === 'refused') client.leaseId = null;
      this.#think(client);
    });
  }

  /** One key or two. */
  #attach(
    machine: Machine,
    leaseId: number,
    callback: (result: CommandResult | null) => void,
  ): void {
    const mark = `l${this.#parts.calls.nextSerial()}`;
    const puts = this.#drawing.keys(2).map(key => put(key, mark, {leaseId}));
    const body = transaction({success: [...puts, get(`!${mark}`)]});
    this.#perform(machine, `attach to lease ${leaseId}`, body, (_sent, result) => callback(result));
  }

  #putWithLifetime(machine: Machine, callback: () => void): void {
    const {prng, check, calls} = this.#parts;
    const mark = `l${calls.nextSerial()}`;
    const ttlMs = prng.integer({min: 0, max: 1}) === 0 ? 200 : 1_000;
    const puts = this.#drawing.keys(2).map(key => put(key, mark, {ttlMs}));
    const body = transaction({success: [...puts, get(`!${mark}`)]});
    const sentAt = check.clocks();
    this.#perform(machine, `put for ${ttlMs} ms`, body, (sent, result) => {
      if (result !== null) for (const lease of sent.granted) check.onPromised(lease, sentAt);
      callback();
    });
  }

  #revoke(machine: Machine, id: number, callback: () => void): void {
    const body: CommandBody = {type: 'lease-revoke', leases: [{id, grant: 0}]};
    this.#perform(machine, `revocation of lease ${id}`, body, callback);
  }

  #perform(
    machine: Machine,
    what: string,
    body: CommandBody,
    callback: (sent: SentCommand, result: CommandResult | null) => void,
  ): void {
    const {calls, queue, prng, machineFor} = this.#parts;
    const serial = calls.nextSerial();
    const sent = calls.create(`${what} (${serial})`, body, true);
    // Different bytes for every command.
    const command = encode(body, {key: `lease-client-${serial}`, request: serial % 251});
    let attemptCount = 0;
    const attempt = (at: Machine): void => {
      attemptCount++;
      calls.perform(sent, {machine: at, command, session: null}, result => {
        const next = result === null && attemptCount < attemptCountMax ? machineFor(prng) : null;
        if (next === null || !this.#isOpen) callback(sent, result);
        else queue.add(exponential(prng, retryMeanMs), -1, 'client', () => attempt(next));
      });
    };
    attempt(machine);
  }

  /** As long as it is calm: this one must stay. */
  #keepOn(id: number): void {
    const {queue, prng, machineFor, coverage} = this.#parts;
    queue.add(keptIntervalMs, -1, 'client', () => {
      if (queue.nowMs > this.#calmUntilMs) {
        coverage.count('lease kept alive to the end');
        return;
      }
      this.#sendQuery(must(machineFor(prng), 'all run'), id, true, result => {
        demand(result?.type !== 'refused', 'a lease that is kept alive stays', `lease ${id}`);
        this.#keepOn(id);
      });
    });
  }
}

/** The id that a grant asks for; null: it leaves it to the store. */
function nameIn(body: CommandBody): number | null {
  return body.type === 'lease-grant' && body.id > 0 ? body.id : null;
}
