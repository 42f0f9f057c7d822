import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Cluster} from './cluster.ts';

const clientCount = 40;
const writeCount = 120;
const valueSizeBytes = 1_000_000;

/**
 * All of it on the same few cores: what a node does at one stretch with megabytes keeps heartbeats
 * and their answers waiting, and what it does with all of them at once would cost the leader its
 * place and the writes their outcome.
 */
test(
  'values of a megabyte from forty clients at once are all written, and every client knows',
  {timeout: 240_000},
  async t => {
    const cluster = await Cluster.running(t, {hasDefaultElections: true});
    const value = Buffer.alloc(valueSizeBytes, 'x');
    let next = 0;
    const outcomes = new Map<string, number>();
    const client = async (number: number): Promise<void> => {
      const node = cluster.nodes[number % cluster.nodes.length];
      assert.ok(node !== undefined);
      while (next < writeCount) {
        const path = `/kv/large${next++}?timeout=60000`;
        const outcome = await node.client.try('PUT', path, {body: value, timeoutMs: 60_000});
        const name = outcome.type === 'ok' ? 'ok' : `${outcome.type} ${outcome.code}`;
        outcomes.set(name, (outcomes.get(name) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({length: clientCount}, (_, i) => client(i)));
    // A leader that loses its place leaves writes under way with an unknown outcome. That it loses
    // it between two of them, on a machine that does other work too, is no fault.
    assert.equal(
      outcomes.get('ok'),
      writeCount,
      `${JSON.stringify([...outcomes])}\n${cluster.logs()}`,
    );
    const status = await cluster.assertSameState();
    assert.equal(status.keys, writeCount);
  },
);
