/** A proposer on its own: its raft is driven by the test, its transport only takes notes. */
import assert from 'node:assert/strict';
import type {ErrorCode, RosettaError} from '../../src/base/errors.ts';
import {encodeCommand} from '../../src/kv/command-codec.ts';
import {encodeResult} from '../../src/kv/result-codec.ts';
import type {CommandResult} from '../../src/kv/result.ts';
import {LogClock} from '../../src/node/log-clock.ts';
import {Proposer} from '../../src/node/proposer.ts';
import {nodeId} from '../../src/raft/ids.ts';
import type {ForwardMessage} from '../../src/transport/transport.ts';
import {FakeRows} from '../contract/fake-rows.ts';
import {DrivenRaft, membershipOf} from './driven-raft.ts';
import {FakeTransport} from './fake-transport.ts';
import {LifeClock, VirtualTime} from './virtual-time.ts';

export const three = membershipOf(['node1', 'node2', 'node3']);
export const leaderId = nodeId('node2');
export const command = encodeCommand({idempotency: null, body: {type: 'compact', revision: 3}});
export const leaseAnswer = {type: 'lease', revision: 1, id: 7, ttlMs: 5, remainingMs: 5} as const;
export const result: CommandResult = {type: 'compact', revision: 7, compactedRevision: 3};

export interface Answer {
  readonly error: RosettaError | null;
  readonly result: CommandResult | null;
}

export class Scene {
  readonly transport = new FakeTransport();
  readonly time = new VirtualTime();
  readonly driven: DrivenRaft;
  readonly proposer: Proposer;
  isStorageFull = false;
  isDiverged = false;
  leaseError: RosettaError | null = null;
  readyCount = 0;

  constructor(driven: DrivenRaft) {
    this.driven = driven;
    const clock = new LifeClock(this.time);
    this.proposer = new Proposer({
      raft: driven.raft,
      log: driven.log,
      transport: this.transport,
      clock,
      logClock: new LogClock({raft: driven.raft, clock, rows: new FakeRows()}),
      leases: {
        answer: (_command, _timeoutMs, callback) => {
          const error = this.leaseError;
          clock.afterPoll(() => callback(error, error === null ? leaseAnswer : null));
        },
      },
      firstRequestId: 100,
      isStorageFull: () => this.isStorageFull,
      isDiverged: () => this.isDiverged,
      scheduleReady: () => this.readyCount++,
    });
  }

  propose(timeoutMs = 1_000, bytes: Uint8Array = command): Answer[] {
    const answers: Answer[] = [];
    this.proposer.propose(bytes, timeoutMs, (error, value) => answers.push({error, result: value}));
    assert.equal(answers.length, 0, 'an answer inside the call');
    return answers;
  }

  /** What was forwarded so far. */
  forwards(): ForwardMessage[] {
    return this.transport.sent
      .map(({message}) => message)
      .filter(message => message.type === 'forward');
  }

  respond(
    requestId: number,
    error: {code: ErrorCode; detail: string} | null,
    from = leaderId,
  ): void {
    const encoded = error === null ? encodeResult(result) : null;
    this.proposer.handleForwardResponse(from, {
      type: 'forward-response',
      requestId,
      result: encoded,
      error,
    });
  }

  turn(): void {
    this.time.turn(() => undefined);
  }
}

export function follower(): Scene {
  const scene = new Scene(new DrivenRaft(three).follow('node2'));
  scene.transport.connected.add('node2').add('node3');
  return scene;
}

/** The codes that were sent to those who forwarded. */
export function responses(scene: Scene): unknown[] {
  return scene.transport.sent
    .map(({message}) => message)
    .filter(message => message.type === 'forward-response')
    .map(message => message.error?.code ?? 'ok');
}
