/** The clients beside those of plain operations, as the seed has drawn them. */
import {must} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {Replica} from '../../src/node/replica.ts';
import {LeaseCheck} from './checks/lease-check.ts';
import type {OrderCheck} from './checks/order-check.ts';
import type {CallClock} from './command-calls.ts';
import {CommandCalls} from './command-calls.ts';
import type {Coverage} from './coverage.ts';
import type {EventQueue} from './event-queue.ts';
import {LeaseClients} from './lease-clients.ts';
import type {Machine} from './machine.ts';
import {SessionClients} from './session-clients.ts';
import type {SwarmConfig} from './swarm.ts';
import {streamOf} from './swarm.ts';
import {TransactionClients} from './transaction-clients.ts';

export interface CommandClientsParts {
  readonly config: SwarmConfig;
  readonly queue: EventQueue;
  readonly coverage: Coverage;
  readonly order: OrderCheck;
  readonly machines: readonly Machine[];
  readonly callClock: CallClock;
  readonly termMax: () => number;
  readonly tell: (owner: number, text: () => string) => void;
  readonly touched: (owner: number) => void;
}

export class CommandClients {
  readonly leaseCheck: LeaseCheck;
  readonly #calls: CommandCalls;
  readonly #transactions: TransactionClients | null;
  readonly #leases: LeaseClients | null;
  readonly #sessions: SessionClients | null;

  constructor(parts: CommandClientsParts) {
    const {config, queue, coverage, machines} = parts;
    const {seed, clientKinds, keyCount, timeoutMs} = config;
    this.leaseCheck = new LeaseCheck(parts);
    const calls = new CommandCalls({...parts, timeoutMs});
    this.#calls = calls;
    const machineFor = (prng: Prng): Machine | null => runningOne(machines, prng);
    const shared = {queue, coverage, calls, keyCount, machineFor};
    this.#transactions = clientKinds.has('transactions')
      ? new TransactionClients({...shared, prng: streamOf(seed, 'transaction clients')})
      : null;
    const check = this.leaseCheck;
    this.#leases = clientKinds.has('leases')
      ? new LeaseClients({...shared, check, prng: streamOf(seed, 'lease clients')})
      : null;
    this.#sessions = clientKinds.has('sessions')
      ? new SessionClients({...shared, prng: streamOf(seed, 'session clients')})
      : null;
  }

  get runningCount(): number {
    return this.#calls.runningCount;
  }

  start(): void {
    for (const kind of [this.#transactions, this.#leases, this.#sessions]) kind?.start();
  }

  /** Nothing new is asked; what runs goes on. */
  close(): void {
    for (const kind of [this.#transactions, this.#leases, this.#sessions]) kind?.close();
  }

  /** Everything is repaired, and everybody has had an answer: what must come true now? */
  calm(): void {
    this.#leases?.calm();
    this.#sessions?.settle();
  }

  get isSettled(): boolean {
    return this.#leases?.isSettled !== false && this.#sessions?.isSettled !== false;
  }

  onReplica(replica: Replica): void {
    this.leaseCheck.onReplica(replica);
  }

  onLifeEnded(machine: Machine): void {
    this.#calls.onLifeEnded(machine);
  }
}

function runningOne(machines: readonly Machine[], prng: Prng): Machine | null {
  const dice = prng.float();
  const running = machines.filter(({isRunning, isLost}) => isRunning && !isLost);
  if (running.length === 0) return null;
  return must(running[Math.floor(dice * running.length)], 'a machine');
}
