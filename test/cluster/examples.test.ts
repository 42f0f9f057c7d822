import assert from 'node:assert/strict';
import {test} from 'node:test';
import {connect} from '../../src/client/node-client.ts';
import {ExampleProcess} from './example-process.ts';
import {startNodes} from './in-process-nodes.ts';

const timeout = 60_000;
/** So long that a busy machine ends none that is kept alive. */
const leaseSeconds = '6';

test('the examples of a cluster do what they say', {timeout: 3 * timeout}, async t => {
  const nodes = await startNodes(t, 3);
  const endpoints = nodes.map(node => node.http).join(',');
  const store = connect({endpoints});
  t.after(() => store.close());

  await t.test('config-service: a change is a reload, a transaction is one', async t => {
    await store.put('config/web/colour', 'red');
    const service = new ExampleProcess(t, 'config-service', endpoints);
    await service.line(/^runs with \{"colour":"red"\}$/);
    await store.txn({
      success: [
        {put: {key: 'config/web/colour', value: 'green'}},
        {put: {key: 'config/web/size', value: '7'}},
      ],
    });
    await store.delete('config/web/colour');
    await store.put('config/other', 'of nobody’s interest');
    await service.line(/^runs with \{"size":"7"\}$/);
    assert.deepEqual(await service.interrupt(), [
      'runs with {"colour":"red"}',
      'runs with {"colour":"green","size":"7"}',
      'runs with {"size":"7"}',
    ]);
  });

  await t.test('leader-election: one leads, until it is killed or stopped', async t => {
    const progress = store.watch({key: 'example/progress'});
    await progress.start();
    const names = ['worker-1', 'worker-2', 'worker-3'];
    const workers = new Map(
      names.map(name => {
        const args = [name, endpoints, leaseSeconds] as const;
        return [name, new ExampleProcess(t, 'leader-election', ...args)];
      }),
    );
    await Promise.all([...workers.values()].map(worker => worker.line(/waits$/)));
    const led: string[] = [];
    let lastToken = 0;
    for await (const event of progress) {
      const [token = '', name = ''] = event.record?.value.split(' ') ?? [];
      assert.ok(Number(token) >= lastToken, 'nobody works who was followed by another leader');
      if (Number(token) === lastToken) continue;
      lastToken = Number(token);
      led.push(name);
      const leader = workers.get(name);
      assert.ok(leader !== undefined, `${name} leads and is no worker`);
      if (led.length === 3) break;
      if (led.length === 1) await leader.kill();
      else await leader.interrupt();
    }
    assert.deepEqual([...led].sort(), names, 'each led once');
    const last = workers.get(led[2] ?? '');
    assert.ok(last !== undefined);
    assert.match((await last.interrupt()).join(), /waits,.* leads, its token is \d+,.* no more$/);
  });

  await t.test('job-queue: each job is done once, also when a worker dies over it', async t => {
    const alice = new ExampleProcess(t, 'job-queue', 'work', 'alice', endpoints);
    const adder = new ExampleProcess(t, 'job-queue', 'add', '12', endpoints);
    assert.deepEqual(await adder.end(), ['12 jobs added']);
    await alice.line(/^alice begins job 2$/);
    await alice.kill();
    const left = await store.count({prefix: 'queue/job/'});
    assert.ok(left.count > 0, 'some jobs are left');
    const bob = new ExampleProcess(t, 'job-queue', 'work', 'bob', endpoints);
    const done = store.watch({prefix: 'queue/done/'}, {from: 2});
    const doneBy = new Map<string, number>();
    for await (const event of done) {
      assert.equal(event.record?.version, 1, `${event.key} is done once`);
      const name = event.record.value;
      doneBy.set(name, (doneBy.get(name) ?? 0) + 1);
      if ((doneBy.get('alice') ?? 0) + (doneBy.get('bob') ?? 0) === 12) break;
    }
    // The last one of alice's may have been on its way when she was killed.
    const lateCount = left.count - (doneBy.get('bob') ?? 0);
    assert.ok(lateCount === 0 || lateCount === 1, `${lateCount} of ${left.count} were not bob's`);
    assert.equal((await store.count({prefix: 'queue/job/'})).count, 0);
    await bob.interrupt();
  });
});

test('replicated-counter: a state machine of one’s own on rosetta/raft', {timeout}, async t => {
  const [first = '', second = '', third = ''] = await new ExampleProcess(
    t,
    'replicated-counter',
  ).end();
  assert.match(first, /^[abc] leads, the counter is 100$/);
  assert.match(second, /^[abc] was killed, [abc] leads, the counter is 300$/);
  assert.match(third, /^[abc] is back, and all three say 300$/);
});
