import assert from 'node:assert/strict';
import {Prng} from '../../src/base/prng.ts';
import type {TransportHarness} from '../contract/transport-contract.ts';
import {transportContract} from '../contract/transport-contract.ts';
import {Coverage} from './coverage.ts';
import {EventQueue} from './event-queue.ts';
import {MemberTime} from './member-time.ts';
import {SimNetwork} from './sim-network.ts';
import {SimTransport} from './sim-transport.ts';

function simHarness(): TransportHarness {
  const queue = new EventQueue();
  const names = ['node1', 'node2', 'node3'];
  const network = new SimNetwork({
    queue,
    prng: new Prng(1),
    coverage: new Coverage(),
    machines: new Map(names.map((name, owner) => [`${name}:1`, new MemberTime(queue, owner)])),
  });
  return {
    onEvent: () => undefined,
    create: name => network.transport(`${name}:1`),
    addressOf: transport => {
      assert.ok(transport instanceof SimTransport);
      return transport.address;
    },
    until: async condition => {
      for (let i = 0; i < 20_000; i++) {
        if (condition()) return;
        queue.take()?.run();
        // Fakes answer in microtasks.
        await Promise.resolve();
      }
      assert.fail('the condition never held');
    },
    close: () => Promise.resolve(),
  };
}

transportContract('simulated', simHarness);
