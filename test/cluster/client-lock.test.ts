import assert from 'node:assert/strict';
import {test} from 'node:test';
import {connect} from '../../src/client/node-client.ts';
import {atEnd} from './at-end.ts';
import {Cluster} from './cluster.ts';

test(
  'a lock outlives the leader that granted it, and goes on when its holder dies',
  {timeout: 240_000},
  async t => {
    const cluster = await Cluster.running(t, {hasDefaultElections: true});
    const endpoints = cluster.nodes.map(node => `127.0.0.1:${node.httpPort}`);
    const holder = connect({endpoints, attemptTimeoutMs: 1_000});
    const waiter = connect({endpoints, attemptTimeoutMs: 1_000});
    atEnd(t, async () => {
      await Promise.all([holder.close(), waiter.close()]);
    });
    const first = await holder.lock('lock', {ttl: 20});
    const lease = first.key.slice('lock/'.length);
    assert.deepEqual((await holder.leaseStatus(lease))?.keys, [first.key]);
    let isNext = false;
    const next = waiter.lock('lock', {ttl: 20}).then(lock => {
      isNext = true;
      return lock;
    });

    const leader = await cluster.leader();
    await leader.kill9();
    const guarded = await holder.txn({
      compare: [first.guard()],
      success: [{put: {key: 'protected', value: 'first'}}],
    });
    assert.deepEqual([guarded.succeeded, first.isHeld, isNext], [true, true, false]);
    await cluster.restart(leader);

    await first.release();
    const second = await next;
    assert.ok(second.token > first.token);
    const late = await holder.txn({
      compare: [first.guard()],
      success: [{put: {key: 'protected', value: 'late'}}],
    });
    assert.equal(late.succeeded, false, 'the fencing token keeps the former holder out');

    // The holder of a short lease is gone without a word.
    await second.release();
    const dying = connect({endpoints});
    const third = await dying.lock('lock', {ttl: 1});
    await dying.close();
    const fourth = await waiter.lock('lock', {ttl: 20});
    assert.ok(third.signal.aborted, 'it had heard of its loss before anybody else got the lock');
    assert.ok(fourth.token > third.token);
    assert.equal((await waiter.get('protected'))?.value, 'first');
    await fourth.release();
    assert.equal((await waiter.count({prefix: 'lock/'})).count, 0);
  },
);
