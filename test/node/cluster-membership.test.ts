import assert from 'node:assert/strict';
import {test} from 'node:test';
import {RosettaError} from '../../src/base/errors.ts';
import type {ClusterChange} from '../../src/node/service.ts';
import {nodeId} from '../../src/raft/ids.ts';
import type {Membership} from '../../src/raft/membership.ts';
import {must} from '../../src/base/assert.ts';
import {encode, put, transaction} from '../contract/commands.ts';
import {TestCluster, isServing} from './test-cluster.ts';
import type {Attempt} from './test-cluster.ts';
import type {TestMember} from './test-member.ts';
import {addressOf} from './test-member.ts';

/** `size` members formed by their peers; the others are outside. */
function formed(size: number, total: number, seed = 1): TestCluster {
  const ids = Array.from({length: total}, (_, i) => `node${i + 1}`);
  const cluster = new TestCluster({ids, seed});
  const first = cluster.members.slice(0, size);
  for (const member of first) {
    member.peers = member.peers.filter(({id}) => first.some(other => other.id === id));
    member.start();
  }
  cluster.until(() => first.every(isServing), 'the first members serve');
  return cluster;
}

function join(cluster: TestCluster, id: string, contact: string, replaces = false): TestMember {
  const member = cluster.member(id);
  member.peers = [];
  member.join = {contacts: [addressOf(contact)], replaces};
  member.start();
  return member;
}

function change(at: TestMember, wanted: ClusterChange, timeoutMs = 5_000): Attempt<true> {
  const attempt: Attempt<true> = {isDone: false, error: null, value: null};
  at.node.changeCluster(wanted, {timeoutMs}, error => {
    assert.equal(attempt.isDone, false, 'one answer');
    attempt.isDone = true;
    attempt.error = error;
    attempt.value = error === null ? true : null;
  });
  assert.equal(attempt.isDone, false, 'not inside the call');
  return attempt;
}

const add = (id: string): ClusterChange => ({
  type: 'add',
  id: nodeId(id),
  listen: addressOf(id),
});
const remove = (id: string): ClusterChange => ({type: 'remove', id: nodeId(id)});
const lead = (id: string): ClusterChange => ({type: 'lead', id: nodeId(id)});

function putOf(i: number): Uint8Array {
  return encode(transaction({success: [put(`k${i % 10}`, 'v')]}));
}

function membership(cluster: TestCluster): Membership {
  const {node} = cluster.leader();
  const members = node.members();
  const ids = (role: string): string[] =>
    members.filter(member => member.role === role).map(({id}) => id);
  return {
    voters: ids('voter').map(nodeId),
    votersOutgoing: [],
    learners: ids('learner').map(nodeId),
    members: [],
  };
}

function untilVoters(cluster: TestCluster, count: number): void {
  cluster.until(() => membership(cluster).voters.length === count, `${count} voters`, 20_000);
}

function code(cluster: TestCluster, attempt: Attempt<unknown>): string {
  return cluster.refusal(attempt).code;
}

test('a newcomer asks any member, becomes a learner, then a voter', () => {
  const cluster = formed(1, 3);
  cluster.write(cluster.member('node1'), 'k', 'v');
  const second = join(cluster, 'node2', 'node1');
  untilVoters(cluster, 2);
  // Through a follower.
  const third = join(cluster, 'node3', cluster.follower().id);
  untilVoters(cluster, 3);
  cluster.settle();
  for (const member of [second, third]) {
    assert.equal(cluster.read(member, 'k'), 'v');
    assert.equal(member.record.stage, 'member');
  }
  // With the same flags it just starts.
  third.crash();
  third.start();
  cluster.until(() => isServing(third), 'it serves again');
  assert.equal(membership(cluster).voters.length, 3);
});

test('a newcomer waits for its contact, and for its cluster', () => {
  const cluster = formed(1, 3);
  const third = join(cluster, 'node3', 'node2');
  cluster.advance(3_000);
  assert.equal(third.record.stage, 'fresh');
  join(cluster, 'node2', 'node1');
  untilVoters(cluster, 3);
  assert.equal(third.fatal, null);
});

test('an announced member comes, and is known by its own directory', () => {
  const cluster = formed(3, 4);
  const follower = cluster.follower();
  cluster.done(change(follower, add('node4')));
  assert.deepEqual(membership(cluster).learners, ['node4']);
  cluster.advance(5_000);
  assert.deepEqual(membership(cluster).learners, ['node4'], 'it is not there');
  // Nothing waits for it.
  cluster.write(follower, 'k', 'v');
  join(cluster, 'node4', 'node1');
  untilVoters(cluster, 4);
  cluster.settle();
});

test('refusals name their reason, and nothing is logged', () => {
  const cluster = formed(3, 5);
  const leader = cluster.leader();
  cluster.settleLogs();
  const last = leader.node.status().lastLogIndex;
  for (const at of [leader, cluster.follower()]) {
    assert.equal(code(cluster, change(at, add('node1'))), 'MEMBER_EXISTS');
    const taken = {type: 'add', id: nodeId('node9'), listen: addressOf('node1')} as const;
    assert.match(code(cluster, change(at, taken)), /WRONG_NODE|ADDRESS_IN_USE/);
    assert.equal(code(cluster, change(at, remove('node9'))), 'MEMBER_NOT_FOUND');
    assert.equal(code(cluster, change(at, lead('node9'))), 'MEMBER_NOT_FOUND');
  }
  assert.equal(leader.node.status().lastLogIndex, last);
  // Of another cluster.
  const other = cluster.member('node5');
  other.peers = [];
  other.start();
  cluster.until(() => isServing(other), 'a cluster of its own');
  assert.equal(code(cluster, change(leader, add('node5'))), 'WRONG_CLUSTER');
  assert.equal(code(cluster, change(other, remove('node5'))), 'LAST_VOTER');
  cluster.done(change(leader, add('node4')));
  assert.equal(code(cluster, change(leader, lead('node4'))), 'NOT_A_VOTER');
});

test('a second change waits for the first, and is refused when that takes too long', () => {
  const cluster = formed(3, 5);
  const leader = cluster.leader();
  cluster.network.setFilter((_from, _to, message) =>
    message.type === 'append-accepted' ? 'drop' : 'deliver',
  );
  const first = change(leader, add('node4'));
  const second = change(leader, add('node5'));
  assert.equal(code(cluster, second), 'CHANGE_PENDING');
  assert.equal(first.isDone, false);
  cluster.network.setFilter(() => 'deliver');
  cluster.done(first);
  cluster.done(change(leader, add('node5')));
  assert.deepEqual(membership(cluster).learners, ['node4', 'node5']);
});

test('a used id is refused with what to type', () => {
  const cluster = formed(3, 3);
  const lost = cluster.follower();
  lost.crash();
  lost.loseDirectory();
  join(cluster, lost.id, cluster.leader().id);
  cluster.until(() => lost.fatal !== null, 'it is refused');
  assert.match(lost.fatal?.message ?? '', new RegExp(`./rosetta -id=${lost.id} .*-rejoin`));
  assert.equal(membership(cluster).voters.length, 3);
});

test('a voter that lost its directory comes back with -rejoin', () => {
  for (const seed of [1, 2, 3]) {
    const cluster = formed(3, 3, seed);
    cluster.write(cluster.leader(), 'k', 'v');
    const lost = seed === 3 ? cluster.leader() : cluster.follower();
    const before = lost.record.incarnation;
    lost.crash();
    lost.loseDirectory();
    const contact = must(cluster.running()[0], 'two run');
    join(cluster, lost.id, contact.id, true);
    cluster.until(() => lost.record.stage === 'member', 'it is let in', 20_000);
    assert.notEqual(lost.record.incarnation, before);
    // Writes go on all the while.
    cluster.write(contact, 'k', 'w');
    untilVoters(cluster, 3);
    cluster.settle();
    assert.equal(cluster.read(lost, 'k'), 'w');
    // Each of the others is dispensable again.
    contact.crash();
    cluster.write(lost, 'k', 'x');
  }
});

test('a member whose -join address has become another cluster goes on in its own', () => {
  const cluster = formed(1, 3);
  const second = join(cluster, 'node2', 'node1');
  untilVoters(cluster, 2);
  second.crash();
  const other = cluster.member('node3');
  other.peers = [];
  other.start();
  cluster.until(() => isServing(other), 'a cluster of its own');
  second.join = {contacts: [addressOf('node3')], replaces: false};
  second.start();
  cluster.until(() => isServing(second), 'it serves again');
  cluster.advance(1_000);
  assert.equal(second.fatal, null);
});

test('a directory is not replaced while its member runs', () => {
  const cluster = formed(3, 4);
  const [first, second] = cluster.members;
  assert.ok(first !== undefined && second !== undefined);
  const twin = cluster.member('node4');
  const answers: unknown[] = [];
  twin.join = {contacts: [addressOf('node1')], replaces: true};
  const stranger = cluster.network.transport('elsewhere:1');
  const member = {...first.node.members()[1], incarnation: 'f'.repeat(16)};
  const request = {
    type: 'join',
    member: {id: 'node2', incarnation: member.incarnation, listen: 'elsewhere:1', http: 'e:2'},
    replaces: true,
  };
  stranger.requestFormation(addressOf(cluster.leader().id), request, (_error, answer) => {
    answers.push(answer?.body);
  });
  cluster.until(() => answers.length === 1, 'an answer');
  const leaderIsIt = cluster.leader().id === 'node2';
  const expected = leaderIsIt ? 'KNOWN_ID' : 'STILL_RUNNING';
  assert.equal((answers[0] as {code: string}).code, expected);
});

test('a removed member is told and stops; its directory never comes back', () => {
  const cluster = formed(3, 3);
  const gone = cluster.follower();
  cluster.done(change(cluster.leader(), remove(gone.id)));
  cluster.until(() => gone.removal !== null && !gone.isRunning, 'it has stopped');
  assert.match(gone.removal?.message ?? '', /was removed from the cluster/);
  assert.equal(membership(cluster).voters.length, 2);
  gone.start();
  cluster.until(() => !gone.isRunning, 'it is told again');
  assert.match(gone.removal?.message ?? '', /was removed/);
  // With an empty directory it may come as somebody new.
  gone.loseDirectory();
  join(cluster, gone.id, cluster.leader().id);
  untilVoters(cluster, 3);
  cluster.settle();
});

test('a member that was cut off while it was removed learns of it later', () => {
  const cluster = formed(3, 3);
  const gone = cluster.follower();
  cluster.isolate(gone.id);
  cluster.advance(1_000);
  cluster.done(change(cluster.leader(), remove(gone.id)));
  cluster.advance(10_000);
  assert.equal(gone.isRunning, true);
  const {term} = cluster.leader().node.status();
  cluster.heal();
  cluster.until(() => !gone.isRunning, 'it has stopped');
  assert.equal(cluster.leader().node.status().term, term, 'it has disturbed nobody');
});

test('the leader can remove itself', () => {
  const cluster = formed(3, 3);
  const leader = cluster.leader();
  const attempt = change(leader, remove(leader.id));
  cluster.done(attempt);
  cluster.until(() => !leader.isRunning, 'it has stopped');
  assert.equal(membership(cluster).voters.length, 2);
  cluster.write(cluster.leader(), 'k', 'v');
});

test('a leader that removes itself answers everything that it has begun', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const cluster = formed(3, 3, seed);
    const leader = cluster.leader();
    // It takes a while to learn that its last entries are committed, or never does as a leader.
    const slow = must(
      cluster.members.find(member => member !== leader),
      'a follower',
    );
    leader.diskDelayMs = 60;
    slow.diskDelayMs = 10 + seed;
    const writes = Array.from({length: 30}, (_, i) => cluster.put(leader, `k${i}`, 'v'));
    cluster.turn();
    const removal = change(leader, remove(leader.id));
    cluster.done(removal);
    cluster.until(() => writes.every(({isDone}) => isDone), 'every write is answered');
    const unknown = writes.filter(({error}) => error?.outcome === 'unknown');
    assert.deepEqual(
      unknown.map(({error}) => error?.message),
      [],
      `seed ${seed}`,
    );
  }
});

test('a rolling restart leaves no gap, and no write without an answer', () => {
  const cluster = formed(3, 3);
  let lastMs = cluster.time.nowMs;
  let gapMs = 0;
  let count = 0;
  const failures: string[] = [];
  // One client a member; a refusal is repeated at the next one.
  const write = (at: number): void => {
    const member = must(cluster.members[at % 3], 'a member');
    if (!member.isRunning) {
      write(at + 1);
      return;
    }
    member.node.propose(putOf(count++), {timeoutMs: 5_000}, error => {
      if (error === null) {
        gapMs = Math.max(gapMs, cluster.time.nowMs - lastMs);
        lastMs = cluster.time.nowMs;
      } else if (error.outcome === 'unknown') failures.push(`${member.id}: ${error.message}`);
      write(error === null ? at : at + 1);
    });
  };
  [0, 1, 2].forEach(write);
  for (const member of cluster.members) {
    cluster.advance(300);
    let hasStopped = false;
    member.stop(() => {
      hasStopped = true;
    });
    cluster.until(() => hasStopped, 'it stops');
    member.start();
    cluster.until(() => isServing(member), 'it serves again');
  }
  cluster.advance(300);
  assert.deepEqual(failures, []);
  assert.ok(count > 300, `${count} writes`);
  assert.ok(gapMs <= 100, `${gapMs} ms without a write`);
});

test('a cluster shrinks to one voter, and no further', () => {
  const cluster = formed(3, 3);
  for (const size of [2, 1]) {
    const leader = cluster.leader();
    const [at] = cluster.running().filter(member => member !== leader);
    assert.ok(at !== undefined);
    cluster.done(change(at, remove(leader.id)));
    cluster.until(() => cluster.running().length === size, `${size} members`);
    cluster.write(cluster.leader(), 'k', String(size));
  }
  const last = cluster.leader();
  assert.equal(code(cluster, change(last, remove(last.id))), 'LAST_VOTER');
});

test('a removal that would leave no quorum is refused', () => {
  const cluster = formed(3, 3);
  const [dead, alive] = cluster.members.filter(member => member !== cluster.leader());
  assert.ok(dead !== undefined && alive !== undefined);
  dead.crash();
  cluster.advance(2_000);
  const leader = cluster.leader();
  const askedAtMs = cluster.time.nowMs;
  assert.equal(code(cluster, change(leader, remove(alive.id))), 'QUORUM_AT_RISK');
  const waitedMs = cluster.time.nowMs - askedAtMs;
  assert.ok(waitedMs >= 1_000 && waitedMs < 1_200, `after ${waitedMs} ms`);
  cluster.done(change(leader, remove(dead.id)));
  assert.deepEqual([...membership(cluster).voters].sort(), [leader.id, alive.id].sort());
});

test('leadership moves to whom it is asked to', () => {
  const cluster = formed(3, 3);
  for (const id of ['node2', 'node3', 'node1', 'node1']) {
    const at = must(cluster.members[1], 'a member');
    cluster.done(change(at, lead(id)));
    assert.equal(at.node.leader()?.id, id);
  }
  const gone = cluster.follower();
  gone.crash();
  cluster.advance(2_000);
  assert.equal(code(cluster, change(cluster.leader(), lead(gone.id))), 'MEMBER_UNREACHABLE');
});

test('whoever has just been elected waits a moment for those it has not heard of', () => {
  const cluster = formed(3, 3);
  const first = cluster.leader().id;
  const [second = '', third = ''] = ['node1', 'node2', 'node3'].filter(id => id !== first);
  const ids = [second, first];
  for (const next of ids) {
    const leader = cluster.leader();
    for (const id of ids) cluster.cut(id, third);
    cluster.done(change(leader, lead(next)));
    const attempt = change(cluster.leader(), lead(third));
    cluster.turn();
    cluster.heal();
    cluster.done(attempt);
    assert.equal(cluster.leader().id, third);
    cluster.done(change(cluster.leader(), lead(next)));
  }
});

test('so does one that is asked to remove a member', () => {
  const cluster = formed(3, 3);
  const first = cluster.leader();
  const [second, third] = cluster.members.filter(member => member !== first);
  assert.ok(second !== undefined && third !== undefined);
  for (const {id} of [first, second]) cluster.cut(id, third.id);
  cluster.done(change(first, lead(second.id)));
  const attempt = change(second, remove(first.id));
  cluster.turn();
  cluster.heal();
  cluster.done(attempt);
  assert.deepEqual([...membership(cluster).voters].sort(), [second.id, third.id].sort());
});

test('what a leader refused in its last moments is not the answer when there is none', () => {
  const cluster = formed(3, 3);
  const leader = cluster.leader();
  const others = cluster.members.filter(member => member !== leader);
  for (const member of others) member.crash();
  // Their connections are gone, and it leads for a while yet.
  const next = must(others[0], 'a follower').id;
  assert.equal(code(cluster, change(leader, lead(next), 3_000)), 'NO_LEADER');
});

test('without a leader a change is refused in time, and has not happened', () => {
  const cluster = formed(3, 4);
  const leader = cluster.leader();
  for (const member of cluster.members.slice(0, 3)) if (member !== leader) member.crash();
  cluster.advance(2_000);
  const error = cluster.refusal(change(leader, add('node4'), 500));
  assert.ok(error instanceof RosettaError);
  assert.equal(error.code, 'NO_LEADER');
});

test('a member that slept through a change of everybody else is reached by the new leader', () => {
  const cluster = formed(3, 5);
  const sleeper = cluster.follower();
  const old = cluster.members.slice(0, 3).filter(member => member !== sleeper);
  sleeper.crash();
  for (const id of ['node4', 'node5']) {
    join(cluster, id, cluster.leader().id);
    untilVoters(cluster, 4);
    const leaving = must(old.pop(), 'one of the first');
    cluster.done(change(cluster.member(id), remove(leaving.id)));
    cluster.until(() => !leaving.isRunning, 'it is gone');
  }
  cluster.write(cluster.leader(), 'k', 'v');
  sleeper.start();
  cluster.until(() => isServing(sleeper), 'it is found', 20_000);
  assert.equal(cluster.read(sleeper, 'k'), 'v');
  // A newcomer whose log begins with the first members is in the same place.
  const late = must(
    cluster.members.find(member => !member.isRunning),
    'one that was removed',
  );
  late.loseDirectory();
  join(cluster, late.id, 'node5');
  untilVoters(cluster, 4);
  cluster.settle();
});
