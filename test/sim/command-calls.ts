/**
 * How clients send commands to members and hear what came of them, as their callers see it: an
 * answer, a definite refusal, or nothing that tells.
 */
import {must} from '../../src/base/assert.ts';
import type {RosettaError} from '../../src/base/errors.ts';
import type {CommandBody} from '../../src/kv/command.ts';
import type {CommandResult} from '../../src/kv/result.ts';
import type {SentCommand} from './checks/command-check.ts';
import {wasTold} from './checks/command-check.ts';
import type {OrderCheck} from './checks/order-check.ts';
import type {SessionCall} from './checks/session-model.ts';
import {demand} from './checks/violation.ts';
import type {Coverage} from './coverage.ts';
import type {EventQueue} from './event-queue.ts';
import type {Machine} from './machine.ts';

/** Positions in the one order of all calls and returns. */
export class CallClock {
  #last = 0;

  next(): number {
    return ++this.#last;
  }
}

/** One sending. */
interface Call {
  readonly machine: Machine;
  readonly callback: CallCallback;
  isOver: boolean;
}

/** Both null: the connection was lost, or nobody answered in time. */
export type CallCallback = (error: RosettaError | null, result: CommandResult | null) => void;

export interface CommandCallsParts {
  readonly queue: EventQueue;
  readonly coverage: Coverage;
  readonly order: OrderCheck;
  readonly callClock: CallClock;
  readonly timeoutMs: number;
  readonly tell: (owner: number, text: () => string) => void;
  /** A member was touched from outside of its own events. */
  readonly touched: (owner: number) => void;
}

/** A client waits so much longer than it asked the member to. */
const patienceMs = 500;

export class CommandCalls {
  readonly #parts: CommandCallsParts;
  readonly #running = new Set<Call>();
  #serial = 0;

  constructor(parts: CommandCallsParts) {
    this.#parts = parts;
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /** A number that no other command has, to tell them apart. */
  nextSerial(): number {
    return ++this.#serial;
  }

  /** The process that was to answer is gone. */
  onLifeEnded(machine: Machine): void {
    for (const call of this.#running) {
      if (call.machine !== machine) continue;
      this.#parts.queue.add(1, -1, 'client', () => this.#end(call, null, null));
    }
  }

  /** Begins a command; `perform` sends it. */
  create(name: string, body: CommandBody, mayRepeat = false): SentCommand {
    const {order, callClock} = this.#parts;
    return {
      name,
      body,
      mayRepeat,
      calledAt: callClock.next(),
      returnedAt: Infinity,
      floor: order.floor,
      outcome: 'running',
      mayHaveHappened: false,
      told: null,
      answers: new Map(),
      ran: null,
      granted: [],
      revokedKeys: [],
    };
  }

  /** `callback`: null when the outcome is unknown, or it was definitely refused. */
  perform(
    sent: SentCommand,
    request: {
      readonly machine: Machine;
      readonly command: Uint8Array;
      readonly session: SessionCall | null;
      /** That of the run, unless it is given. */
      readonly timeoutMs?: number | undefined;
    },
    callback: (result: CommandResult | null) => void,
  ): void {
    const {order, coverage, callClock, tell} = this.#parts;
    const {machine, command, session} = request;
    order.commands.register(command, sent, session);
    sent.outcome = 'running';
    tell(machine.owner, () => `gets ${sent.name}`);
    const {timeoutMs} = request;
    this.send(
      machine,
      command,
      (error, result) => {
        if (result !== null) {
          sent.outcome = 'done';
          sent.mayHaveHappened = true;
          // What came of it when it ran is told first; then perhaps again, or a refusal.
          if (!wasTold(sent)) {
            sent.returnedAt = callClock.next();
            sent.told = result;
          }
          order.commands.onReturned(sent, result);
          const {type, revision} = result;
          tell(-1, () => `${sent.name} is done: ${type} at revision ${revision}`);
        } else if (error?.outcome === 'definite' && !sent.mayHaveHappened) {
          sent.outcome = 'definite';
          coverage.count('command definitely refused');
          order.commands.onRefused(sent);
        } else {
          sent.outcome = 'unknown';
          sent.mayHaveHappened = true;
          coverage.count('command with unknown outcome');
        }
        callback(result);
      },
      timeoutMs,
    );
  }

  /** As `perform`, for what is in no log. */
  send(
    machine: Machine,
    command: Uint8Array,
    callback: CallCallback,
    timeoutMs = this.#parts.timeoutMs,
  ): void {
    const {queue, touched} = this.#parts;
    const call: Call = {machine, callback, isOver: false};
    this.#running.add(call);
    queue.add(timeoutMs + patienceMs, -1, 'client', () => this.#end(call, null, null));
    if (!machine.isRunning) {
      queue.add(1, -1, 'client', () => this.#end(call, null, null));
      return;
    }
    const {node} = machine.member;
    // A paused process takes the request from its socket when it wakes up.
    machine.time.wake('message', () => {
      if (call.isOver || !machine.isRunning || machine.member.node !== node) return;
      let isInside = true;
      node.propose(command, {timeoutMs}, (error, result) => {
        demand(!isInside, 'callbacks run later', 'an answer came inside the call');
        if (error !== null) this.#end(call, error, null);
        else this.#end(call, null, must(result, 'a success has a result'));
      });
      isInside = false;
      touched(machine.owner);
    });
  }

  #end(call: Call, error: RosettaError | null, result: CommandResult | null): void {
    if (call.isOver) return;
    call.isOver = true;
    this.#running.delete(call);
    if (error !== null) this.#parts.coverage.count(`client saw ${error.code}`);
    call.callback(error, result);
  }
}
