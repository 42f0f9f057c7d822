import assert from 'node:assert/strict';
import {test} from 'node:test';
import {startOf, startsOf} from '../../test/contract/starts.ts';
import {FakeTransport} from '../../test/node/fake-transport.ts';
import {silentLogger} from '../base/logger.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import type {Start} from '../storage/start-history.ts';
import {PeerGate} from './peer-gate.ts';

const self: Member = {id: nodeId('node1'), incarnation: '1'.repeat(16), listen: 'a:1', http: 'a:2'};
const peer: Member = {id: nodeId('node2'), incarnation: '2'.repeat(16), listen: 'b:1', http: 'b:2'};

test('a peer is let in when its start count is durable, and not before', () => {
  let isDurable = false;
  let addressCount = 0;
  const recorded: Start[] = [];
  const failures: Error[] = [];
  const gate = new PeerGate({
    self,
    node: {
      logger: silentLogger,
      starts: startsOf(1),
      seenStarts: {
        get: () => recorded.at(-1) ?? null,
        record: (_incarnation, start, fail) => {
          recorded.push(start);
          if (start.count === 9) fail(new Error('the disk is gone'));
          return isDurable;
        },
      },
      noteStale: () => undefined,
      transport: new FakeTransport(),
    },
    peers: [],
    newcomer: () => null,
    replica: () => null,
    keeper: () => null,
    repair: () => null,
    record: () => ({
      nodeId: self.id,
      incarnation: self.incarnation,
      clusterId: 'c'.repeat(32),
      stage: 'member',
      members: [self, peer],
    }),
    loggedMembers: () => [],
    fail: error => failures.push(error),
    onAddresses: () => addressCount++,
    onRemoved: () => undefined,
  });
  const handshake = (count: number): Parameters<PeerGate['authorize']>[0] => {
    const {id: from, incarnation, listen, http} = peer;
    return {
      clusterId: 'c'.repeat(32),
      from,
      to: self.id,
      incarnation,
      starts: startsOf(count),
      listen,
      http,
      log: null,
    };
  };
  // A code that the dialing side takes for a reason to wait, not for one to stop.
  assert.equal(gate.authorize(handshake(3))?.code, 'STARTING');
  assert.equal(addressCount, 0, 'nothing is taken from somebody who was not let in');
  assert.equal(gate.authorize(handshake(2))?.code, 'STALE_DATA');
  isDurable = true;
  assert.equal(gate.authorize(handshake(3)), null);
  assert.equal(addressCount, 1);
  assert.deepEqual(recorded, [startOf(3), startOf(3)], 'a lower count is not recorded');
  gate.authorize(handshake(9));
  assert.equal(failures.length, 1);
});
