import assert from 'node:assert/strict';
import {test} from 'node:test';
import {memberOf} from '../../test/node/driven-raft.ts';
import {FakeTransport} from '../../test/node/fake-transport.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {must} from '../base/assert.ts';
import {silentLogger} from '../base/logger.ts';
import {nodeId} from '../raft/ids.ts';
import type {FormationAnswer} from '../transport/transport.ts';
import {Joining} from './joining.ts';
import {knownIdRefusal} from './membership-rules.ts';

const self = memberOf('node4');
const clusterId = 'c'.repeat(32);
const letIn = {status: 200, body: {clusterId, members: [memberOf('node1'), self]}};
const refusal = {status: 409, body: knownIdRefusal(self.id)};
const waiting = {status: 202, body: {}};
const named = {status: 503, body: {code: 'NO_LEADER', detail: 'ask it', leader: 'node3:1'}};

/** What comes of a newcomer that is answered so, one answer after the other. */
function joining(answers: readonly FormationAnswer[]): {
  readonly ends: readonly string[];
  readonly asked: readonly string[];
} {
  const time = new VirtualTime();
  const transport = new FakeTransport();
  const ends: string[] = [];
  const newcomer = new Joining(
    {
      self,
      contacts: ['node1:1', 'node2:1'],
      replaces: false,
      transport,
      clock: new LifeClock(time),
      logger: silentLogger,
      save: () => undefined,
      onJoined: () => ends.push('joined'),
      onFatal: error => ends.push(error.message),
      onRemoved: () => ends.push('removed'),
    },
    {
      nodeId: nodeId('node4'),
      incarnation: self.incarnation,
      clusterId: null,
      stage: 'fresh',
      members: [],
    },
  );
  newcomer.start();
  for (const [i, answer] of answers.entries()) {
    must(transport.calls[i], `question ${i}`).answer(answer);
    for (let ms = 0; ms < 2_000; ms++) time.turn(() => undefined);
  }
  assert.equal(transport.calls.length, answers.length, 'it asks no more');
  return {ends, asked: transport.calls.map(({address}) => address)};
}

test('a refusal that only one leader knows of is no reason to give up', () => {
  const {ends, asked} = joining([refusal, waiting, refusal, letIn]);
  assert.deepEqual(ends, ['joined']);
  // The next one may be the leader of now.
  assert.deepEqual(asked, ['node1:1', 'node2:1', 'node1:1', 'node2:1']);
});

test('a refusal that is repeated is final, also by way of those who only name the leader', () => {
  for (const answers of [
    [refusal, refusal],
    [named, refusal, named, refusal],
  ]) {
    const {ends} = joining(answers);
    assert.equal(ends.length, 1);
    assert.match(ends[0] ?? '', /node4 is a member already/);
  }
});
