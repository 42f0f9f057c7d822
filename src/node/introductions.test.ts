import {deepEqual, equal} from 'node:assert/strict';
import {test} from 'node:test';
import {limits} from '../base/limits.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import {Introductions} from './introductions.ts';

function member(id: string, incarnation: string): Member {
  return {id: nodeId(id), incarnation, listen: `${id}:1`, http: `${id}:2`};
}

const self = member('node1', 'aaaa');
const other = member('node2', 'bbbb');
const former = member('node3', 'former');

function introductions(members: readonly Member[]): Introductions {
  return new Introductions(self, id => members.find(row => row.id === id));
}

test('a stranger is who has no id, or not the directory, of a member', () => {
  const members = [self, other, member('node3', 'cccc')];
  const known = introductions(members);
  equal(known.note(other.id, other), true);
  equal(known.note(other.id, other), false);
  known.note(former.id, former);
  equal(known.isStranger(other.id), false);
  equal(known.isStranger(former.id), true);
  deepEqual(known.strangers(), [former]);
  known.note(former.id, member('node3', 'cccc'));
  equal(known.isStranger(former.id), false);
});

test('a change of the membership makes strangers, and members of them', () => {
  const members = [self, other];
  const known = introductions(members);
  known.note(other.id, other);
  known.note(former.id, former);
  members.splice(1, 1, former);
  known.onMembership();
  equal(known.isStranger(other.id), true);
  equal(known.isStranger(former.id), false);
});

test('many strangers are not remembered, but whoever has the id of a member is', () => {
  const known = introductions([self, other, member('node3', 'cccc')]);
  known.note(former.id, former);
  for (let i = 0; i < 1_000; i++) known.note(nodeId(`x${i}`), member(`x${i}`, 'dddd'));
  equal(known.strangers().length, limits.strangerCountMax);
  equal(known.isStranger(former.id), true);
  equal(known.isStranger(nodeId('x999')), true);
  equal(known.of(nodeId('x1')), undefined);
});
