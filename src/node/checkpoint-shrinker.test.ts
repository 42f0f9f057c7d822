import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  FakeCheckpointDisk,
  FakeCheckpointStore,
} from '../../test/contract/fake-checkpoint-store.ts';
import {FakeLogStore} from '../../test/contract/fake-log-store.ts';
import {membershipOf} from '../../test/node/driven-raft.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {limits} from '../base/limits.ts';
import type {Logger} from '../base/logger.ts';
import {silentLogger} from '../base/logger.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import {logIndex, noIndex, noTerm, nodeId, term} from '../raft/ids.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import {StateStore} from '../storage/state-store.ts';
import {Checkpointer} from './checkpointer.ts';

const membership = membershipOf(['node1']);
const hugeSizeBytes = 1024 ** 3;

/** A checkpointer over a store whose every operation takes `delayMs`. */
class Scene {
  readonly time = new VirtualTime();
  readonly disk = new FakeCheckpointDisk();
  readonly log = new FakeLogStore(operation => operation());
  readonly state: StateStore;
  readonly checkpointer: Checkpointer;
  readonly warnings: string[] = [];
  delayMs = 5;
  applied: SnapshotMeta = {index: noIndex, term: noTerm, membership};
  checkpointCount = 0;

  constructor() {
    const store = new FakeCheckpointStore(this.disk, action =>
      this.time.setTimer(this.delayMs, action),
    );
    this.state = new StateStore(store);
    const logger: Logger = {
      ...silentLogger,
      warn: (_fields, message) => this.warnings.push(message),
    };
    this.checkpointer = new Checkpointer({
      id: nodeId('node1'),
      state: this.state,
      machine: new KvStateMachine(this.state),
      log: this.log,
      clock: new LifeClock(this.time),
      logger,
      applied: () => this.applied,
      neededAfter: () => null,
      onCheckpoint: () => this.checkpointCount++,
      fail: error => {
        throw error;
      },
    });
  }

  /** Rows of one more entry. */
  apply(sizeBytes = 1): void {
    const index = logIndex(this.applied.index + 1);
    this.state.put(Buffer.from(`row${index}`), Buffer.alloc(sizeBytes, 'x'));
    this.applied = {index, term: term(1), membership};
  }

  advance(durationMs: number, stepMs = 10): void {
    for (let i = 0; i < durationMs; i += stepMs) {
      for (let j = 0; j < stepMs; j++) this.time.turn(() => undefined);
      this.checkpointer.maybeStart();
    }
  }
}

test('a file that is mostly free is shrunk, at start and after a checkpoint, no other is', () => {
  const scene = new Scene();
  scene.disk.sizeBytes = hugeSizeBytes;
  scene.advance(50);
  assert.equal(scene.disk.shrinkCount, 1);
  assert.equal(scene.disk.sizeBytes, 0);
  scene.advance(2 * limits.shrinkIntervalMsMin, 100);
  assert.equal(scene.disk.shrinkCount, 1);
  scene.disk.sizeBytes = limits.shrinkSizeBytesMin - 1;
  scene.apply();
  scene.advance(limits.checkpointIntervalMs);
  assert.equal(scene.disk.shrinkCount, 1, 'it is small');
  scene.disk.sizeBytes = limits.shrinkSizeBytesMin;
  scene.apply();
  scene.advance(limits.checkpointIntervalMs + 100);
  assert.equal(scene.disk.shrinkCount, 2);
});

test('a checkpoint waits for the copy, and what was applied meanwhile follows', () => {
  const scene = new Scene();
  scene.disk.sizeBytes = hugeSizeBytes;
  scene.delayMs = 3 * limits.checkpointIntervalMs;
  scene.checkpointer.maybeStart();
  scene.delayMs = 5;
  scene.apply();
  scene.advance(2 * limits.checkpointIntervalMs);
  assert.equal(scene.checkpointCount, 0);
  scene.advance(limits.checkpointIntervalMs + 100);
  assert.equal(scene.disk.shrinkCount, 1);
  assert.equal(scene.checkpointCount, 1);
  assert.equal(scene.disk.durable.meta.index, 1);
  assert.ok(scene.disk.durable.rows.get('row1') !== undefined);
});

test('an overlay that grows large does not wait: the copy is given up, nothing is lost', () => {
  const scene = new Scene();
  scene.disk.sizeBytes = hugeSizeBytes;
  scene.delayMs = 10_000;
  scene.checkpointer.maybeStart();
  scene.delayMs = 5;
  while (scene.state.totalSizeBytes() < limits.shrinkOverlaySizeBytesMax) scene.apply(1_000_000);
  assert.equal(scene.checkpointer.hasRoom(), true, 'apply does not stand still');
  scene.advance(limits.checkpointIntervalMs);
  assert.equal(scene.checkpointCount, 1);
  const {index} = scene.applied;
  scene.advance(10_000);
  assert.equal(scene.disk.shrinkCount, 0);
  assert.equal(scene.disk.durable.meta.index, index);
  assert.deepEqual(scene.warnings, [], 'no fault of anybody');
  scene.advance(limits.shrinkIntervalMsMin, 100);
  assert.equal(scene.disk.shrinkCount, 1, 'tried again');
  assert.equal(scene.disk.durable.rows.keys.length >= index, true);
});

test('a log that grows large does not wait: entries that change no rows are in it alone', () => {
  const scene = new Scene();
  scene.disk.sizeBytes = hugeSizeBytes;
  scene.delayMs = 3 * limits.checkpointIntervalMs;
  scene.checkpointer.maybeStart();
  scene.delayMs = 5;
  let logSizeBytes = limits.shrinkLogSizeBytesMax - 1;
  scene.log.size = () => ({entryCount: 1, sizeBytes: logSizeBytes});
  scene.applied = {index: logIndex(1), term: term(1), membership};
  scene.advance(2 * limits.checkpointIntervalMs);
  assert.equal(scene.checkpointCount, 0);
  logSizeBytes += 1;
  scene.advance(50);
  assert.equal(scene.checkpointCount, 1);
});

test('a copy that takes very long does not hold up checkpoints for ever', () => {
  const scene = new Scene();
  scene.disk.sizeBytes = hugeSizeBytes;
  scene.delayMs = 2 * limits.shrinkDurationMsMax;
  scene.checkpointer.maybeStart();
  scene.delayMs = 5;
  scene.apply();
  scene.advance(limits.shrinkDurationMsMax - 1_000, 500);
  assert.equal(scene.checkpointCount, 0);
  scene.advance(2_000, 100);
  assert.equal(scene.checkpointCount, 1);
});

test('a copy that fails is tried again after ever longer waits, and told of once', () => {
  const scene = new Scene();
  scene.disk.sizeBytes = hugeSizeBytes;
  const attemptsAtMs: number[] = [];
  const wasTried = (): boolean => scene.disk.nextFailure === null;
  while (attemptsAtMs.length < 4) {
    scene.disk.nextFailure = 'ENOSPC';
    scene.advance(1_000, 100);
    if (wasTried()) attemptsAtMs.push(scene.time.nowMs);
  }
  const waitsMs = attemptsAtMs.slice(1).map((atMs, i) => atMs - (attemptsAtMs[i] ?? 0));
  for (const [i, waitMs] of waitsMs.entries()) {
    const wantedMs = limits.shrinkIntervalMsMin * 2 ** i;
    assert.ok(waitMs >= wantedMs && waitMs <= wantedMs + 2_000, `${i}: ${waitMs}`);
  }
  assert.equal(scene.disk.shrinkCount, 0);
  assert.equal(scene.warnings.length, 1);
  scene.apply();
  scene.advance(limits.checkpointIntervalMs + 100);
  assert.equal(scene.checkpointCount, 1, 'checkpoints go on');
});

test('a node that stops begins no copy', () => {
  const scene = new Scene();
  scene.disk.sizeBytes = hugeSizeBytes;
  scene.checkpointer.stop();
  scene.advance(1_000);
  assert.equal(scene.disk.shrinkCount, 0);
});
