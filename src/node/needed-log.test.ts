import assert from 'node:assert/strict';
import {test} from 'node:test';
import {membershipOf} from '../../test/node/driven-raft.ts';
import {logIndex} from '../raft/ids.ts';
import type {MemberProgress} from '../raft/raft.ts';
import {neededAfter} from './needed-log.ts';

interface Follower {
  readonly matchIndex: number;
  readonly state: MemberProgress['state'];
  readonly isConnected: boolean;
}

function needed(
  followers: Readonly<Record<string, Follower>>,
  copyIndex: number | null = null,
): number | null {
  const idle = {bufferedSizeBytes: 0, droppedCount: 0};
  return neededAfter({
    raft: {
      membership: membershipOf(['node1', 'node2', 'node3']),
      progress: id => {
        const follower = followers[id];
        if (follower === undefined) return undefined;
        const matchIndex = logIndex(follower.matchIndex);
        const nextIndex = logIndex(follower.matchIndex + 1);
        const {state, isConnected: isActive} = follower;
        return {matchIndex, nextIndex, state, isActive, wasToldCommit: true};
      },
    },
    transport: {
      peer: id => ({...idle, isConnected: followers[id]?.isConnected ?? false}),
    },
    snapshotter: {oldestCopyIndex: () => (copyIndex === null ? null : logIndex(copyIndex))},
  });
}

const follows: Follower = {matchIndex: 100, state: 'replicate', isConnected: true};

test('only a leader knows what others need', () => {
  assert.equal(needed({}), null);
});

test('who is connected and behind needs what comes after its last entry', () => {
  assert.equal(needed({node2: follows, node3: {...follows, matchIndex: 40}}), 40);
  assert.equal(needed({node2: follows, node3: {...follows, matchIndex: 40, state: 'probe'}}), 40);
});

test('nothing is kept for who is down', () => {
  assert.equal(
    needed({node2: follows, node3: {...follows, matchIndex: 4, isConnected: false}}),
    100,
  );
});

test('who is sent a snapshot needs what comes after it', () => {
  const behind: Follower = {matchIndex: 0, state: 'snapshot', isConnected: true};
  assert.equal(needed({node2: follows, node3: behind}, 70), 70);
  assert.equal(needed({node2: follows, node3: behind}), 100);
});
