/**
 * An id that was removed and let in again has an empty disk. On its way through the log it reads of
 * the time when its former disk was a voter: that one's vote is not its own.
 */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../base/prng.ts';
import {logIndex, nodeId, term} from './ids.ts';
import type {Membership} from './membership.ts';
import type {MembershipRecord} from './options.ts';
import {Raft} from './raft.ts';
import {electionTimeoutTicks, testMembership} from './testing/memory-cluster.ts';
import {MemoryLog} from './testing/memory-log.ts';

const former = '0123456789abcdef';
const present = 'fedcba9876543210';

function raftOn(
  incarnation: string,
  membership: Membership,
  later: readonly MembershipRecord[] = [],
): Raft {
  const log = new MemoryLog(membership);
  return new Raft({
    id: nodeId('2'),
    incarnation,
    electionTimeoutTicks,
    heartbeatIntervalTicks: 1,
    appendSizeBytesMax: 1024,
    inflightSizeBytesMax: 16_384,
    inflightCountMax: 8,
    uncommittedSizeBytesMax: 65_536,
    committedSizeBytesMax: 4096,
    prng: new Prng(1),
    log,
    hardState: log.hardState,
    memberships: [...log.memberships(), ...later],
    appliedIndex: logIndex(0),
  });
}

const memberships: Readonly<Record<string, Membership>> = {
  'the only voter': testMembership({voters: ['2']}),
  'one of three': testMembership({voters: ['1', '2', '3']}),
  'a voter that leaves': testMembership({voters: ['1'], votersOutgoing: ['1', '2']}),
};

for (const [name, membership] of Object.entries(memberships)) {
  test(`a disk does not stand for election because its former one was ${name}`, () => {
    const [own, other] = [raftOn(former, membership), raftOn(present, membership)];
    for (let i = 0; i < 4 * electionTimeoutTicks; i++) {
      own.tick();
      other.tick();
    }
    assert.notEqual(own.role, 'follower');
    assert.equal(other.role, 'follower');
    other.campaign();
    assert.equal(other.role, 'follower');
    assert.equal(other.term, 0);
  });
}

test('nor does it before the removal of its former disk is committed, as that one must', () => {
  const left = {index: logIndex(1), membership: testMembership({voters: ['1', '3']})};
  const before = testMembership({voters: ['1', '2', '3']});
  for (const incarnation of [former, present]) {
    const raft = raftOn(incarnation, before, [left]);
    raft.campaign();
    assert.equal(raft.role, incarnation === former ? 'pre-candidate' : 'follower');
  }
});

test('nor when a leader tells it to', () => {
  const membership = testMembership({voters: ['1', '2']});
  for (const incarnation of [former, present]) {
    const raft = raftOn(incarnation, membership);
    raft.step({type: 'timeout-now', from: nodeId('1'), to: nodeId('2'), term: term(1)});
    assert.equal(raft.role, incarnation === former ? 'candidate' : 'follower');
  }
});
