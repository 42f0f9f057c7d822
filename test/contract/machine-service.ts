/**
 * A Service of one member without a cluster: the real state machine over rows in memory. What the
 * store answers is real, so doors are tested here for what they make of it.
 */
import type {RosettaError} from '../../src/base/errors.ts';
import {isLeaseQuery} from '../../src/kv/command-codec.ts';
import {KvStateMachine} from '../../src/kv/state-machine.ts';
import type {
  Consistency,
  LeaderStatus,
  MemberStatus,
  NodeStatus,
  ProposeCallback,
  ReadCallback,
  Service,
} from '../../src/node/service.ts';
import {LeaseExpirer} from '../../src/node/lease-expirer.ts';
import {WatchHub} from '../../src/node/watch-hub.ts';
import {noTerm, termAfter} from '../../src/raft/ids.ts';
import {FakeRows} from './fake-rows.ts';
import {FakeService} from './fake-service.ts';
import {testClock} from './http-fixture.ts';

const firstTerm = termAfter(noTerm);

export class MachineService implements Service {
  readonly machine = new KvStateMachine(new FakeRows());
  readonly watches = new WatchHub({source: this.machine, clock: testClock, refusal: () => null});
  /** Of the log, in milliseconds. */
  nowMs = 1_000;
  proposedCount = 0;
  readonly leases = new LeaseExpirer({
    raft: {role: 'leader', term: firstTerm},
    machine: this.machine,
    clock: testClock,
    confirm: (_timeoutMs, callback) => void setImmediate(() => callback(null, this.machine)),
    propose: (command, timeoutMs, callback) => this.propose(command, {timeoutMs}, callback),
  });
  /** Answers for the cluster that is not there. */
  readonly #cluster = new FakeService();
  #index = 0;

  constructor() {
    this.machine.observe(() => this.watches.wake());
  }

  propose(
    command: Uint8Array,
    options: {readonly timeoutMs: number},
    callback: ProposeCallback,
  ): void {
    if (isLeaseQuery(command)) {
      this.leases.answer(command, options.timeoutMs, callback);
      return;
    }
    const data = command.slice();
    this.proposedCount++;
    setImmediate(() => {
      const entry = {index: ++this.#index, proposedAtMs: this.nowMs, data};
      callback(null, this.machine.apply(entry));
    });
  }

  read(
    _options: {readonly consistency: Consistency; readonly timeoutMs: number},
    callback: ReadCallback,
  ): void {
    setImmediate(() => callback(null, this.machine));
  }

  backup(...parameters: Parameters<Service['backup']>): void {
    this.#cluster.backup(...parameters);
  }

  changeCluster(...parameters: Parameters<Service['changeCluster']>): void {
    this.#cluster.changeCluster(...parameters);
  }

  status(): NodeStatus {
    return this.#cluster.status();
  }

  leader(): LeaderStatus | null {
    return this.#cluster.leader();
  }

  members(): readonly MemberStatus[] {
    return this.#cluster.members();
  }

  notReady(): RosettaError | null {
    return null;
  }
}
