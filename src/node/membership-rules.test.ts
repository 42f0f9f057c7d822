import assert from 'node:assert/strict';
import {test} from 'node:test';
import {startsOf} from '../../test/contract/starts.ts';
import {memberOf, membershipOf} from '../../test/node/driven-raft.ts';
import {RosettaError} from '../base/errors.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member, Membership} from '../raft/membership.ts';
import {decodeMembership, encodeMembership} from '../raft/membership.ts';
import type {JoinPlan} from './membership-rules.ts';
import {
  isCarriedOut,
  planJoin,
  planReplacement,
  withLearner,
  withoutMember,
  withPromoted,
} from './membership-rules.ts';

const three = membershipOf(['node1', 'node2', 'node3']);
const everybody = (): boolean => true;
const except =
  (...ids: readonly string[]) =>
  (id: string): boolean =>
    !ids.includes(id);

function other(id: string): Member {
  return {...memberOf(id), incarnation: 'f'.repeat(16)};
}

function join(
  membership: Membership,
  member: Member,
  options: {
    readonly replaces?: boolean;
    readonly isActive?: (id: string) => boolean;
    readonly mayRun?: (id: string) => boolean;
    readonly committed?: Membership;
    readonly address?: string;
  } = {},
): JoinPlan {
  const {replaces = false, isActive = everybody, mayRun = isActive} = options;
  const {committed = membership, address = 'node1:1'} = options;
  const view = {isActive, mayRun, committed, address};
  return planJoin(membership, {type: 'join', member, replaces}, view);
}

function next(result: Membership | RosettaError): Membership {
  if (result instanceof RosettaError) throw result;
  return result;
}

function proposed(plan: JoinPlan): Membership {
  if (plan.type !== 'propose') throw new Error(`not proposed: ${plan.type}`);
  return plan.next;
}

test('nobody joins a leader that has no address others can dial', () => {
  for (const address of [':8080', '0.0.0.0:8080', '[::]:8080']) {
    const plan = join(three, memberOf('node4'), {address});
    assert.equal(plan.type, 'refuse');
    assert.match(plan.detail, /start it again with -advertise-listen/);
  }
  // Who is in already stays in.
  assert.equal(join(three, memberOf('node2'), {address: ':8080'}).type, 'member');
});

test('a member comes as a learner, under an id and an address of its own', () => {
  const grown = next(withLearner(three, memberOf('node4')));
  assert.deepEqual([grown.voters, grown.learners], [three.voters, ['node4']]);
  assert.deepEqual(grown.members, ['node1', 'node2', 'node3', 'node4'].map(memberOf));
  for (const [member, code] of [
    [memberOf('node2'), 'MEMBER_EXISTS'],
    [{...memberOf('node4'), listen: memberOf('node1').listen}, 'ADDRESS_IN_USE'],
  ] as const) {
    const refused = withLearner(three, member);
    assert.ok(refused instanceof RosettaError);
    assert.equal(refused.code, code);
  }
  const seven = membershipOf(['1', '2', '3', '4', '5', '6', '7']);
  const refused = withLearner(seven, memberOf('8'));
  assert.ok(refused instanceof RosettaError && refused.code === 'TOO_MANY_MEMBERS');
});

test('who leaves is remembered, the last 32 of them, and the bytes carry it', () => {
  let membership = three;
  for (let i = 0; i < 40; i++) {
    const id = nodeId(`n${i}`);
    const incarnation = i.toString(16).padStart(16, '0');
    membership = next(withLearner(membership, {...memberOf(id), incarnation}));
    membership = next(withoutMember(membership, id, everybody));
  }
  assert.equal(membership.removed?.length, 32);
  assert.equal(membership.removed[0]?.id, 'n8');
  assert.deepEqual(decodeMembership(encodeMembership(membership)), membership);
  assert.deepEqual(decodeMembership(encodeMembership(three)), three);
});

test('a removal leaves voters that are there, or is refused', () => {
  const two = next(withoutMember(three, nodeId('node3'), except('node3')));
  assert.deepEqual(two.voters, ['node1', 'node2']);
  const atRisk = withoutMember(three, nodeId('node2'), except('node3'));
  assert.ok(atRisk instanceof RosettaError && atRisk.code === 'QUORUM_AT_RISK');
  const last = withoutMember(membershipOf(['node1'], ['node2']), nodeId('node1'), everybody);
  assert.ok(last instanceof RosettaError && last.code === 'LAST_VOTER');
  const nobody = withoutMember(three, nodeId('node9'), everybody);
  assert.ok(nobody instanceof RosettaError && nobody.code === 'MEMBER_NOT_FOUND');
  // A learner counts for nothing, however few are there.
  const learner = withoutMember(
    membershipOf(['node1', 'node2'], ['node3']),
    nodeId('node3'),
    () => {
      return false;
    },
  );
  assert.deepEqual(next(learner).learners, []);
});

test('learners are promoted only to voters of which a majority is there', () => {
  const grown = membershipOf(['node1', 'node2'], ['node3', 'node4']);
  const ids = [nodeId('node3')];
  assert.deepEqual(withPromoted(grown, ids, everybody)?.voters, ['node1', 'node2', 'node3']);
  assert.deepEqual(withPromoted(grown, ids, everybody)?.learners, ['node4']);
  assert.equal(withPromoted(grown, ids, except('node1', 'node3')), null);
  // With it one less may fail: three of four instead of two of three that are there.
  const four = membershipOf(['node1', 'node2', 'node3'], ['node4']);
  assert.equal(withPromoted(four, [nodeId('node4')], except('node4')), null);
});

test('a newcomer is added, and is a member once its incarnation is', () => {
  const grown = proposed(join(three, memberOf('node4')));
  assert.deepEqual(grown.learners, ['node4']);
  assert.equal(join(grown, memberOf('node4')).type, 'member');
});

test('an announced member brings its incarnation', () => {
  const announced = {...memberOf('node4'), incarnation: '', http: ''};
  const grown = next(withLearner(three, announced));
  const come = proposed(join(grown, memberOf('node4')));
  assert.deepEqual(come.learners, ['node4']);
  assert.deepEqual(come.members[3], memberOf('node4'));
  assert.equal(come.removed, undefined, 'nobody has left');
});

test('a used id is refused without -rejoin, and while its member runs it waits', () => {
  const refused = join(three, other('node2'));
  assert.ok(refused.type === 'refuse' && refused.code === 'KNOWN_ID');
  assert.match(refused.detail, /\.\/rosetta -id=node2 .*-rejoin/);
  const waiting = join(three, other('node2'), {replaces: true});
  assert.ok(waiting.type === 'wait' && waiting.code === 'STILL_RUNNING');
});

test('a voter is replaced by way of its removal; its disk never comes back', () => {
  const isActive = except('node2');
  const without = proposed(join(three, other('node2'), {replaces: true, isActive}));
  assert.deepEqual([without.voters, without.learners], [['node1', 'node3'], []]);
  const back = proposed(join(without, other('node2'), {replaces: true, isActive}));
  assert.deepEqual([back.voters, back.learners], [['node1', 'node3'], ['node2']]);
  const former = join(back, memberOf('node2'), {replaces: true, isActive});
  assert.ok(former.type === 'refuse' && former.code === 'REMOVED');
});

test('a learner is replaced at once', () => {
  const grown = membershipOf(['node1'], ['node2']);
  const options = {replaces: true, isActive: except('node2')};
  const replaced = proposed(join(grown, other('node2'), options));
  assert.deepEqual(replaced.learners, ['node2']);
  assert.equal(replaced.members[1]?.incarnation, other('node2').incarnation);
});

test('what cannot be now waits, what can never be is refused', () => {
  const options = {replaces: true, isActive: except('node2', 'node3')};
  const atRisk = join(three, other('node2'), options);
  assert.ok(atRisk.type === 'wait' && atRisk.code === 'QUORUM_AT_RISK');
  const joint = {...three, votersOutgoing: three.voters};
  assert.equal(join(joint, memberOf('node4')).type, 'wait');
  const only = membershipOf(['node2']);
  const alone = join(only, other('node2'), {replaces: true, isActive: () => false});
  assert.ok(alone.type === 'refuse' && alone.code === 'LAST_VOTER');
});

test('a voter is not removed for a disk that could not come then', () => {
  const elsewhere = {...other('node2'), listen: memberOf('node1').listen};
  const plan = join(three, elsewhere, {replaces: true, isActive: except('node2')});
  assert.ok(plan.type === 'refuse' && plan.code === 'ADDRESS_IN_USE');
});

test('a removal that may be taken back is told to nobody', () => {
  const membership = next(withoutMember(three, nodeId('node2'), everybody));
  const waiting = join(membership, memberOf('node2'), {committed: three});
  assert.ok(waiting.type === 'wait' && waiting.code === 'CHANGE_PENDING');
  const refused = join(membership, memberOf('node2'));
  assert.ok(refused.type === 'refuse' && refused.code === 'REMOVED');
});

test('a member that is only connected, or was only heard of, may run', () => {
  const isActive = except('node2');
  const plan = join(three, other('node2'), {replaces: true, isActive, mayRun: everybody});
  assert.ok(plan.type === 'wait' && plan.code === 'STILL_RUNNING');
});

test('a directory is given up when it is unfit or nobody knows it, and only if that can be', () => {
  const isActive = except('node2');
  const {id, listen, incarnation} = memberOf('node2');
  const plan = (
    changes: {readonly incarnation?: string | null; readonly isUnfit?: boolean} = {},
    membership = three,
    active: (id: string) => boolean = isActive,
  ): string => {
    const asked = {id, listen, clusterId: null, incarnation, starts: startsOf(1), isUnfit: false};
    const view = {isActive: active, mayRun: active, committed: membership, address: 'node1:1'};
    return planReplacement(membership, {type: 'replace', ...asked, ...changes}, view).type;
  };
  assert.equal(plan(), 'keep');
  assert.equal(plan({isUnfit: true}), 'replace');
  assert.equal(plan({incarnation: null, isUnfit: true}), 'replace');
  assert.equal(plan({incarnation: 'f'.repeat(16)}), 'replace');
  assert.equal(plan({isUnfit: true}, three, everybody), 'wait');
  assert.equal(plan({isUnfit: true}, three, except('node2', 'node3')), 'wait');
  const without = next(withoutMember(three, id, everybody));
  assert.equal(plan({isUnfit: true}, without), 'keep', 'an operator removed it');
  assert.equal(plan({incarnation: null, isUnfit: true}, without), 'replace');
  assert.equal(plan({isUnfit: true}, membershipOf(['node2'])), 'refuse');
});

test('what was logged counts as done by its term, and behind a snapshot by the membership', () => {
  const add = {type: 'add', member: memberOf('node4')} as const;
  const remove = {type: 'remove', id: nodeId('node3')} as const;
  const four = next(withLearner(three, memberOf('node4')));
  for (const committed of [three, four]) {
    assert.equal(isCarriedOut(add, 2, {termAt: 2, committed}), true);
    assert.equal(isCarriedOut(add, 2, {termAt: 3, committed}), false, 'another entry is there');
  }
  assert.equal(isCarriedOut(add, 2, {termAt: undefined, committed: four}), true);
  assert.equal(isCarriedOut(add, 2, {termAt: undefined, committed: three}), false);
  assert.equal(isCarriedOut(remove, 2, {termAt: undefined, committed: three}), false);
  const two = membershipOf(['node1', 'node2']);
  assert.equal(isCarriedOut(remove, 2, {termAt: undefined, committed: two}), true);
});
