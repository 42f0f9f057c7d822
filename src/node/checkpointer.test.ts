import assert from 'node:assert/strict';
import {test} from 'node:test';
import {bytes, encode, put, transaction} from '../../test/contract/commands.ts';
import {
  FakeCheckpointDisk,
  FakeCheckpointStore,
} from '../../test/contract/fake-checkpoint-store.ts';
import {FakeLogStore} from '../../test/contract/fake-log-store.ts';
import {membershipOf} from '../../test/node/driven-raft.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import {limits} from '../base/limits.ts';
import {silentLogger} from '../base/logger.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import type {Entry} from '../raft/entry.ts';
import {makeEntry} from '../raft/entry.ts';
import {logIndex, nodeId, noIndex, noTerm, term} from '../raft/ids.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import {StateStore} from '../storage/state-store.ts';
import {Checkpointer} from './checkpointer.ts';

const membership = membershipOf(['node1']);

class Scene {
  readonly time: VirtualTime;
  readonly disk = new FakeCheckpointDisk();
  readonly log = new FakeLogStore(operation => operation());
  readonly state: StateStore;
  readonly machine: KvStateMachine;
  readonly checkpointer: Checkpointer;
  readonly failures: Error[] = [];
  applied: SnapshotMeta = {index: noIndex, term: noTerm, membership};
  checkpointCount = 0;

  constructor(id = 'node1', time = new VirtualTime()) {
    this.time = time;
    // A write takes 5 ms.
    const store = new FakeCheckpointStore(this.disk, action => this.time.setTimer(5, action));
    this.state = new StateStore(store);
    this.machine = new KvStateMachine(this.state);
    this.checkpointer = new Checkpointer({
      id: nodeId(id),
      state: this.state,
      machine: this.machine,
      log: this.log,
      clock: new LifeClock(this.time),
      logger: silentLogger,
      applied: () => this.applied,
      neededAfter: () => null,
      onCheckpoint: () => this.checkpointCount++,
      fail: error => this.failures.push(error),
    });
  }

  apply(valueSizeBytes = 1): void {
    const index = logIndex(this.applied.index + 1);
    const data = encode(transaction({success: [put(`key${index}`, 'x'.repeat(valueSizeBytes))]}));
    const entry: Entry = makeEntry({term: term(1), index, type: 'command', proposedAtMs: 1, data});
    this.log.append({hardState: this.log.hardState, entries: [entry]}, () => undefined);
    this.machine.apply(entry);
    this.applied = {...this.applied, index, term: term(1)};
  }

  /** With a look at every tick. */
  advance(durationMs: number): void {
    for (let i = 0; i < durationMs; i++) {
      this.time.turn(() => undefined);
      if (i % 10 === 0) this.checkpointer.maybeStart();
    }
  }
}

test('what was applied is checkpointed after the interval, and the log behind it is released', () => {
  const scene = new Scene();
  scene.apply();
  scene.advance(limits.checkpointIntervalMs - 20);
  assert.equal(scene.checkpointCount, 0);
  scene.advance(100);
  assert.equal(scene.checkpointCount, 1);
  assert.equal(scene.disk.durable.meta.index, 1);
  assert.equal(scene.log.firstIndex(), 2);
  assert.equal(scene.state.recordCount(), 0);
});

test('a state that is checkpointed already is left alone', () => {
  const scene = new Scene();
  scene.apply();
  scene.advance(3 * limits.checkpointIntervalMs);
  assert.equal(scene.checkpointCount, 1);
});

test('entries that change no rows are checkpointed too, so that the log can go', () => {
  const scene = new Scene();
  scene.applied = {index: logIndex(7), term: term(1), membership};
  scene.advance(limits.checkpointIntervalMs + 100);
  assert.equal(scene.disk.durable.meta.index, 7);
});

test('an idle node makes checkpoints as long as some of the history may go', t => {
  t.after(setLimits({pruneRowCountMax: 10}));
  const scene = new Scene();
  for (let i = 0; i < limits.nearRevisionCount + 40; i++) scene.apply();
  scene.advance(2 * limits.checkpointIntervalMs);
  assert.equal(scene.checkpointCount, 1);
  const {index} = scene.applied;
  const data = encode({type: 'compact', revision: scene.machine.revision()});
  scene.machine.apply({index: index + 1, proposedAtMs: 1, data});
  assert.equal(scene.machine.scrub(100), false);
  scene.advance(60 * limits.checkpointIntervalMs);
  // The 40 that go as a whole, and the others, which stay, are looked at: 10 with each checkpoint.
  const partCount = Math.ceil((limits.nearRevisionCount + 41) / 10);
  assert.equal(scene.checkpointCount, 1 + partCount);
  assert.equal(scene.state.hasToPrune(), false);
  assert.equal(scene.machine.event(41, 0), null);
  assert.ok(scene.machine.event(42, 0));
});

test('a large overlay is checkpointed sooner', () => {
  const scene = new Scene();
  while (scene.state.sizeBytes() < limits.overlaySizeBytesTarget) scene.apply(1_000_000);
  scene.advance(limits.checkpointIntervalMsMin + 50);
  assert.equal(scene.checkpointCount, 1);
});

test('members write their checkpoints in turns, wherever they began and whatever clocks do', () => {
  const time = new VirtualTime();
  const ids = ['node1', 'node2', 'node3'];
  const scenes = ids.map(id => new Scene(id, time));
  for (const scene of scenes) scene.applied = {...scene.applied, membership: membershipOf(ids)};
  const intervalMs = limits.checkpointIntervalMs;
  const startsMs = scenes.map((): number[] => []);
  const run = (durationMs: number): void => {
    for (let i = 0; i < durationMs; i++) {
      time.turn(() => undefined);
      if (time.nowMs % 10 !== 0) continue;
      for (const [place, scene] of scenes.entries()) {
        if (time.nowMs % 50 === 0) scene.apply();
        const wasRunning = scene.checkpointer.isRunning();
        scene.checkpointer.maybeStart();
        if (!wasRunning && scene.checkpointer.isRunning()) startsMs[place]?.push(time.nowMs);
      }
    }
  };
  run(10 * intervalMs);
  for (const [place, starts] of startsMs.entries()) {
    const turnMs = (place * intervalMs) / ids.length;
    // They all began in one moment: the first checkpoint is in nobody's turn.
    for (const atMs of starts.slice(1)) {
      const lateMs = (((atMs - turnMs) % intervalMs) + intervalMs) % intervalMs;
      assert.ok(lateMs <= 20, `${ids[place]} at ${atMs} ms`);
    }
    assert.ok(starts.length >= 9, `${starts.length} checkpoints`);
  }
  // However the wall clock jumps, a checkpoint comes in one and a half intervals.
  for (const starts of startsMs) starts.length = 0;
  const jumpedAtMs = time.nowMs;
  for (let i = 0; i < 100; i++) {
    time.wallSkewMs = (i * 7_919) % 100_003;
    run(intervalMs / 5);
  }
  for (const starts of startsMs) {
    const waitsMs = starts.map((atMs, i) => atMs - (starts[i - 1] ?? jumpedAtMs));
    assert.ok(Math.max(...waitsMs) <= 1.5 * intervalMs + 20, `${Math.max(...waitsMs)} ms`);
    assert.ok(Math.min(...waitsMs.slice(1)) >= intervalMs / 2, `${Math.min(...waitsMs)} ms`);
  }
});

test('no space is no failure: the overlay stays, reads go on, and it is tried again', () => {
  const scene = new Scene();
  scene.apply();
  scene.disk.nextFailure = 'ENOSPC';
  scene.advance(limits.checkpointIntervalMs + 100);
  assert.equal(scene.checkpointCount, 0);
  assert.deepEqual(scene.failures, []);
  assert.equal(scene.checkpointer.isStorageFull(), false, 'there is room in memory');
  assert.ok(scene.machine.get(bytes('key1'), 0) !== null);
  assert.equal(scene.log.firstIndex(), 1);
  scene.advance(limits.checkpointIntervalMs + 100);
  assert.equal(scene.checkpointCount, 1);
  assert.equal(scene.log.firstIndex(), 2);
});

test('without space and without room in memory the storage is full, until a checkpoint', () => {
  const scene = new Scene();
  scene.disk.nextFailure = 'ENOSPC';
  while (scene.checkpointer.hasRoom()) scene.apply(1_500_000);
  assert.equal(scene.checkpointer.isStorageFull(), false, 'nobody said so yet');
  scene.advance(limits.checkpointIntervalMsMin + 50);
  assert.equal(scene.checkpointer.isStorageFull(), true);
  scene.advance(limits.checkpointIntervalMs + 50);
  assert.equal(scene.checkpointer.isStorageFull(), false);
  assert.equal(scene.checkpointer.hasRoom(), true);
});

test('an idle node looks now and then whether its log has become old', () => {
  const scene = new Scene();
  scene.apply();
  scene.advance(limits.checkpointIntervalMs + 100);
  const releases: unknown[] = [];
  scene.log.release = release => releases.push(release);
  scene.advance(2.5 * limits.logReleaseIntervalMs);
  assert.deepEqual(releases, Array(2).fill({upTo: 1, neededAfter: null}));
});

test('any other error is final', () => {
  const scene = new Scene();
  scene.apply();
  scene.disk.nextFailure = 'EIO';
  scene.advance(limits.checkpointIntervalMs + 100);
  assert.match(scene.failures[0]?.message ?? '', /EIO/);
});

test('whoever waits for the end of a checkpoint is called then, also when it fails', () => {
  for (const failure of [null, 'ENOSPC']) {
    const scene = new Scene();
    const calls: string[] = [];
    scene.checkpointer.whenIdle(() => calls.push('idle'));
    assert.deepEqual(calls, ['idle']);
    scene.apply();
    scene.disk.nextFailure = failure;
    scene.advance(limits.checkpointIntervalMs - 9);
    while (!scene.checkpointer.isRunning()) scene.advance(1);
    scene.checkpointer.whenIdle(() => calls.push('later'));
    assert.equal(calls.length, 1);
    scene.advance(20);
    assert.deepEqual(calls, ['idle', 'later']);
  }
});

test('after a stop no checkpoint starts, and one that ends leaves the closed log alone', () => {
  const scene = new Scene();
  scene.apply();
  while (!scene.checkpointer.isRunning()) scene.advance(1);
  scene.checkpointer.stop();
  scene.advance(20);
  assert.equal(scene.disk.durable.meta.index, 1);
  assert.equal(scene.log.firstIndex(), 1, 'not released');
  scene.apply();
  scene.advance(3 * limits.checkpointIntervalMs);
  assert.equal(scene.disk.durable.meta.index, 1);
});

test('who asks for a checkpoint of what is applied does not wait for the interval', () => {
  const scene = new Scene();
  scene.apply();
  const covered: string[] = [];
  scene.checkpointer.cover(error => covered.push(error?.message ?? 'ok'));
  assert.equal(covered.length, 0, 'never at once');
  scene.advance(50);
  assert.deepEqual(covered, ['ok']);
  assert.equal(scene.disk.durable.meta.index, 1);

  // What a checkpoint holds already needs no other one.
  scene.checkpointer.cover(error => covered.push(error?.message ?? 'ok'));
  scene.advance(50);
  assert.deepEqual(covered, ['ok', 'ok']);
  assert.equal(scene.checkpointCount, 1);
});

test('a node that stops makes no more checkpoints for anybody', () => {
  const scene = new Scene();
  scene.apply();
  const covered: string[] = [];
  scene.checkpointer.cover(error => covered.push(error?.message ?? 'ok'));
  scene.checkpointer.stop();
  assert.match(covered[0] ?? '', /stopping/);
  assert.equal(covered.length, 1);
});
