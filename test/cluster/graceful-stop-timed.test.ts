import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Client} from './client.ts';
import {Cluster} from './cluster.ts';
import {eventually, pause} from './eventually.ts';

/** Each node in turn, twice: every one of them leads and follows when its turn comes. */
const roundCount = 2;

test(
  'a rolling restart fails no request of a client that retries what is certainly undone',
  {timeout: 180_000},
  async t => {
    const cluster = await Cluster.running(t);
    const failures: string[] = [];
    const acknowledged = new Map<string, string>();
    let isStopping = false;
    let step = 'before';

    const work = async (worker: number): Promise<void> => {
      const clients = cluster.nodes.map(node => new Client(node.httpPort));
      for (let i = 0; !isStopping; i++) {
        const key = `w${worker}-${i}`;
        const outcome = await eventually('an answer that is not a refusal', 10_000, async () => {
          const client = clients[(worker + i++) % clients.length];
          assert.ok(client !== undefined);
          const attempt = await client.put(key, 'v');
          return attempt.type === 'definite' ? null : attempt;
        });
        if (outcome.type === 'ok') acknowledged.set(key, 'v');
        else failures.push(`${step}: ${JSON.stringify(outcome)}`);
      }
      for (const client of clients) client.close();
    };
    const workers = [0, 1, 2, 3].map(work);
    for (let round = 0; round < roundCount; round++) {
      for (const node of cluster.nodes) {
        const before = acknowledged.size;
        await eventually('load', 10_000, () => (acknowledged.size > before + 100 ? true : null));
        const leader = await cluster.leader();
        step = `${node === leader ? 'leader' : 'follower'} ${node.id} stops`;
        const startedAt = performance.now();
        const exit = await node.sigterm();
        assert.deepEqual(exit, {code: 0, signal: null}, node.output());
        assert.ok(performance.now() - startedAt < 3_000, 'a stop takes less than three seconds');
        step = `${node.id} starts`;
        await cluster.restart(node);
        await cluster.leader();
      }
    }
    isStopping = true;
    await Promise.all(workers);
    assert.deepEqual(failures, []);
    await cluster.assertSameState();
    for (const node of cluster.nodes) {
      const records = await node.client.list('w');
      const missing = [...acknowledged.keys()].filter(key => !records.has(key));
      assert.deepEqual(missing, [], node.id);
    }
  },
);

test('a leader that is told to stop leaves no gap of an election', {timeout: 120_000}, async t => {
  const cluster = await Cluster.running(t, {flags: ['-election-timeout=3000', '-heartbeat=100']});
  const leader = await cluster.leader();
  const others = cluster.nodes.filter(node => node !== leader);
  const [other] = others;
  assert.ok(other !== undefined);
  const stopped = leader.sigterm();
  const startedAt = performance.now();
  await cluster.leader(others);
  assert.equal((await other.client.put('k', 'v')).type, 'ok');
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs < 2_000, `${tookMs} ms without a leader: no hand-over`);
  assert.equal((await stopped).code, 0);
});

test('a second SIGTERM ends a node at once', {timeout: 120_000}, async t => {
  const cluster = await Cluster.running(t);
  const [node] = cluster.nodes;
  assert.ok(node !== undefined);
  // A request that cannot be answered keeps the stop waiting.
  await Promise.all(cluster.nodes.filter(other => other !== node).map(other => other.kill9()));
  const pending = node.client.put('k', 'v');
  await pause(50);
  const exited = node.sigterm();
  // The kernel merges a signal with one that is not taken yet; so until one counts as the second.
  while (node.isRunning) {
    process.kill(node.pid, 'SIGTERM');
    await pause(20);
  }
  assert.deepEqual(await exited, {code: 143, signal: null}, node.output());
  assert.notEqual((await pending).type, 'ok');
});
