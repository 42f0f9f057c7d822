import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Client} from '../../src/client/client.ts';
import {isClientError} from '../../src/client/client-error.ts';
import {connect} from '../../src/client/node-client.ts';
import {atEnd} from './at-end.ts';
import {Cluster} from './cluster.ts';

const laneCount = 8;
const killCount = 2;

/** A counter that one program increments by compare-and-set; null: it was never written. */
async function increment(client: Client, key: string): Promise<void> {
  const record = await client.get(key);
  const value = String(Number(record?.value ?? '0') + 1);
  await client.put(
    key,
    value,
    record === null ? {ifAbsent: true} : {ifModRevision: record.modRevision},
  );
}

test(
  'increments happen exactly once while leaders are killed with -9',
  {timeout: 240_000},
  async t => {
    const cluster = await Cluster.running(t, {hasDefaultElections: true});
    const endpoints = cluster.nodes.map(node => `127.0.0.1:${node.httpPort}`);
    const client = connect({endpoints, timeoutMs: 30_000, attemptTimeoutMs: 1_000});
    atEnd(t, () => client.close());
    const counts = new Array<number>(laneCount).fill(0);
    let sharedCount = 0;
    let isRunning = true;

    // Alone on its counter, a lane loses a compare only to an attempt of its own that ran twice.
    const lanes = counts.map(async (_, lane) => {
      while (isRunning) {
        await increment(client, `lane/${lane}`);
        counts[lane] = (counts[lane] ?? 0) + 1;
      }
    });
    const sharers = Array.from({length: 3}, async () => {
      while (isRunning) {
        try {
          await increment(client, 'shared');
          sharedCount += 1;
        } catch (error) {
          if (!isClientError(error, 'PRECONDITION_FAILED')) throw error;
        }
      }
    });
    const progress = async (): Promise<void> => {
      const before = [...counts];
      while (counts.some((count, lane) => count < (before[lane] ?? 0) + 5)) {
        await Promise.race([client.get('lane/0'), ...lanes]);
      }
    };
    for (let i = 0; i < killCount; i++) {
      await progress();
      const leader = await cluster.leader();
      await leader.kill9();
      await progress();
      await cluster.restart(leader);
    }
    isRunning = false;
    await Promise.all([...lanes, ...sharers]);

    for (const [lane, count] of counts.entries()) {
      const record = await client.get(`lane/${lane}`);
      assert.deepEqual([record?.value, record?.version], [String(count), count], `lane ${lane}`);
    }
    const shared = await client.get('shared');
    assert.deepEqual([shared?.value, shared?.version], [String(sharedCount), sharedCount]);
    await cluster.assertSameState();
  },
);
