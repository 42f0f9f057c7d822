import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {TransportHarness} from '../../test/contract/transport-contract.ts';
import {startPair, transportContract} from '../../test/contract/transport-contract.ts';
import {MemoryNetwork, MemoryTransport} from './memory-transport.ts';
import type {PeerMessage} from './transport.ts';

const hash: PeerMessage = {type: 'state-hash', index: 1, hash: 'ab'};

function memoryHarness(network = new MemoryNetwork()): TransportHarness {
  return {
    onEvent: () => undefined,
    create: name => network.transport(`${name}:1`),
    addressOf: transport => {
      assert.ok(transport instanceof MemoryTransport);
      return transport.address;
    },
    until: async condition => {
      for (let i = 0; i < 10_000; i++) {
        if (condition()) return;
        network.deliver();
        // Fakes answer in microtasks.
        await Promise.resolve();
      }
      assert.fail('the condition never held');
    },
    close: () => Promise.resolve(),
  };
}

transportContract('memory', () => memoryHarness());

test('a partition takes messages in flight with it, and healing connects again', async () => {
  const network = new MemoryNetwork();
  const harness = memoryHarness(network);
  const [a, b] = await startPair(harness);
  assert.equal(a.transport.send(b.id, hash), true);
  network.partition('node1:1', 'node2:1');
  await harness.until(() => b.handler.events.includes('down node1'));
  assert.deepEqual(b.handler.messages, []);
  assert.equal(a.transport.send(b.id, hash), false);
  network.heal();
  await harness.until(() => a.handler.events.length === 3);
  assert.deepEqual(a.handler.events, ['up node2', 'down node2', 'up node2']);
  a.transport.send(b.id, hash);
  network.deliverAll();
  assert.equal(b.handler.messages.length, 1);
});

test('a filter drops what the test wants to be lost', async () => {
  const network = new MemoryNetwork();
  const [a, b] = await startPair(memoryHarness(network));
  network.setFilter((_from, _to, message) => (message.type === 'state-hash' ? 'drop' : 'deliver'));
  a.transport.send(b.id, hash);
  a.transport.send(b.id, {type: 'forward', requestId: 1, timeoutMs: 1, command: new Uint8Array(1)});
  network.deliverAll();
  assert.deepEqual(
    b.handler.messages.map(each => each.message.type),
    ['forward'],
  );
});
