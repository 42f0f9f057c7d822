import assert from 'node:assert/strict';
import {test} from 'node:test';
import {memberOf} from '../../test/node/driven-raft.ts';
import {readFormationRequest, readHelloAnswer, readMembers} from './formation-messages.ts';

const clusterId = '0123456789abcdef'.repeat(2);
const members = [memberOf('node1'), memberOf('node2')];
const hello = {
  type: 'hello',
  id: 'node1',
  incarnation: '0123456789abcdef',
  clusterId: null,
  listen: 'node1:1',
  http: 'node1:2',
  ids: ['node1', 'node2'],
};
const answer = {...hello, stage: 'fresh', isExpected: false};

test('every request is read as it was sent', () => {
  const sendSnapshot = {
    type: 'send-snapshot',
    clusterId,
    id: 'node1',
    incarnation: hello.incarnation,
  };
  const requests = [
    hello,
    {...hello, clusterId},
    {type: 'found', clusterId, members},
    {type: 'adopt', clusterId, members},
    sendSnapshot,
  ];
  for (const request of requests) {
    const received: unknown = JSON.parse(JSON.stringify(request));
    assert.deepEqual(readFormationRequest(received), request);
  }
});

test('what nobody sends is not read', () => {
  const bad: unknown[] = [
    null,
    'hello',
    7,
    [],
    {},
    {...hello, type: 'greet'},
    {...hello, id: 'no such id!'},
    {...hello, id: 5},
    {...hello, incarnation: '0123'},
    {...hello, incarnation: '0123456789ABCDEF'},
    {...hello, clusterId: 'short'},
    {...hello, clusterId: undefined},
    {...hello, listen: ''},
    {...hello, listen: 'x'.repeat(301)},
    {...hello, http: null},
    {...hello, ids: 'node1'},
    {...hello, ids: ['node1', 2]},
    {...hello, ids: ['node1', 'not an id!']},
    {...hello, ids: new Array(65).fill('node1')},
    {type: 'found', clusterId: null, members},
    {type: 'found', clusterId, members: []},
    {type: 'found', clusterId, members: {}},
    {type: 'found', clusterId, members: [{...members[0], incarnation: 1}]},
    {type: 'adopt', clusterId, members: [...members, null]},
    {type: 'adopt', clusterId: `${clusterId}0`, members},
    {type: 'send-snapshot', clusterId: null, id: 'node1', incarnation: hello.incarnation},
    {type: 'send-snapshot', clusterId, id: '', incarnation: hello.incarnation},
  ];
  for (const request of bad) assert.equal(readFormationRequest(request), null);
});

test('unknown fields of a later version are ignored', () => {
  assert.deepEqual(readFormationRequest({...hello, color: 'blue'}), hello);
});

test('an answer to hello is read, an error or a malformed one is not', () => {
  const {type, ...expected} = answer;
  assert.equal(type, 'hello');
  assert.deepEqual(readHelloAnswer({status: 200, body: answer}), expected);
  const bad: unknown[] = [
    null,
    'ok',
    {...answer, stage: 'running'},
    {...answer, stage: undefined},
    {...answer, isExpected: 'yes'},
    {...answer, id: ''},
  ];
  for (const body of bad) assert.equal(readHelloAnswer({status: 200, body}), null);
  assert.equal(readHelloAnswer({status: 503, body: answer}), null);
});

test('a list of members has a bound', () => {
  const many = Array.from({length: 65}, (_, i) => memberOf(`node${i}`));
  assert.equal(readMembers(many), null);
  assert.equal(readMembers(many.slice(1))?.length, 64);
});
