/**
 * Clients that write and read a few keys while members crash, are cut off and come back, all by
 * one seed; and the history of what the clients saw.
 */
import {must} from '../../src/base/assert.ts';
import {Prng} from '../../src/base/prng.ts';
import type {Operation} from '../checker/linearizability.ts';
import type {Attempt, TestCluster} from './test-cluster.ts';
import {isServing} from './test-cluster.ts';
import type {TestMember} from './test-member.ts';

const keys = ['a', 'b', 'c'] as const;

interface Running {
  readonly key: string;
  readonly type: 'read' | 'write';
  readonly value: string | null;
  readonly calledAt: number;
  readonly label: string;
  readonly attempt: Attempt<unknown>;
  readonly read: () => string | null;
}

export class RandomRun {
  readonly history: Operation[] = [];
  /** Writes that were acknowledged, and writes that may have happened, per key. */
  readonly written = new Map<string, {acknowledged: number; unknown: number}>();
  readonly counts = {
    crashes: 0,
    cuts: 0,
    acknowledged: 0,
    unknown: 0,
    definite: 0,
    reads: 0,
    snapshots: 0,
  };
  readonly #cluster: TestCluster;
  readonly #prng: Prng;
  readonly #clients: (Running | null)[];
  readonly #runsOn: (TestMember | null)[];
  /** Of one fault in so many turns; calm runs let members fall far behind. */
  readonly #calmness: number;
  #clock = 0;
  #lastValue = 0;

  constructor(
    cluster: TestCluster,
    options: {readonly seed: number; readonly clientCount: number},
  ) {
    this.#cluster = cluster;
    this.#prng = new Prng(options.seed);
    this.#calmness = this.#pick([1, 1, 4]);
    this.#clients = new Array<Running | null>(options.clientCount).fill(null);
    this.#runsOn = new Array<TestMember | null>(options.clientCount).fill(null);
    for (const key of keys) this.written.set(key, {acknowledged: 0, unknown: 0});
  }

  /** Faults and requests for so long; then everything is repaired and the last answers come. */
  run(durationMs: number): void {
    const cluster = this.#cluster;
    const endMs = cluster.time.nowMs + durationMs;
    while (cluster.time.nowMs < endMs) {
      this.#maybeFault();
      this.#clientsTurn({mayCall: true});
      cluster.turn();
    }
    this.#repair();
    cluster.until(() => {
      this.#clientsTurn({mayCall: false});
      return this.#clients.every(client => client === null);
    }, 'the last answers');
    cluster.until(() => cluster.members.every(isServing), 'all serve again');
  }

  /** Reads every key through every member, into the history. */
  readAll(): void {
    for (const member of this.#cluster.members) {
      for (const key of keys) {
        const running = this.#read(member, key);
        this.#cluster.done(running.attempt);
        this.#finish(running);
      }
    }
  }

  #chance(oneIn: number): boolean {
    return this.#prng.integer({min: 1, max: oneIn}) === 1;
  }

  #pick<T>(from: readonly T[]): T {
    return must(from[this.#prng.integer({min: 0, max: from.length - 1})], 'something to pick');
  }

  #maybeFault(): void {
    const {members} = this.#cluster;
    if (this.#chance(400 * this.#calmness)) {
      const victim = this.#pick(members);
      if (victim.isRunning) this.#crash(victim);
    }
    if (this.#chance(250 * this.#calmness)) {
      const fallen = members.find(member => !member.isRunning);
      fallen?.start();
    }
    if (this.#chance(500 * this.#calmness)) {
      this.counts.cuts++;
      if (this.#chance(2)) this.#cluster.isolate(this.#pick(members).id);
      else this.#cluster.cut(this.#pick(members).id, this.#pick(members).id);
    }
    if (this.#chance(300 * this.#calmness)) this.#cluster.heal();
    if (this.#chance(300)) this.#pick(members).diskDelayMs = this.#pick([1, 1, 3, 20]);
  }

  #crash(victim: TestMember): void {
    this.counts.crashes++;
    victim.crash();
    for (let i = 0; i < this.#clients.length; i++) {
      const running = this.#clients[i] ?? null;
      if (this.#runsOn[i] !== victim || running === null || running.attempt.isDone) continue;
      // The connection is reset: a write may have happened.
      this.#clients[i] = null;
      if (running.type === 'write') this.#noteUnknown(running);
    }
  }

  #repair(): void {
    this.#cluster.heal();
    for (const member of this.#cluster.members) {
      member.diskDelayMs = 1;
      if (!member.isRunning) member.start();
    }
  }

  #clientsTurn({mayCall}: {readonly mayCall: boolean}): void {
    for (let i = 0; i < this.#clients.length; i++) {
      const running = this.#clients[i] ?? null;
      if (running?.attempt.isDone === true) {
        this.#clients[i] = null;
        this.#finish(running);
      } else if (running === null && mayCall && this.#chance(8)) {
        const running = this.#cluster.running();
        if (running.length === 0) continue;
        const member = this.#pick(running);
        this.#runsOn[i] = member;
        const key = this.#pick(keys);
        this.#clients[i] = this.#chance(2) ? this.#read(member, key) : this.#write(member, key);
      }
    }
  }

  #read(member: TestMember, key: string): Running {
    const attempt = this.#cluster.get(member, key, {timeoutMs: 400});
    return {
      key,
      type: 'read',
      value: null,
      calledAt: ++this.#clock,
      label: this.#label(member),
      attempt,
      read: () => attempt.value?.value ?? null,
    };
  }

  #write(member: TestMember, key: string): Running {
    // Long, so that the log outgrows its segments.
    const value = `v${++this.#lastValue}`.padEnd(600, '.');
    const attempt = this.#cluster.put(member, key, value, this.#pick([100, 400, 2_000]));
    const calledAt = ++this.#clock;
    const label = this.#label(member);
    return {key, type: 'write', value, calledAt, label, attempt, read: () => value};
  }

  #label(member: TestMember): string {
    return `at ${member.id}, ${this.#cluster.time.nowMs} ms`;
  }

  #finish(running: Running): void {
    const {key, type, calledAt, label, attempt} = running;
    const {error} = attempt;
    if (error === null) {
      if (type === 'read') this.counts.reads++;
      else this.#count(key, 'acknowledged');
      const returnedAt = ++this.#clock;
      const value = running.read();
      this.history.push({key, type, value, calledAt, returnedAt, label});
    } else if (type === 'write' && error.outcome === 'unknown') {
      this.#noteUnknown(running);
    } else if (type === 'write') {
      // Left out: to read its value would be a violation.
      this.counts.definite++;
    }
  }

  #noteUnknown({key, type, value, calledAt, label}: Running): void {
    this.#count(key, 'unknown');
    this.history.push({key, type, value, calledAt, returnedAt: Infinity, label});
  }

  #count(key: string, outcome: 'acknowledged' | 'unknown'): void {
    this.counts[outcome]++;
    must(this.written.get(key), 'a known key')[outcome]++;
  }
}
