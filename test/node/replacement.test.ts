import assert from 'node:assert/strict';
import {test} from 'node:test';
import {must} from '../../src/base/assert.ts';
import {silentLogger} from '../../src/base/logger.ts';
import type {FormerDirectory, ReplacementDecision} from '../../src/node/replacement.ts';
import {Replacement} from '../../src/node/replacement.ts';
import {nodeId} from '../../src/raft/ids.ts';
import {startsOf} from '../contract/starts.ts';
import {TestCluster, isServing} from './test-cluster.ts';
import type {TestMember} from './test-member.ts';
import {addressOf} from './test-member.ts';
import {LifeClock} from './virtual-time.ts';

interface Question {
  decision: ReplacementDecision | null;
  fatal: Error | null;
}

function three(): TestCluster {
  const cluster = new TestCluster({ids: ['node1', 'node2', 'node3']});
  cluster.startAll();
  return cluster;
}

/** `victim` does not run; it asks the others about its directory. */
function ask(
  cluster: TestCluster,
  victim: TestMember,
  changes: Partial<FormerDirectory> = {},
): Question {
  const {clusterId, incarnation} = victim.record;
  const question: Question = {decision: null, fatal: null};
  new Replacement({
    id: victim.id,
    listen: victim.address,
    former: {clusterId, incarnation, starts: startsOf(2), damage: null, ...changes},
    contacts: victim.peers.map(({address}) => address),
    transport: cluster.network.transport(`asking-${victim.id}:1`),
    clock: new LifeClock(cluster.time),
    logger: silentLogger,
    onDecided: decision => {
      assert.equal(question.decision, null, 'one decision');
      question.decision = decision;
    },
    onFatal: error => {
      question.fatal = error;
    },
  }).start();
  return question;
}

test('a directory of a member starts as it is, and at once', () => {
  const cluster = three();
  const victim = cluster.follower();
  victim.crash();
  const question = ask(cluster, victim);
  cluster.until(() => question.decision !== null, 'a decision', 1_000);
  assert.deepEqual(question.decision, {type: 'keep', isAgreed: true});
});

test('when everybody comes back with the flag, everybody starts', () => {
  const cluster = three();
  for (const member of cluster.members) member.crash();
  const questions = cluster.members.map(member => ask(cluster, member));
  cluster.until(() => questions.every(({decision}) => decision?.type === 'keep'), 'all start');
  for (const {decision} of questions) assert.deepEqual(decision, {type: 'keep', isAgreed: false});
  cluster.startAll();
});

test('what is damaged waits for a leader, and until its process is gone', () => {
  const cluster = three();
  const [victim, other] = cluster.members.filter(member => member !== cluster.leader());
  assert.ok(victim !== undefined && other !== undefined);
  other.crash();
  victim.crash();
  const damage = 'the log is damaged';
  const question = ask(cluster, victim, {damage});
  cluster.advance(10_000);
  assert.equal(question.decision, null, 'nobody leads');
  other.start();
  cluster.until(() => question.decision !== null, 'a decision', 20_000);
  const {clusterId} = victim.record;
  assert.deepEqual(question.decision, {type: 'replace', clusterId});
  // Its identity cannot be read either: the cluster's answer names the cluster.
  const unknown = ask(cluster, victim, {damage, clusterId: null, incarnation: null});
  cluster.until(() => unknown.decision !== null, 'a decision', 20_000);
  assert.deepEqual(unknown.decision, {type: 'replace', clusterId});
  // Nothing of it was logged.
  assert.equal(cluster.leader().node.members().length, 3);
});

test('a directory that runs elsewhere is not replaced', () => {
  const cluster = three();
  const question = ask(cluster, cluster.follower(), {damage: 'damaged'});
  cluster.advance(5_000);
  assert.deepEqual([question.decision, question.fatal], [null, null]);
});

test('a directory out of a backup is replaced, whichever member has seen a later start', () => {
  const cluster = three();
  const victim = cluster.follower();
  for (let i = 0; i < 3; i++) {
    victim.crash();
    victim.start();
    cluster.until(() => isServing(victim), 'it serves again');
  }
  victim.crash();
  const question = ask(cluster, victim, {starts: startsOf(1)});
  cluster.until(() => question.decision !== null, 'a decision', 5_000);
  assert.equal(question.decision?.type, 'replace');
});

test('a directory that was replaced by another is given up, one that was removed is not', () => {
  const cluster = three();
  const victim = cluster.follower();
  victim.crash();
  const other = ask(cluster, victim, {incarnation: 'f'.repeat(16)});
  cluster.until(() => other.decision !== null, 'a decision', 5_000);
  assert.equal(other.decision?.type, 'replace');
  let isRemoved = false;
  const change = {type: 'remove', id: nodeId(victim.id)} as const;
  cluster.leader().node.changeCluster(change, {timeoutMs: 5_000}, error => {
    assert.equal(error, null);
    isRemoved = true;
  });
  cluster.until(() => isRemoved, 'it is removed');
  const removed = ask(cluster, victim, {damage: 'damaged'});
  cluster.until(() => removed.decision !== null, 'a decision', 5_000);
  assert.deepEqual(removed.decision, {type: 'keep', isAgreed: true});
});

test('another cluster is told nothing and gets nobody', () => {
  const cluster = three();
  const victim = cluster.follower();
  victim.crash();
  const clusterId = 'f'.repeat(32);
  const damaged = ask(cluster, victim, {clusterId, damage: 'damaged'});
  cluster.until(() => damaged.fatal !== null, 'it is refused', 5_000);
  assert.match(damaged.fatal?.message ?? '', /belongs to cluster .*nothing was moved/);
  const sound = ask(cluster, victim, {clusterId});
  cluster.until(() => sound.decision !== null, 'a decision', 5_000);
  assert.deepEqual(sound.decision, {type: 'keep', isAgreed: false});
  // Nor is the empty directory let in that takes the place of one of another cluster.
  const answers: unknown[] = [];
  const member = {id: 'node9', incarnation: 'e'.repeat(16), listen: 'node9:1', http: 'node9:2'};
  const contact = addressOf(must(cluster.running()[0], 'two run').id);
  cluster.network
    .transport('node9:1')
    .requestFormation(contact, {type: 'join', member, replaces: true, clusterId}, (_, answer) => {
      answers.push(answer?.body);
    });
  cluster.until(() => answers.length === 1, 'an answer');
  assert.equal((answers[0] as {code: string}).code, 'WRONG_CLUSTER');
  assert.equal(cluster.leader().node.members().length, 3);
});
