import assert from 'node:assert/strict';
import {test} from 'node:test';
import {DrivenRaft, memberOf, membershipOf} from '../../test/node/driven-raft.ts';
import {FakeTransport} from '../../test/node/fake-transport.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {RosettaError} from '../base/errors.ts';
import {silentLogger} from '../base/logger.ts';
import {nodeId} from '../raft/ids.ts';
import type {Membership} from '../raft/membership.ts';
import {isJoint} from '../raft/membership.ts';
import {ClusterGrower} from './cluster-grower.ts';
import {withoutMember} from './membership-rules.ts';

const clusterId = 'a'.repeat(32);

class Scene {
  readonly time = new VirtualTime();
  readonly transport = new FakeTransport();
  readonly driven: DrivenRaft;
  readonly grower: ClusterGrower;
  readonly addresses = new Map<string, {readonly listen: string; readonly http: string}>();

  constructor(driven: DrivenRaft, peerIds: readonly string[], {incarnation} = memberOf('node1')) {
    this.driven = driven;
    this.grower = new ClusterGrower({
      raft: driven.raft,
      transport: this.transport,
      clock: new LifeClock(this.time),
      logger: silentLogger,
      clusterId,
      incarnation,
      peers: peerIds.map(id => ({id, address: `${id}:1`})),
      hello: {type: 'hello'},
      advertised: ({id}) => this.addresses.get(id),
      onProposed: () => undefined,
    });
  }

  look(): void {
    for (let i = 0; i < 200; i++) this.time.turn(() => undefined);
    this.grower.tick();
    this.driven.perform();
  }

  /** The questions since the last time, by address. */
  asked(): FakeTransport['calls'] {
    return this.transport.calls.splice(0);
  }

  /** All that are asked say who they are; `said` changes the answers. */
  answerAll(said: Record<string, unknown> = {}): void {
    for (const {address, answer} of this.asked()) {
      const id = address.split(':')[0] ?? '';
      const body = {
        ...memberOf(id),
        clusterId: null,
        stage: 'fresh',
        ids: ['node1', 'node2', 'node3'],
        isExpected: false,
        ...said,
      };
      answer({status: 200, body});
      this.driven.perform();
    }
  }

  get membership(): Membership {
    return this.driven.raft.membership;
  }
}

function growing(): Scene {
  return new Scene(new DrivenRaft(membershipOf(['node1'])).lead(), ['node2', 'node3']);
}

test('when one of those that came was taken out, the others are learners like any other', () => {
  const scene = growing();
  for (let i = 0; i < 4; i++) {
    scene.look();
    scene.answerAll();
  }
  assert.deepEqual(scene.membership.learners, ['node2', 'node3']);
  assert.equal(scene.grower.isGrowingTo(nodeId('node2')), true);
  const {raft} = scene.driven;
  const without = withoutMember(raft.membership, nodeId('node3'), () => true);
  assert.ok(!(without instanceof RosettaError));
  assert.equal(raft.proposeMembership(without, 0).type, 'accepted');
  scene.driven.perform();
  scene.look();
  assert.equal(scene.grower.isGrowingTo(nodeId('node2')), false);
});

test('peers become learners one by one, are adopted, and become voters together', () => {
  const scene = growing();
  for (let i = 0; i < 4; i++) {
    scene.look();
    scene.answerAll();
  }
  assert.deepEqual(scene.membership.learners, ['node2', 'node3']);
  assert.deepEqual(scene.membership.members, ['node1', 'node2', 'node3'].map(memberOf));
  scene.look();
  scene.answerAll();
  const adopt = scene.asked().map(call => call.request);
  assert.deepEqual(adopt[0], {type: 'adopt', clusterId, members: scene.membership.members});
  assert.equal(scene.membership.voters.length, 1, 'nobody has caught up');
  for (let round = 0; round < 6; round++) {
    scene.driven.raft.tick();
    scene.driven.perform();
    const sent = scene.driven.sent;
    for (const id of ['node2', 'node3']) {
      scene.driven.sent = [...sent];
      scene.driven.answerAs(nodeId(id));
    }
  }
  scene.look();
  assert.deepEqual(scene.membership.voters, ['node1', 'node2', 'node3']);
  assert.deepEqual(scene.membership.learners, []);
});

test('a peer that does not answer, or answers nonsense, is asked again and again', () => {
  const scene = growing();
  for (const answer of [null, {status: 503, body: {}}, {status: 200, body: 'hi'}]) {
    scene.look();
    const calls = scene.asked();
    assert.deepEqual(
      calls.map(call => call.address),
      ['node2:1', 'node3:1'],
    );
    for (const call of calls) call.answer(answer);
  }
  assert.deepEqual(scene.membership.learners, []);
});

test('a peer that has not answered yet is not asked a second time', () => {
  const scene = growing();
  scene.look();
  scene.look();
  assert.equal(scene.asked().length, 2);
});

test('a member of another cluster, or one under another name, is not taken in', () => {
  for (const said of [{clusterId: 'b'.repeat(32), stage: 'member'}, {id: 'node9'}]) {
    const scene = growing();
    scene.look();
    scene.answerAll(said);
    assert.deepEqual(scene.membership.learners, []);
  }
});

test('a learner with a replaced directory takes its own place, a voter does not', () => {
  const scene = new Scene(new DrivenRaft(membershipOf(['node1'], ['node2', 'node3'])).lead(), [
    'node2',
    'node3',
  ]);
  const incarnation = 'feedfeedfeedfeed';
  scene.look();
  scene.answerAll({incarnation});
  assert.deepEqual(scene.membership.learners, ['node2', 'node3']);
  assert.equal(scene.membership.members[1]?.incarnation, incarnation);
});

test('only a leader of one voter grows; a cluster of several is left to its operators', () => {
  const follower = new Scene(new DrivenRaft(membershipOf(['node1'])), ['node2']);
  follower.look();
  assert.equal(follower.asked().length, 0);
  const three = new DrivenRaft(membershipOf(['node1', 'node2', 'node3'])).lead('node2');
  const several = new Scene(three, ['node2', 'node3', 'node4']);
  several.look();
  assert.equal(several.asked().length, 0);
  const stopped = growing();
  stopped.grower.stop();
  stopped.look();
  assert.equal(stopped.asked().length, 0);
});

test('the addresses in the membership follow what the members say', () => {
  const driven = new DrivenRaft(membershipOf(['node1', 'node2', 'node3'])).lead('node2');
  const scene = new Scene(driven, ['node2', 'node3']);
  scene.look();
  const last = driven.raft.lastIndex;
  scene.addresses.set('node3', {listen: 'moved:1', http: 'moved:2'});
  scene.look();
  assert.equal(scene.membership.members[2]?.listen, 'moved:1');
  assert.equal(isJoint(scene.membership), false);
  assert.equal(driven.raft.lastIndex, last + 1);
  driven.answerAs(nodeId('node2'));
  scene.look();
  assert.equal(driven.raft.lastIndex, last + 1, 'once');
});

test('a cluster that somebody shrank to one voter does not grow back by -peers', () => {
  const removed = [{id: nodeId('node2'), incarnation: memberOf('node2').incarnation}];
  const shrunk = {...membershipOf(['node1']), removed};
  const scene = new Scene(new DrivenRaft(shrunk).lead(), ['node2', 'node3']);
  scene.look();
  assert.deepEqual(scene.asked(), []);
  assert.equal(scene.grower.isGrowingTo(nodeId('node2')), false);
});

test('a disk does not grow a cluster because its predecessor was alone in it', () => {
  const driven = new DrivenRaft(membershipOf(['node1'])).lead();
  const other = {...memberOf('node1'), incarnation: 'fedcba9876543210'};
  const scene = new Scene(driven, ['node2', 'node3'], other);
  scene.look();
  assert.deepEqual(scene.asked(), []);
  assert.equal(scene.grower.isGrowingTo(nodeId('node2')), false);
});
