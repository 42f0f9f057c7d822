import assert from 'node:assert/strict';
import {test} from 'node:test';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {DrivenRaft, membershipOf} from '../../test/node/driven-raft.ts';
import {FakeTransport} from '../../test/node/fake-transport.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import type {ErrorCode, RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {encodeCommand} from '../kv/command-codec.ts';
import {encodeResult} from '../kv/result-codec.ts';
import type {CommandResult} from '../kv/result.ts';
import {nodeId} from '../raft/ids.ts';
import type {ForwardMessage} from '../transport/transport.ts';
import {LogClock} from './log-clock.ts';
import {Proposer} from './proposer.ts';

const three = membershipOf(['node1', 'node2', 'node3']);
const leaderId = nodeId('node2');
const command = new Uint8Array([1, 2, 3]);
const leaseAnswer = {type: 'lease', revision: 1, id: 7, ttlMs: 5, remainingMs: 5} as const;
const result: CommandResult = {type: 'compact', revision: 7, compactedRevision: 3};

interface Answer {
  readonly error: RosettaError | null;
  readonly result: CommandResult | null;
}

class Scene {
  readonly transport = new FakeTransport();
  readonly time = new VirtualTime();
  readonly driven: DrivenRaft;
  readonly proposer: Proposer;
  isStorageFull = false;
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
          clock.afterPoll(() => callback(null, leaseAnswer));
        },
      },
      firstRequestId: 100,
      isStorageFull: () => this.isStorageFull,
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

function follower(): Scene {
  const scene = new Scene(new DrivenRaft(three).follow('node2'));
  scene.transport.connected.add('node2').add('node3');
  return scene;
}

test('a leader puts a command into its log and answers when it is applied', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  const answers = scene.propose();
  assert.equal(scene.readyCount, 1);
  assert.equal(scene.proposer.proposedCount, 1);
  scene.driven.perform();
  scene.driven.answerAs(leaderId);
  const entry = scene.driven.committed.at(-1);
  assert.ok(entry !== undefined);
  scene.proposer.table.settle(entry, result);
  assert.deepEqual(answers, [{error: null, result}]);
  assert.equal(scene.proposer.hasPending(), false);
});

test('a follower forwards once and passes the answer on', () => {
  const scene = follower();
  const answers = scene.propose(1_000);
  const [forward] = scene.forwards();
  assert.equal(forward?.requestId, 100);
  assert.equal(forward.timeoutMs, 1_000);
  scene.respond(100, null);
  assert.deepEqual(answers, [{error: null, result}]);
  scene.respond(100, null);
  assert.equal(answers.length, 1);
});

test('an answer of another member than the one that was asked is ignored', () => {
  const scene = follower();
  const answers = scene.propose();
  scene.respond(100, null, nodeId('node3'));
  assert.equal(answers.length, 0);
  scene.respond(99, null);
  assert.equal(answers.length, 0);
});

test("the leader's errors arrive with their code", () => {
  for (const code of ['OUTCOME_UNKNOWN', 'OVERLOADED', 'STORAGE_FULL'] as const) {
    const scene = follower();
    const answers = scene.propose();
    scene.respond(100, {code, detail: 'why'});
    assert.equal(answers[0]?.error?.code, code);
    assert.equal(scene.proposer.hasPending(), false);
  }
});

test('only the definite refusal of a node that does not lead is routed again', () => {
  const scene = follower();
  const answers = scene.propose();
  scene.respond(100, {code: 'NO_LEADER', detail: 'node2 does not lead'});
  assert.equal(answers.length, 0);
  assert.equal(scene.forwards().length, 1, 'not at once: it waits for news');
  scene.proposer.routeWaiting();
  assert.deepEqual(
    scene.forwards().map(forward => forward.requestId),
    [100, 101],
  );
  scene.respond(101, null);
  assert.equal(answers.length, 1);
});

test('a lost connection leaves the outcome unknown, and nothing is sent again', () => {
  const scene = follower();
  const answers = scene.propose();
  scene.proposer.onPeerDown(nodeId('node3'));
  assert.equal(answers.length, 0);
  scene.proposer.onPeerDown(leaderId);
  assert.equal(answers[0]?.error?.code, 'OUTCOME_UNKNOWN');
  scene.proposer.routeWaiting();
  assert.equal(scene.forwards().length, 1);
  assert.equal(answers.length, 1);
});

test('a question that was lost changed nothing; a keepalive may have counted', () => {
  for (const [isKeepalive, code] of [
    [false, 'READ_TIMEOUT'],
    [true, 'OUTCOME_UNKNOWN'],
  ] as const) {
    const body = {type: 'lease-query', id: 7, isKeepalive} as const;
    const scene = follower();
    const answers = scene.propose(50, encodeCommand({idempotency: null, body}));
    scene.proposer.onPeerDown(leaderId);
    assert.equal(answers[0]?.error?.code, code);
  }
});

test('a leader that does not answer in time leaves the outcome unknown', () => {
  const scene = follower();
  const answers = scene.propose(50);
  scene.proposer.expire(49);
  assert.equal(answers.length, 0);
  scene.proposer.expire(50);
  assert.equal(answers[0]?.error?.code, 'OUTCOME_UNKNOWN');
  scene.proposer.routeWaiting();
  assert.equal(scene.forwards().length, 1);
});

test('a forward that could not be sent waits and goes out later', () => {
  const scene = follower();
  scene.transport.connected.clear();
  const answers = scene.propose();
  assert.equal(scene.forwards().length, 0);
  scene.transport.connected.add('node2');
  scene.proposer.routeWaiting();
  assert.equal(scene.forwards().length, 1);
  assert.equal(answers.length, 0);
});

test('without a leader a command waits, and ends definitely at its deadline', () => {
  const scene = new Scene(new DrivenRaft(three));
  const answers = scene.propose(50);
  assert.equal(scene.proposer.hasPending(), true);
  scene.proposer.expire(50);
  assert.equal(answers[0]?.error?.code, 'NO_LEADER');
  assert.equal(answers[0].error.outcome, 'definite');
  assert.equal(scene.proposer.hasPending(), false);
});

test('a command that waited is proposed here when this node becomes the leader', () => {
  const scene = new Scene(new DrivenRaft(three));
  scene.propose();
  scene.driven.lead('node2');
  scene.proposer.routeWaiting();
  assert.equal(scene.proposer.proposedCount, 1);
});

test('the number of commands that wait for a leader is bounded', () => {
  const scene = new Scene(new DrivenRaft(three));
  for (let i = 0; i < limits.pendingProposalCountMax; i++) scene.propose();
  const answers = scene.propose();
  scene.turn();
  assert.equal(answers[0]?.error?.code, 'OVERLOADED');
  assert.equal(answers[0].error.outcome, 'definite');
});

test('the number of forwards without an answer is bounded, further ones wait', () => {
  const scene = follower();
  for (let i = 0; i <= limits.forwardedRequestCountMax; i++) scene.propose();
  assert.equal(scene.forwards().length, limits.forwardedRequestCountMax);
  scene.respond(100, null);
  scene.proposer.routeWaiting();
  assert.equal(scene.forwards().length, limits.forwardedRequestCountMax + 1);
});

test('a full disk refuses definitely, whether log or checkpoint', () => {
  for (const what of ['log', 'checkpoint'] as const) {
    const scene = new Scene(new DrivenRaft(three).lead('node2'));
    if (what === 'log') scene.driven.log.full = true;
    else scene.isStorageFull = true;
    const answers = scene.propose();
    scene.turn();
    assert.equal(answers[0]?.error?.code, 'STORAGE_FULL');
    assert.equal(scene.proposer.proposedCount, 0);
  }
});

test('more than a majority can take is refused definitely', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  const answers: Answer[][] = [];
  for (let i = 0; i < 40; i++) answers.push(scene.propose(1_000, new Uint8Array(100_000)));
  scene.turn();
  const refused = answers.flat();
  assert.ok(refused.length > 20);
  for (const {error} of refused) assert.equal(error?.code, 'OVERLOADED');
});

test('while leadership is handed over commands wait', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  assert.ok(scene.driven.raft.transferLeadership(leaderId));
  const answers = scene.propose();
  assert.equal(scene.proposer.proposedCount, 0);
  assert.equal(scene.proposer.hasPending(), true);
  assert.equal(answers.length, 0);
});

function responses(scene: Scene): unknown[] {
  return scene.transport.sent
    .map(({message}) => message)
    .filter(message => message.type === 'forward-response')
    .map(message => message.error?.code ?? 'ok');
}

test('a forwarded command is refused by who does not lead, and never forwarded again', () => {
  const scene = follower();
  scene.proposer.handleForward(nodeId('node3'), {
    type: 'forward',
    requestId: 5,
    timeoutMs: 100,
    command,
  });
  assert.deepEqual(responses(scene), ['NO_LEADER']);
  assert.equal(scene.forwards().length, 0);
  assert.equal(scene.proposer.hasPending(), false);
});

test('a leader that hands over refuses a forwarded command definitely', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  scene.transport.connected.add('node3');
  scene.driven.raft.transferLeadership(leaderId);
  const forward = {type: 'forward', requestId: 5, timeoutMs: 100, command} as const;
  scene.proposer.handleForward(nodeId('node3'), forward);
  assert.deepEqual(responses(scene), ['NO_LEADER']);
});

test('a forwarded command that is applied or overtaken is answered over the wire', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  scene.transport.connected.add('node3');
  const forward = {type: 'forward', requestId: 5, timeoutMs: 100, command} as const;
  scene.proposer.handleForward(nodeId('node3'), forward);
  scene.proposer.handleForward(nodeId('node3'), {...forward, requestId: 6});
  scene.driven.perform();
  scene.driven.answerAs(leaderId);
  const applied = scene.driven.committed.at(-2);
  assert.ok(applied !== undefined);
  scene.proposer.table.settle(applied, result);
  scene.proposer.expire(100);
  assert.deepEqual(responses(scene), ['ok', 'OUTCOME_UNKNOWN']);
});

test('a stop tells apart what was handed on and what was not', () => {
  const scene = follower();
  const forwarded = scene.propose();
  scene.transport.connected.clear();
  const waiting = scene.propose();
  scene.proposer.failAll();
  assert.equal(forwarded[0]?.error?.outcome, 'unknown');
  assert.equal(waiting[0]?.error?.code, 'STOPPING');
  assert.equal(waiting[0].error.outcome, 'definite');
  const leader = new Scene(new DrivenRaft(three).lead('node2'));
  const proposed = leader.propose();
  leader.proposer.failAll();
  assert.equal(proposed[0]?.error?.outcome, 'unknown');
});

test('an answer to a forward waits for the connection to the node that asked', () => {
  const scene = new Scene(new DrivenRaft(three).follow('node1'));
  const {transport} = scene;
  const sentTypes = (): string[] => transport.sent.map(({message}) => message.type);
  const forward = {type: 'forward', requestId: 7, timeoutMs: 500, command} as const;
  scene.proposer.handleForward(nodeId('node3'), forward);
  assert.deepEqual(sentTypes(), []);
  transport.connected.add('node3');
  scene.proposer.routeWaiting();
  scene.proposer.routeWaiting();
  assert.deepEqual(sentTypes(), ['forward-response'], 'it is sent, and once');
});

test('the bytes that wait for a leader, or for its answer, are bounded', () => {
  const size = limits.pendingProposalSizeBytesMax / 8;
  const scenes = [new Scene(new DrivenRaft(three)), follower(), follower()];
  for (const [i, scene] of scenes.entries()) {
    const bytes = new Uint8Array(size);
    for (let n = 0; n < 8; n++) {
      // The last half of them waits for a way to the leader.
      if (i === 2 && n === 4) scene.transport.connected.clear();
      scene.propose(1_000, bytes);
    }
    const answers = scene.propose();
    scene.proposer.routeWaiting();
    scene.turn();
    assert.equal(answers[0]?.error?.code, 'OVERLOADED');
    assert.equal(answers[0].error.outcome, 'definite');
    scene.proposer.expire(1_000);
    assert.equal(scene.proposer.hasPending(), false);
    const later = scene.propose();
    scene.turn();
    assert.deepEqual(later, []);
  }
});

test('a forward that the leader answered leaves room for the next', () => {
  const scene = follower();
  const bytes = new Uint8Array(limits.pendingProposalSizeBytesMax / 2);
  for (let i = 0; i < 2; i++) scene.propose(1_000, bytes);
  scene.respond(100, {code: 'NO_LEADER', detail: 'node2 does not lead'});
  scene.respond(101, null);
  const answers = [scene.propose(1_000, bytes), scene.propose(1_000, bytes)];
  scene.turn();
  assert.deepEqual(
    answers.map(each => each[0]?.error?.code),
    [undefined, 'OVERLOADED'],
  );
});

test('answers kept for a node that does not take them are bounded by their bytes', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  const value = new Uint8Array(limits.keptResponseSizeBytesMax / 4);
  const revisions = {createRevision: 2, modRevision: 2, version: 1};
  const record = {key: value.subarray(0, 1), value, leaseId: 0, ...revisions};
  const read: CommandResult = {
    type: 'transaction',
    revision: 7,
    succeeded: true,
    results: [{type: 'get', record}],
  };
  for (let i = 0; i < 5; i++) {
    const forward = {type: 'forward', requestId: i, timeoutMs: 100, command} as const;
    scene.proposer.handleForward(nodeId('node3'), forward);
  }
  scene.driven.perform();
  scene.driven.answerAs(leaderId);
  for (const [i, entry] of scene.driven.committed.slice(-5).entries()) {
    scene.proposer.table.settle(entry, i < 4 ? read : result);
  }
  scene.transport.connected.add('node3');
  scene.proposer.routeWaiting();
  // Three of a quarter and what is beside the value; the fourth found no room.
  assert.deepEqual(responses(scene), ['ok', 'ok', 'ok', 'ok']);
});

const large = new Uint8Array(3 * 1024 * 1024);

/** A leader whose log holds as much as the window allows and has committed it; 1 waits. */
function fullWindow(): {
  readonly scene: Scene;
  readonly inLog: Answer[][];
  readonly waiting: Answer[];
} {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  scene.transport.connected.add('node2').add('node3');
  const inLog: Answer[][] = [];
  for (let size = large.length; size <= limits.proposalWindowSizeBytesMax; size += large.length) {
    inLog.push(scene.propose(1_000, large));
    scene.driven.perform();
    scene.driven.answerAs(leaderId);
  }
  const waiting = scene.propose(500, large);
  assert.equal(scene.proposer.proposedCount, inLog.length);
  return {scene, inLog, waiting};
}

/** The oldest proposal of the log is applied. */
function applyOne(scene: Scene): void {
  const entry = scene.driven.committed.filter(each => each.type === 'command').shift();
  assert.ok(entry !== undefined);
  scene.driven.committed.splice(0, scene.driven.committed.indexOf(entry) + 1);
  scene.proposer.table.settle(entry, result);
}

test('what the window has no room for enters the log in order, as others are applied', () => {
  const {scene, inLog, waiting} = fullWindow();
  const second = large.slice().fill(2);
  const secondAnswers = scene.propose(1_000, second);
  scene.turn();
  assert.equal(scene.proposer.proposedCount, inLog.length);
  const entered: (Uint8Array | undefined)[] = [];
  for (let i = 1; i <= 2; i++) {
    applyOne(scene);
    assert.equal(inLog[i - 1]?.length, 1);
    assert.equal(
      scene.proposer.proposedCount,
      inLog.length + i - 1,
      'not while entries are applied',
    );
    scene.turn();
    assert.equal(scene.proposer.proposedCount, inLog.length + i);
    scene.driven.perform();
    scene.driven.answerAs(leaderId);
    entered.push(scene.driven.committed.at(-1)?.data);
  }
  assert.deepEqual([entered[0] === large, entered[1] === second], [true, true]);
  while (scene.driven.committed.some(entry => entry.type === 'command')) applyOne(scene);
  for (const answers of [...inLog, waiting, secondAnswers]) {
    assert.deepEqual(answers, [{error: null, result}]);
  }
  assert.equal(scene.proposer.hasPending(), false);
});

test('nobody overtakes what waits before the log', () => {
  const {scene, inLog} = fullWindow();
  const small = scene.propose();
  scene.turn();
  assert.equal(scene.proposer.proposedCount, inLog.length);
  assert.equal(small.length, 0);
});

test('when leadership is lost, what waits before the log goes to the next leader', () => {
  const {scene, waiting} = fullWindow();
  const forward = {type: 'forward', requestId: 5, timeoutMs: 100, command} as const;
  scene.proposer.handleForward(nodeId('node3'), forward);
  scene.driven.follow('node2');
  scene.proposer.routeWaiting();
  assert.deepEqual(
    scene.forwards().map(each => each.command.length),
    [large.length],
  );
  assert.deepEqual(responses(scene), ['NO_LEADER'], 'and what was forwarded goes back');
  scene.respond(100, null);
  assert.deepEqual(waiting, [{error: null, result}]);
});

test('what waits before the log stays there while leadership is handed over', () => {
  const {scene, inLog, waiting} = fullWindow();
  assert.ok(scene.driven.raft.transferLeadership(leaderId));
  applyOne(scene);
  scene.turn();
  assert.equal(scene.proposer.proposedCount, inLog.length);
  // Nobody took it over in time.
  for (let i = 0; i < 10; i++) {
    scene.driven.raft.noteContact(leaderId);
    scene.driven.raft.tick();
  }
  scene.proposer.routeWaiting();
  assert.equal(scene.proposer.proposedCount, inLog.length + 1);
  assert.equal(waiting.length, 0);
});

test('what waits before the log counts as waiting, and ends definitely', () => {
  const {scene, waiting} = fullWindow();
  let heldSizeBytes = limits.proposalWindowSizeBytesMax + large.length;
  const others: Answer[][] = [];
  while (heldSizeBytes + large.length < limits.pendingProposalSizeBytesMax) {
    others.push(scene.propose(1_000, large));
    heldSizeBytes += large.length;
  }
  const refused = [scene.propose(1_000, large), scene.propose(1_000, large)];
  scene.turn();
  assert.equal(refused[1]?.[0]?.error?.code, 'OVERLOADED');
  scene.proposer.expire(500);
  assert.equal(waiting[0]?.error?.code, 'OVERLOADED');
  assert.equal(waiting[0].error.outcome, 'definite');
  scene.proposer.failAll();
  assert.equal(others[0]?.[0]?.error?.code, 'STOPPING');
});

test('a disk that is full meanwhile refuses what waited before the log', () => {
  const {scene, inLog, waiting} = fullWindow();
  scene.isStorageFull = true;
  applyOne(scene);
  scene.turn();
  scene.turn();
  assert.equal(scene.proposer.proposedCount, inLog.length);
  assert.equal(waiting[0]?.error?.code, 'STORAGE_FULL');
});

test('a question about a lease is answered by the leader and never logged', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  const body = {type: 'lease-query', id: 7, isKeepalive: true} as const;
  const answers = scene.propose(1_000, encodeCommand({idempotency: null, body}));
  scene.turn();
  assert.deepEqual(answers, [{error: null, result: leaseAnswer}]);
  assert.equal(scene.proposer.proposedCount, 0);
});

test('what this leader alone has decided goes into its log now or not at all', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  const codes: (string | undefined)[] = [];
  scene.proposer.proposeNow(command, 1_000, error => codes.push(error?.code));
  assert.equal(scene.proposer.proposedCount, 1);
  scene.driven.raft.stepDown();
  scene.proposer.proposeNow(command, 1_000, error => codes.push(error?.code));
  scene.turn();
  assert.deepEqual(codes, ['NO_LEADER']);
  assert.equal(scene.proposer.proposedCount, 1);
});

test('what the node itself has decided passes all that waits before the log', () => {
  const {scene, inLog} = fullWindow();
  for (let i = 0; i < limits.pendingProposalSizeBytesMax; i += large.length) {
    scene.propose(1_000, large);
  }
  const codes: (string | undefined)[] = [];
  scene.proposer.proposeNow(command, 1_000, error => codes.push(error?.code));
  scene.turn();
  assert.deepEqual(codes, []);
  assert.equal(scene.proposer.proposedCount, inLog.length + 1);
});
