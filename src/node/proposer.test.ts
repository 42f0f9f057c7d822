import assert from 'node:assert/strict';
import {test} from 'node:test';
import {put} from '../../test/contract/commands.ts';
import {DrivenRaft} from '../../test/node/driven-raft.ts';
import {
  command,
  follower,
  leaderId,
  leaseAnswer,
  responses,
  result,
  Scene,
  three,
} from '../../test/node/proposer-scene.ts';
import type {Answer} from '../../test/node/proposer-scene.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {encodeCommand} from '../kv/command-codec.ts';
import {nodeId} from '../raft/ids.ts';

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

test('a leader whose state is wrong takes no command, its own neither', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  scene.transport.connected.add('node3').add('node2');
  const forward = {type: 'forward', requestId: 5, timeoutMs: 100, command} as const;
  const logged = scene.propose();
  scene.isDiverged = true;
  scene.proposer.onDiverged();
  assert.equal(logged[0]?.error?.code, 'OUTCOME_UNKNOWN');
  scene.proposer.handleForward(nodeId('node3'), forward);
  assert.deepEqual(responses(scene), ['NO_LEADER']);
  const codes: (string | undefined)[] = [];
  scene.proposer.proposeNow(command, 1_000, error => codes.push(error?.code));
  scene.turn();
  assert.deepEqual(codes, ['NO_LEADER']);
  const waiting = scene.propose();
  scene.proposer.routeWaiting();
  assert.equal(scene.proposer.proposedCount, 1);
  scene.driven.follow('node2');
  scene.proposer.routeWaiting();
  scene.respond(100, null);
  assert.deepEqual(waiting, [{error: null, result}]);
});

test('a question that waits at a leader whose state is wrong goes to the next one', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  scene.transport.connected.add('node3');
  scene.leaseError = new RosettaError('DIVERGED', 'ask another node');
  const body = {type: 'lease-query', id: 7, isKeepalive: true} as const;
  const query = encodeCommand({idempotency: null, body});
  const forward = {type: 'forward', requestId: 5, timeoutMs: 100, command: query} as const;
  scene.proposer.handleForward(nodeId('node3'), forward);
  scene.turn();
  assert.deepEqual(responses(scene), ['NO_LEADER']);
});

test('a leader logs nothing from a peer that no replica could apply', () => {
  const scene = new Scene(new DrivenRaft(three).lead('node2'));
  scene.transport.connected.add('node3');
  const query = encodeCommand({
    idempotency: null,
    body: {type: 'lease-query', id: 7, isKeepalive: true},
  });
  const encodedPut = encodeCommand({
    idempotency: null,
    body: {type: 'transaction', compare: [], success: [put('a', 'b')], failure: []},
  });
  const malformed = [
    new Uint8Array(0),
    new Uint8Array([1, 2, 3]),
    new Uint8Array([...command, 0]),
    query.subarray(0, -1),
    encodedPut.subarray(0, -1),
  ];
  for (const [requestId, bytes] of malformed.entries()) {
    const forward = {type: 'forward', requestId, timeoutMs: 100, command: bytes} as const;
    scene.proposer.handleForward(nodeId('node3'), forward);
  }
  const huge = new Uint8Array(limits.entryDataSizeBytesMax + 1);
  const forward = {type: 'forward', requestId: 9, timeoutMs: 100, command: huge} as const;
  scene.proposer.handleForward(nodeId('node3'), forward);
  assert.deepEqual(responses(scene), [
    ...malformed.map(() => 'INVALID_REQUEST'),
    'COMMAND_TOO_LARGE',
  ]);
  assert.equal(scene.proposer.proposedCount, 0);
  scene.proposer.handleForward(nodeId('node3'), {...forward, command: encodedPut});
  assert.equal(scene.proposer.proposedCount, 1);
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
