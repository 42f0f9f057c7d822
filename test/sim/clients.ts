/**
 * The clients of a simulated cluster. Each does one thing after the other at whatever member it
 * likes, remembers what it was told, and sends again what carries an idempotency key.
 */
import {must} from '../../src/base/assert.ts';
import type {RosettaError} from '../../src/base/errors.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {CommandResult} from '../../src/kv/result.ts';
import type {Condition, StoreInput} from '../checker/store-operation.ts';
import type {ClusterCheck} from './checks/cluster-check.ts';
import {describe} from './checks/order-check.ts';
import type {OrderCheck} from './checks/order-check.ts';
import {demand} from './checks/violation.ts';
import type {ClientOperation} from './client-operation.ts';
import type {CallClock} from './command-calls.ts';
import {encodeInput, isRead, outputOf, readFrom} from './client-operation.ts';
import type {Coverage} from './coverage.ts';
import type {EventQueue} from './event-queue.ts';
import type {Machine} from './machine.ts';
import {exponential} from './sim-network.ts';
import type {SwarmConfig} from './swarm.ts';

/** One sending of an operation; a retry is another one. */
interface Attempt {
  readonly operation: ClientOperation;
  readonly machine: Machine;
  readonly node: Machine['member']['node'];
  /** Of this operation an earlier attempt may have taken effect. */
  readonly mayHaveHappened: boolean;
  readonly attemptCount: number;
  isOver: boolean;
}

const attemptCountMax = 6;
/** A client waits so much longer than it asked the member to. */
const patienceMs = 500;

export interface ClientsParts {
  readonly config: SwarmConfig;
  readonly queue: EventQueue;
  readonly prng: Prng;
  readonly coverage: Coverage;
  readonly machines: readonly Machine[];
  readonly check: ClusterCheck;
  readonly callClock: CallClock;
  readonly order: OrderCheck;
  readonly tell: (owner: number, text: () => string) => void;
  /** A member was touched from outside of its own events. */
  readonly touched: (owner: number) => void;
}

export class Clients {
  readonly operations: ClientOperation[] = [];
  readonly #parts: ClientsParts;
  readonly #running = new Set<Attempt>();
  /** Of each client: the member it speaks to. */
  readonly #homes: number[] = [];
  /** Last seen revision by key, for conditions. */
  readonly #revisions = new Map<string, number>();
  #isOpen = true;

  constructor(parts: ClientsParts) {
    this.#parts = parts;
  }

  start(): void {
    const {config, prng, machines} = this.#parts;
    for (let client = 0; client < config.clientCount; client++) {
      this.#homes.push(prng.integer({min: 0, max: machines.length - 1}));
      this.#think(client);
    }
  }

  /** Nothing new is asked; what runs goes on. */
  close(): void {
    this.#isOpen = false;
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /** The process that was to answer is gone. */
  onLifeEnded(machine: Machine): void {
    for (const attempt of [...this.#running]) {
      if (attempt.machine !== machine) continue;
      this.#parts.queue.add(1, -1, 'client', () => this.#lost(attempt));
    }
  }

  /** One operation at a given member, beside what the clients do by themselves. */
  ask(machine: Machine, input: StoreInput, timeoutMs: number): ClientOperation {
    const operation = this.#create(-1, input, {isLocal: false, isKeyed: false});
    this.#send(operation, machine, {timeoutMs, attemptCount: 1, mayHaveHappened: false});
    return operation;
  }

  value(): string {
    const {config, prng} = this.#parts;
    const id = `v${this.operations.length}`;
    return id.padEnd(prng.integer({min: id.length, max: config.valueSizeBytesMax + 8}), '.');
  }

  #think(client: number): void {
    if (client < 0) return;
    const {config, queue, prng} = this.#parts;
    const meanMs = (1_000 * config.clientCount) / config.operationsPerSecond;
    queue.add(exponential(prng, meanMs), -1, 'client', () => this.#next(client));
  }

  #next(client: number): void {
    if (!this.#isOpen) return;
    const {prng, machines, config} = this.#parts;
    if (prng.integer({min: 1, max: 8}) === 1) {
      this.#homes[client] = prng.integer({min: 0, max: machines.length - 1});
    }
    const machine = must(machines[this.#homes[client] ?? 0], 'a home');
    if (!machine.isRunning) {
      // Connection refused: the client goes elsewhere.
      this.#homes[client] = prng.integer({min: 0, max: machines.length - 1});
      this.#think(client);
      return;
    }
    const input = this.#drawInput();
    const isLocal = isRead(input) && prng.integer({min: 1, max: 4}) === 1;
    const isKeyed = !isRead(input) && prng.integer({min: 1, max: 3}) === 1;
    const operation = this.#create(client, input, {isLocal, isKeyed});
    const first = {timeoutMs: config.timeoutMs, attemptCount: 1, mayHaveHappened: false};
    this.#send(operation, machine, first);
  }

  #drawInput(): StoreInput {
    const {prng, config} = this.#parts;
    const key = `k${prng.integer({min: 1, max: config.keyCount})}`;
    const dice = prng.integer({min: 1, max: 100});
    if (dice <= 35) return {type: 'get', key};
    if (dice <= 42) return {type: 'range', prefix: prng.integer({min: 0, max: 1}) ? 'k' : 'k1'};
    if (dice <= 80) return {type: 'put', key, value: this.value(), condition: null};
    if (dice <= 92) {
      return {type: 'put', key, value: this.value(), condition: this.#drawCondition(key)};
    }
    if (dice <= 96) return {type: 'delete', key, condition: null};
    if (dice <= 98) return {type: 'delete', key, condition: this.#drawCondition(key)};
    return {type: 'delete-range', prefix: 'k1'};
  }

  #drawCondition(key: string): Condition {
    const dice = this.#parts.prng.integer({min: 1, max: 4});
    if (dice === 1) return {type: 'absent'};
    if (dice === 2) return {type: 'exists'};
    return {type: 'revision', revision: this.#revisions.get(key) ?? 1};
  }

  #create(
    client: number,
    input: StoreInput,
    options: {readonly isLocal: boolean; readonly isKeyed: boolean},
  ): ClientOperation {
    const {order, callClock} = this.#parts;
    const id = this.operations.length;
    const operation: ClientOperation = {
      id,
      client,
      input,
      isLocal: options.isLocal,
      command: encodeInput(id, input, options.isKeyed),
      isKeyed: options.isKeyed,
      calledAt: callClock.next(),
      returnedAt: Infinity,
      floor: order.floor,
      outcome: 'running',
      output: null,
      position: null,
      expected: null,
      deletedKeys: [],
    };
    this.operations.push(operation);
    order.register(operation);
    return operation;
  }

  #send(
    operation: ClientOperation,
    machine: Machine,
    options: {
      readonly timeoutMs: number;
      readonly attemptCount: number;
      readonly mayHaveHappened: boolean;
    },
  ): void {
    const {queue, touched, tell} = this.#parts;
    const {timeoutMs, attemptCount, mayHaveHappened} = options;
    const {node} = machine.member;
    const attempt: Attempt = {
      operation,
      machine,
      node,
      mayHaveHappened,
      attemptCount,
      isOver: false,
    };
    this.#running.add(attempt);
    tell(machine.owner, () => `gets ${describe(operation)}`);
    // A paused process takes the request from its socket when it wakes up.
    machine.time.wake('message', () => {
      if (attempt.isOver || !machine.isRunning || machine.member.node !== node) return;
      if (operation.command === null) this.#read(attempt, timeoutMs);
      else this.#propose(attempt, operation.command, timeoutMs);
      touched(machine.owner);
    });
    queue.add(timeoutMs + patienceMs, -1, 'client', () => this.#lost(attempt));
  }

  #propose(attempt: Attempt, command: Uint8Array, timeoutMs: number): void {
    let isInside = true;
    attempt.node.propose(command, {timeoutMs}, (error, result) => {
      demand(!isInside, 'callbacks run later', 'an answer came inside the call');
      if (!this.#end(attempt)) return;
      if (error !== null) this.#failed(attempt, error);
      else this.#answered(attempt, must(result, 'a success has a result'));
    });
    isInside = false;
  }

  #read(attempt: Attempt, timeoutMs: number): void {
    const {operation, machine, node} = attempt;
    const {input, isLocal} = operation;
    const {check, order, coverage} = this.#parts;
    const consistency = isLocal ? 'local' : 'linearizable';
    node.read({consistency, timeoutMs}, (error, reader) => {
      if (!this.#end(attempt)) return;
      if (error !== null || reader === null || !isRead(input)) {
        operation.outcome = 'definite';
        if (error !== null) coverage.count(`client saw ${error.code}`);
        this.#think(operation.client);
        return;
      }
      const view = must(check.view(machine.owner), 'a member is watched');
      const position = view.replica?.applied.index ?? 0;
      demand(position >= view.localPosition, 'local reads go forward', view.id);
      view.localPosition = position;
      operation.output = readFrom(reader, input);
      operation.outcome = 'done';
      operation.returnedAt = this.#parts.callClock.next();
      order.onRead(operation, operation.output, position);
      coverage.count(isLocal ? 'local read' : 'linearizable read');
      if (input.type === 'range') coverage.count('range read');
      if (operation.output.type === 'record') {
        this.#revisions.set(operation.output.record.key, operation.output.record.modRevision);
      }
      this.#think(operation.client);
    });
  }

  #answered({operation}: Attempt, result: CommandResult): void {
    const {order, coverage, tell} = this.#parts;
    const output = outputOf(result);
    demand(output !== null, 'answers are understood', () => JSON.stringify(result));
    operation.output = output;
    operation.outcome = 'done';
    operation.returnedAt = this.#parts.callClock.next();
    order.onReturned(operation, output);
    coverage.count('write acknowledged');
    if (operation.input.type === 'delete') coverage.count('delete');
    if (output.type === 'written' && 'key' in operation.input) {
      this.#revisions.set(operation.input.key, output.revision);
    }
    tell(-1, () => `${describe(operation)} is done at ${operation.position ?? 0}`);
    this.#think(operation.client);
  }

  #failed(attempt: Attempt, error: RosettaError): void {
    const {operation} = attempt;
    const {coverage, order} = this.#parts;
    coverage.count(`client saw ${error.code}`);
    if (error.outcome === 'unknown' || attempt.mayHaveHappened) {
      this.#unknown(attempt);
      return;
    }
    coverage.count('write definitely refused');
    operation.outcome = 'definite';
    order.onRefused(operation);
    this.#think(operation.client);
  }

  /** No answer, for whatever reason. */
  #lost(attempt: Attempt): void {
    if (!this.#end(attempt)) return;
    if (attempt.operation.command !== null) {
      this.#unknown(attempt);
      return;
    }
    attempt.operation.outcome = 'definite';
    this.#think(attempt.operation.client);
  }

  #unknown({operation, attemptCount}: Attempt): void {
    const {coverage, config, queue, prng, machines, tell} = this.#parts;
    if (!operation.isKeyed || attemptCount >= attemptCountMax) {
      operation.outcome = 'unknown';
      coverage.count('write with unknown outcome');
      tell(-1, () => `${describe(operation)} has an unknown outcome`);
      this.#think(operation.client);
      return;
    }
    queue.add(exponential(prng, 200), -1, 'client', () => {
      const running = machines.filter(machine => machine.isRunning);
      const machine = running[prng.integer({min: 0, max: Math.max(0, running.length - 1)})];
      const next = {timeoutMs: config.timeoutMs, attemptCount: attemptCount + 1};
      if (machine === undefined) {
        operation.outcome = 'unknown';
        this.#think(operation.client);
        return;
      }
      coverage.count('retry after an unknown outcome');
      this.#send(operation, machine, {...next, mayHaveHappened: true});
    });
  }

  /** False: it had ended before. */
  #end(attempt: Attempt): boolean {
    if (attempt.isOver) return false;
    attempt.isOver = true;
    this.#running.delete(attempt);
    return true;
  }
}
