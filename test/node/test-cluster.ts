/**
 * A cluster in one process, on virtual time. A test is a sequence of steps: advance the time, write
 * and read through any member, crash, cut, heal. Equal seeds give equal runs.
 */
import {assert, must} from '../../src/base/assert.ts';
import type {RosettaError} from '../../src/base/errors.ts';
import {Prng} from '../../src/base/prng.ts';
import type {CommandResult, KeyRecord} from '../../src/kv/result.ts';
import type {Consistency} from '../../src/node/service.ts';
import {MemoryNetwork} from '../../src/transport/memory-transport.ts';
import {bytes, encode, put, text, transaction} from '../contract/commands.ts';
import type {MemberOptions} from './test-member.ts';
import {TestMember, addressOf} from './test-member.ts';
import {VirtualTime} from './virtual-time.ts';

/** A request and, once it came, its one answer. */
export interface Attempt<T> {
  isDone: boolean;
  error: RosettaError | null;
  value: T | null;
}

export class TestCluster {
  readonly time = new VirtualTime();
  readonly network = new MemoryNetwork();
  readonly prng: Prng;
  readonly members: TestMember[];
  readonly #cuts = new Set<string>();

  /** Members are made, not started. Each knows all others as `-peers`. */
  constructor(options: {
    readonly ids: readonly string[];
    readonly seed?: number;
    readonly member?: MemberOptions;
  }) {
    this.prng = new Prng(options.seed ?? 1);
    this.members = options.ids.map((id, i) => {
      const peers = options.ids.filter(other => other !== id).map(peerOf);
      return new TestMember(id, peers, this, {wallSkewMs: i * 3_000, ...options.member});
    });
  }

  member(id: string): TestMember {
    return must(
      this.members.find(member => member.id === id),
      `no member ${id}`,
    );
  }

  running(): TestMember[] {
    return this.members.filter(member => member.isRunning);
  }

  /** Starts all, and waits until they serve. */
  startAll(): void {
    for (const member of this.members) if (!member.isRunning) member.start();
    this.until(() => this.members.every(isServing), 'all serve');
  }

  turn(): void {
    this.time.turn(() => this.network.deliver());
  }

  advance(durationMs: number): void {
    const endMs = this.time.nowMs + durationMs;
    while (this.time.nowMs < endMs) this.turn();
  }

  until(condition: () => boolean, what: string, timeoutMs = 10_000): void {
    const endMs = this.time.nowMs + timeoutMs;
    while (!condition()) {
      assert(this.time.nowMs < endMs, `not within ${timeoutMs} ms: ${what}`);
      this.turn();
    }
  }

  /** The leader of the highest term among those that run. */
  leaderNow(): TestMember | null {
    const leaders = this.running()
      .filter(member => member.node.status().state === 'leader')
      .sort((a, b) => b.node.status().term - a.node.status().term);
    return leaders[0] ?? null;
  }

  leader(): TestMember {
    this.until(() => this.leaderNow() !== null, 'a leader');
    return must(this.leaderNow(), 'there is a leader');
  }

  follower(): TestMember {
    const leader = this.leader();
    return must(
      this.running().find(member => member !== leader),
      'a follower',
    );
  }

  /** No bytes between `id` and anybody. */
  isolate(id: string): void {
    for (const other of this.members) if (other.id !== id) this.cut(id, other.id);
  }

  cut(a: string, b: string): void {
    this.#cuts.add(`${a} ${b}`);
    this.network.partition(addressOf(a), addressOf(b));
  }

  heal(): void {
    this.#cuts.clear();
    this.network.heal();
  }

  put(at: TestMember, key: string, value: string, timeoutMs = 5_000): Attempt<CommandResult> {
    return this.propose(at, encode(transaction({success: [put(key, value)]})), timeoutMs);
  }

  propose(at: TestMember, command: Uint8Array, timeoutMs = 5_000): Attempt<CommandResult> {
    const attempt: Attempt<CommandResult> = {isDone: false, error: null, value: null};
    let isInside = true;
    at.node.propose(command, {timeoutMs}, (error, result) => {
      assert(!isInside, 'an answer inside the call');
      finish(attempt, error, result);
    });
    isInside = false;
    return attempt;
  }

  get(
    at: TestMember,
    key: string,
    options: {readonly consistency?: Consistency; readonly timeoutMs?: number} = {},
  ): Attempt<{readonly record: KeyRecord | null; readonly value: string | null}> {
    const attempt: ReturnType<TestCluster['get']> = {isDone: false, error: null, value: null};
    const {consistency = 'linearizable', timeoutMs = 5_000} = options;
    let isInside = true;
    at.node.read({consistency, timeoutMs}, (error, reader) => {
      assert(!isInside, 'an answer inside the call');
      const record = reader?.get(bytes(key), 0) ?? null;
      const value = record === null ? null : text(record.value);
      finish(attempt, error, error === null ? {record, value} : null);
    });
    isInside = false;
    return attempt;
  }

  /** Waits for the answer, which must be a success. */
  done<T>(attempt: Attempt<T>): T {
    this.until(() => attempt.isDone, 'an answer', 70_000);
    if (attempt.error !== null) throw attempt.error;
    return must(attempt.value, 'a success has a value');
  }

  /** Waits for the answer, which must be an error. */
  refusal(attempt: Attempt<unknown>): RosettaError {
    this.until(() => attempt.isDone, 'an answer', 70_000);
    return must(attempt.error, 'a refusal was expected');
  }

  write(at: TestMember, key: string, value: string): void {
    this.done(this.put(at, key, value));
  }

  read(at: TestMember, key: string): string | null {
    return this.done(this.get(at, key)).value;
  }

  /** All members that run have applied the same, and their states are equal. */
  settle(): void {
    this.until(() => this.isSettled(), 'equal states');
    for (const member of this.running()) {
      assert(
        member.machine.recomputeStateHash() === member.machine.stateHash(),
        `the state hash of ${member.id} is not that of its rows`,
      );
    }
  }

  /** All members that run have applied the same, whatever their states are. */
  settleLogs(): void {
    this.until(() => {
      const applied = this.running().map(member => member.node.status().appliedIndex);
      return new Set(applied).size === 1;
    }, 'equal positions');
  }

  isSettled(): boolean {
    const statuses = this.running().map(member => member.node.status());
    const [first] = statuses;
    return statuses.every(
      status =>
        first !== undefined &&
        status.leader !== null &&
        status.appliedIndex === first.appliedIndex &&
        status.appliedIndex === status.lastLogIndex &&
        status.stateHash === first.stateHash,
    );
  }
}

export function isServing(member: TestMember): boolean {
  return member.isRunning && member.node.notReady() === null;
}

export function peerOf(id: string): {readonly id: string; readonly address: string} {
  return {id, address: addressOf(id)};
}

function finish<T>(attempt: Attempt<T>, error: RosettaError | null, value: T | null): void {
  assert(!attempt.isDone, 'a second answer');
  attempt.isDone = true;
  attempt.error = error;
  attempt.value = value;
}
