import assert from 'node:assert/strict';
import {test} from 'node:test';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {DrivenRaft, membershipOf} from '../../test/node/driven-raft.ts';
import {must} from '../base/assert.ts';
import type {Clock} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import {StateMeta} from '../kv/state-meta.ts';
import {makeEntry} from '../raft/entry.ts';
import {indexAfter, nodeId} from '../raft/ids.ts';
import {LogClock} from './log-clock.ts';

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const startMs = 1_700_000_000_000;
const command = new Uint8Array([1]);

/** A member whose clocks a test sets. */
class Scene {
  readonly driven: DrivenRaft;
  readonly logClock: LogClock;
  wallMs = startMs;
  monotonicMs = 5;

  constructor(driven: DrivenRaft, rows = new FakeRows()) {
    this.driven = driven;
    const unused = (): never => assert.fail('no timer is needed');
    const clock: Clock = {
      wallMs: () => this.wallMs,
      monotonicMs: () => this.monotonicMs,
      setTimer: unused,
      afterPoll: unused,
    };
    this.logClock = new LogClock({raft: driven.raft, clock, rows});
  }

  /** Both clocks go on. */
  pass(durationMs: number): this {
    this.wallMs += durationMs;
    this.monotonicMs += durationMs;
    return this;
  }

  /** The time of an entry that is proposed now. */
  propose(): number {
    const nowMs = this.logClock.nowMs();
    assert.equal(this.driven.raft.propose(command, nowMs).type, 'accepted');
    assert.equal(this.driven.raft.lastProposedAtMs, nowMs);
    this.driven.perform();
    return nowMs;
  }
}

function leading(rows?: FakeRows): Scene {
  return new Scene(new DrivenRaft(membershipOf(['node1'])).lead(), rows);
}

/** Follows node2, whose next entry has this time. */
function receive({driven}: Scene, proposedAtMs: number): void {
  const {raft} = driven.follow('node2');
  const from = nodeId('node2');
  const {term, lastIndex} = raft;
  const previous = {index: lastIndex, term: must(raft.inspect().log.term(lastIndex), 'a term')};
  const entry = makeEntry({
    term,
    index: indexAfter(lastIndex),
    type: 'command',
    proposedAtMs,
    data: command,
  });
  const commit = lastIndex;
  raft.step({type: 'append', from, to: raft.id, term, previous, entries: [entry], commit});
  driven.perform();
  assert.equal(raft.lastProposedAtMs, proposedAtMs);
}

test('as long as the wall clock does not jump, the time of the log is that of the wall', () => {
  const scene = leading();
  for (const durationMs of [0, 1, 250, 0.3, hour, 30 * 24 * hour, 17]) {
    scene.pass(durationMs);
    assert.equal(scene.propose(), Math.floor(scene.wallMs));
  }
});

test('a wall clock that jumps forward is caught up with a tenth faster than time passes', () => {
  const scene = leading();
  const before = scene.propose();
  scene.wallMs += hour;
  assert.equal(scene.propose(), before);
  assert.equal(scene.pass(10 * second).propose(), before + 11 * second);
  assert.equal(scene.pass(10 * minute).propose(), before + 11 * second + 11 * minute);
  assert.equal(scene.pass(11 * hour).propose(), scene.wallMs);
});

test('a key outlives ten minutes, whatever the wall clock does', () => {
  const scene = leading();
  const keptAtMs = scene.propose();
  for (let passedMs = 0; passedMs < 10 * minute; passedMs += 50) {
    scene.wallMs += 20 * minute;
    scene.pass(50);
    assert.ok(scene.propose() <= keptAtMs + limits.idempotencyAgeMs, `after ${passedMs} ms`);
  }
  // And not for ever.
  scene.pass(minute);
  assert.ok(scene.propose() > keptAtMs + limits.idempotencyAgeMs);
});

test('a wall clock that jumps back is waited for, and ages go on', () => {
  const scene = leading();
  const before = scene.propose();
  scene.wallMs -= hour;
  assert.equal(scene.propose(), before);
  assert.equal(scene.pass(10 * minute).propose(), before + 9 * minute);
  scene.pass(10 * hour);
  assert.equal(scene.propose(), scene.wallMs);
});

test('many entries within a millisecond neither hurry nor hold up the time', () => {
  const scene = leading();
  const before = scene.propose();
  scene.wallMs += hour;
  for (let i = 0; i < 10_000; i++) {
    scene.pass(0.09);
    scene.propose();
  }
  const grownMs = scene.propose() - before;
  assert.ok(Math.abs(grownMs - 990) <= 1, `${grownMs} ms in 900`);
});

test('a new leader goes on from when it saw the last entry, not from its own wall clock', () => {
  const scene = new Scene(new DrivenRaft(membershipOf(['node1', 'node2', 'node3'])));
  scene.wallMs += 5 * hour;
  receive(scene, startMs);
  scene.logClock.look();
  scene.pass(10 * second);
  receive(scene, startMs + 9 * second);
  scene.logClock.look();
  scene.pass(20 * second);
  scene.driven.lead('node3');
  assert.equal(scene.driven.raft.role, 'leader');
  assert.equal(scene.propose(), startMs + 31 * second);
});

test('an entry that is noticed late gives no credit for the time before', () => {
  const scene = new Scene(new DrivenRaft(membershipOf(['node1', 'node2', 'node3'])));
  receive(scene, startMs);
  scene.logClock.look();
  scene.pass(hour);
  scene.wallMs += hour;
  receive(scene, startMs + 10);
  scene.driven.lead('node3');
  assert.equal(scene.propose(), startMs + 10);
});

test('behind a snapshot the state knows the time that no entry tells', () => {
  const rows = new FakeRows();
  const meta = new StateMeta();
  meta.sampleMs = startMs - hour;
  meta.save(rows);
  const scene = leading(rows);
  assert.equal(scene.propose(), startMs - hour);
  assert.equal(scene.pass(10 * second).propose(), startMs - hour + 11 * second);
});

test('a state that is installed later is asked in the next term', () => {
  const rows = new FakeRows();
  const driven = new DrivenRaft(membershipOf(['node1', 'node2', 'node3'])).follow('node2');
  const scene = new Scene(driven, rows);
  scene.logClock.look();
  const meta = new StateMeta();
  meta.sampleMs = startMs - hour;
  meta.save(rows);
  scene.driven.lead('node3');
  assert.equal(scene.propose(), startMs - hour);
});
