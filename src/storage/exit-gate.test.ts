import assert from 'node:assert/strict';
import {once} from 'node:events';
import {test} from 'node:test';
import {Worker} from 'node:worker_threads';
import {ExitGate} from './exit-gate.ts';

test('nobody enters a gate that is closed', () => {
  const gate = new ExitGate();
  assert.ok(gate.enter());
  assert.ok(!gate.close(1), 'somebody is inside');
  gate.leave();
  assert.ok(gate.close(1));
  assert.ok(!gate.enter());
  assert.ok(gate.close(1), 'who was turned away is not inside');
});

test('work that no message brought passes the gate too', () => {
  const gate = new ExitGate();
  const inside = (): boolean => gate.run(() => !gate.close(0));
  assert.ok(inside(), 'it is inside while it works');
  assert.ok(gate.close(0), 'and outside afterwards');
  assert.throws(inside, /about to end/);
  assert.ok(gate.close(0));
  const open = new ExitGate();
  const fail = (): never => {
    throw new Error('it fails');
  };
  assert.throws(() => open.run(fail), /it fails/);
  assert.ok(open.close(0));
});

test('a thread that is inside is waited for, and enters no second time', async () => {
  const gate = new ExitGate();
  const done = new Int32Array(new SharedArrayBuffer(4));
  const code = `
    const {parentPort, workerData} = require('node:worker_threads');
    const {url, shared, done} = workerData;
    import(url).then(({ExitGate}) => {
      const gate = new ExitGate(shared);
      gate.enter();
      parentPort.postMessage('inside');
      // Until the other thread has closed the gate.
      while (new Int32Array(shared)[1] === 0) Atomics.wait(done, 0, 0, 1);
      Atomics.store(done, 0, 1);
      gate.leave();
      parentPort.postMessage(gate.enter() ? 'inside again' : 'outside');
    });
  `;
  const url = new URL('./exit-gate.js', import.meta.url).href;
  const worker = new Worker(code, {eval: true, workerData: {url, shared: gate.shared, done}});
  try {
    assert.deepEqual(await once(worker, 'message'), ['inside']);
    assert.ok(gate.close(10_000));
    assert.equal(Atomics.load(done, 0), 1, 'the work was finished first');
    assert.deepEqual(await once(worker, 'message'), ['outside']);
  } finally {
    await worker.terminate();
  }
});
