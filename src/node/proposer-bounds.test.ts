/** What a proposer holds: bounds, and the window of a leader with what waits before it. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {DrivenRaft} from '../../test/node/driven-raft.ts';
import {
  command,
  follower,
  leaderId,
  responses,
  result,
  Scene,
  three,
} from '../../test/node/proposer-scene.ts';
import type {Answer} from '../../test/node/proposer-scene.ts';
import {limits} from '../base/limits.ts';
import type {CommandResult} from '../kv/result.ts';
import {nodeId} from '../raft/ids.ts';

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

test('what waits before the log of a leader whose state turns out to be wrong leaves it', () => {
  const {scene, inLog, waiting} = fullWindow();
  const forward = {type: 'forward', requestId: 5, timeoutMs: 100, command} as const;
  scene.proposer.handleForward(nodeId('node3'), forward);
  scene.isDiverged = true;
  scene.proposer.onDiverged();
  scene.turn();
  scene.proposer.routeWaiting();
  assert.equal(scene.proposer.proposedCount, inLog.length);
  assert.deepEqual(responses(scene), ['NO_LEADER']);
  assert.equal(waiting.length, 0);
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
