import assert from 'node:assert/strict';
import {test} from 'node:test';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {logIndex, nodeId} from '../raft/ids.ts';
import type {MemberProgress} from '../raft/raft.ts';
import {CommitWait} from './commit-wait.ts';

const node2 = nodeId('node2');
const untold: MemberProgress = {
  matchIndex: logIndex(1),
  nextIndex: logIndex(2),
  state: 'replicate',
  isActive: true,
  wasToldCommit: false,
};

test('a removal waits for a member that may hear of its commits, and no longer than a moment', () => {
  const time = new VirtualTime();
  const wait = new CommitWait(new LifeClock(time));
  const pass = (durationMs: number): void => {
    for (let i = 0; i < durationMs; i++) time.turn(() => undefined);
  };
  assert.equal(wait.mustWait(node2, true, {...untold, wasToldCommit: true}), false);
  assert.equal(wait.mustWait(node2, false, untold), false);
  assert.equal(wait.mustWait(node2, true, {...untold, state: 'snapshot'}), false);
  assert.equal(wait.mustWait(node2, true, undefined), false);
  assert.equal(wait.mustWait(node2, true, untold), true);
  pass(999);
  assert.equal(wait.mustWait(node2, true, untold), true);
  pass(1);
  assert.equal(wait.mustWait(node2, true, untold), false, 'its disk may be full');
});

test('removals of several members that are asked for by turns each have their time', () => {
  const time = new VirtualTime();
  const wait = new CommitWait(new LifeClock(time));
  const ids = ['node2', 'node3'].map(nodeId);
  for (let i = 0; i < 1_000; i++) {
    for (const id of ids) assert.equal(wait.mustWait(id, true, untold), true);
    wait.mustWait(nodeId('node4'), false, untold);
    time.turn(() => undefined);
  }
  for (const id of ids) assert.equal(wait.mustWait(id, true, untold), false);
});
