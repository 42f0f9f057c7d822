import assert from 'node:assert/strict';
import {test} from 'node:test';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import {DrivenRaft, membershipOf} from '../../test/node/driven-raft.ts';
import {FakeTransport} from '../../test/node/fake-transport.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {limits} from '../base/limits.ts';
import {encodeCommand} from '../kv/command-codec.ts';
import type {CommandBody, PutOperation} from '../kv/command.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import {HistoryKeeper} from './history-keeper.ts';
import {LogClock} from './log-clock.ts';
import {Proposer} from './proposer.ts';

const updateCount = 3_000;
/** The time index has a sample of each update that is so far from the one before. */
const sampleIntervalMs = 60_000;

function encoded(body: CommandBody): Uint8Array {
  return encodeCommand({idempotency: null, body});
}

function update(version: number): Uint8Array {
  const put: PutOperation = {
    type: 'put',
    key: new Uint8Array([107]),
    value: new Uint8Array([version % 256]),
    leaseId: 0,
    ttlMs: 0,
    ignoreValue: false,
    ignoreLease: false,
    wantsPrevious: false,
  };
  return encoded({type: 'transaction', compare: [], success: [put], failure: []});
}

function keeperOf(parts: {
  readonly driven: DrivenRaft;
  readonly machine: KvStateMachine;
  readonly monotonicMs: () => number;
  readonly mayScrub: () => boolean;
  readonly historySizeBytesMax?: number;
}): {readonly keeper: HistoryKeeper; readonly proposer: Proposer} {
  const {driven, machine, monotonicMs, mayScrub, historySizeBytesMax = 0} = parts;
  const {raft} = driven;
  const clock = new LifeClock(new VirtualTime());
  const proposer = new Proposer({
    raft,
    log: driven.log,
    transport: new FakeTransport(),
    clock,
    logClock: new LogClock({raft, clock, rows: new FakeRows()}),
    leases: {answer: () => undefined},
    firstRequestId: 1,
    isStorageFull: () => false,
    isDiverged: () => false,
    scheduleReady: () => undefined,
  });
  const keeper = new HistoryKeeper({
    raft,
    machine,
    proposer,
    clock: {
      wallMs: () => clock.wallMs(),
      monotonicMs,
      setTimer: (delayMs, callback) => clock.setTimer(delayMs, callback),
      afterPoll: callback => clock.afterPoll(callback),
    },
    options: {
      electionTimeoutMs: 150,
      heartbeatMs: 50,
      historyAgeMs: 0,
      historySizeBytesMax,
      version: 'test',
    },
    mayScrub,
  });
  return {keeper, proposer};
}

test('a tick removes as many replaced values as its slice of time allows, and no more', t => {
  // All count as large, and are not left to pruning.
  t.after(setLimits({beforeImageSizeBytesMax: 0}));
  const driven = new DrivenRaft(membershipOf(['node1', 'node2', 'node3'])).follow('node2');
  const machine = new KvStateMachine(new FakeRows());
  for (let index = 1; index <= updateCount; index++) {
    machine.apply({index, proposedAtMs: index, data: update(index)});
  }
  const revision = machine.revision() - 1;
  const compact = encoded({type: 'compact', revision});
  machine.apply({index: updateCount + 1, proposedAtMs: updateCount + 1, data: compact});

  let nowMs = 0;
  let mayScrub = false;
  const {keeper} = keeperOf({
    driven,
    machine,
    // Each look at the clock costs half a millisecond.
    monotonicMs: () => (nowMs += 0.5),
    mayScrub: () => mayScrub,
  });
  const before = nowMs;
  keeper.tick();
  assert.ok(nowMs - before <= 1, 'nothing is removed while it may not be');
  mayScrub = true;
  let tickCount = 0;
  while (machine.scrub(2) && tickCount < updateCount) {
    tickCount++;
    const startedAtMs = nowMs;
    keeper.tick();
    assert.ok(nowMs - startedAtMs <= 3.5, `a slice of ${nowMs - startedAtMs} ms`);
  }
  // One pass of the former size a tick, 256 rows, took more than ten.
  assert.ok(tickCount > 1 && tickCount <= 10, `${tickCount} ticks`);
  assert.equal(machine.get(new Uint8Array([107]), revision)?.version, updateCount - 1);
});

test('a compaction is not proposed again while one is under way', () => {
  const driven = new DrivenRaft(membershipOf(['node1', 'node2', 'node3'])).lead('node2');
  const machine = new KvStateMachine(new FakeRows());
  for (let index = 1; index <= 10; index++) {
    machine.apply({index, proposedAtMs: index * sampleIntervalMs, data: update(index)});
  }
  let nowMs = 0;
  const {keeper, proposer} = keeperOf({
    driven,
    machine,
    monotonicMs: () => nowMs,
    mayScrub: () => true,
    historySizeBytesMax: 1,
  });
  // Nobody acknowledges what the leader appends.
  const look = (): number => {
    nowMs += limits.checkpointIntervalMs;
    keeper.tick();
    driven.perform();
    return proposer.proposedCount;
  };
  assert.deepEqual([look(), look(), look()], [1, 1, 1]);
  proposer.expire(Infinity);
  assert.deepEqual([look(), look()], [2, 2]);
});
