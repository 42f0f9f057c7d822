import assert from 'node:assert/strict';
import {once} from 'node:events';
import {connect, createServer} from 'node:net';
import type {AddressInfo} from 'node:net';
import {test} from 'node:test';
import {noContent} from '../../../test/contract/no-content.ts';
import {TurnClock} from '../../../test/contract/turn-clock.ts';
import type {Clock} from '../../base/clock.ts';
import {Arrivals} from './arrivals.ts';
import {BufferBudget} from './buffer-budget.ts';
import {PlainLane} from './plain-lane.ts';

test('behind a long turn with a connection requests wait until a turn brings none', () => {
  const clock = new TurnClock();
  const arrivals = new Arrivals(clock);
  arrivals.note();
  clock.nowMs += 2;
  assert.equal(arrivals.goFirst, false);
  clock.turn();
  let ranCount = 0;
  for (let turn = 0; turn < 5; turn++) {
    assert.equal(arrivals.goFirst, true);
    arrivals.note();
    arrivals.defer(() => ranCount++);
    clock.turn();
  }
  assert.equal(ranCount, 0);
  clock.turn();
  assert.equal(ranCount, 5);
  assert.equal(arrivals.goFirst, false);
  assert.equal(clock.isIdle, true);
});

test('requests wait for nobody while turns are short, or bring no connection', () => {
  const clock = new TurnClock();
  const arrivals = new Arrivals(clock);
  for (let turn = 0; turn < 20; turn++) {
    arrivals.note();
    clock.nowMs += 1.9;
    clock.turn();
    assert.equal(arrivals.goFirst, false);
  }
  for (let turn = 0; turn < 20; turn++) {
    clock.turn();
    clock.nowMs += 50;
    assert.equal(arrivals.goFirst, false);
  }
});

test('requests wait no longer than ten milliseconds, however many connections come', () => {
  const clock = new TurnClock();
  const arrivals = new Arrivals(clock);
  const waitedMs: number[] = [];
  let runMs = 0;
  for (let turn = 0; turn < 300; turn++) {
    arrivals.note();
    const sinceMs = clock.nowMs;
    if (arrivals.goFirst) {
      arrivals.defer(() => {
        waitedMs.push(clock.nowMs - sinceMs);
        runMs += 0.5;
      });
      clock.nowMs += 1;
    } else {
      clock.nowMs += 3 + runMs;
      runMs = 0;
    }
    clock.turn();
  }
  assert.ok(waitedMs.length >= 250, `${waitedMs.length} ran`);
  assert.ok(Math.max(...waitedMs) <= 10, `one waited ${Math.max(...waitedMs)} ms`);
});

test('connections that come at once wait for a few requests and not for all', async t => {
  const connectionCount = 100;
  const acceptedAtRequest: number[] = [];
  let acceptedCount = 0;
  let nowMs = 0;
  const timeoutMs = 60_000;
  const clock: Clock = {
    wallMs: () => Date.now(),
    monotonicMs: () => nowMs,
    setTimer: () => ({cancel: () => undefined}),
    afterPoll: callback => void setImmediate(callback),
  };
  const lane = new PlainLane({
    clock,
    timeouts: {
      headersTimeoutMs: timeoutMs,
      requestTimeoutMs: timeoutMs,
      keepAliveTimeoutMs: timeoutMs,
      idleTimeoutMs: timeoutMs,
      checkingIntervalMs: timeoutMs,
    },
    budget: new BufferBudget(),
    arrivals: new Arrivals(clock),
    handOver: () => assert.fail('all of it is plain'),
    onRequest: wire => {
      acceptedAtRequest.push(acceptedCount);
      nowMs += 3;
      wire.send(noContent);
    },
  });
  const server = createServer(socket => {
    acceptedCount++;
    lane.accept(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const {port} = server.address() as AddressInfo;
  const sockets = Array.from({length: connectionCount}, () => connect(port, '127.0.0.1'));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const answers = sockets.map(socket => once(socket, 'data'));
  for (const socket of sockets) socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await Promise.all(answers);
  const early = acceptedAtRequest.filter(count => count < connectionCount);
  assert.equal(acceptedAtRequest.length, connectionCount);
  assert.ok(early.length <= 3, `${early.length} requests ran before all were accepted`);
});
