import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  FakeCheckpointDisk,
  FakeCheckpointStore,
} from '../../test/contract/fake-checkpoint-store.ts';
import {FakeLogStore} from '../../test/contract/fake-log-store.ts';
import {DrivenRaft, membershipOf} from '../../test/node/driven-raft.ts';
import {FakeTransport} from '../../test/node/fake-transport.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {must} from '../base/assert.ts';
import {silentLogger} from '../base/logger.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {SnapshotExport, SnapshotImport} from '../storage/checkpoint-store.ts';
import {StateStore} from '../storage/state-store.ts';
import {Checkpointer} from './checkpointer.ts';
import {Snapshotter} from './snapshotter.ts';

const membership = membershipOf(['node1', 'node2', 'node3']);
const node2 = nodeId('node2');

function metaAt(index: number): SnapshotMeta {
  return {index: logIndex(index), term: term(1), membership};
}

class Scene {
  readonly time = new VirtualTime();
  readonly transport = new FakeTransport();
  readonly disk = new FakeCheckpointDisk();
  readonly store = new FakeCheckpointStore(this.disk, action => this.time.afterPoll(action));
  readonly state = new StateStore(this.store);
  readonly driven: DrivenRaft;
  readonly snapshotter: Snapshotter;
  readonly checkpointer: Checkpointer;
  sentCount = 0;
  abortedCount = 0;

  constructor(driven: DrivenRaft) {
    this.driven = driven;
    this.checkpointer = new Checkpointer({
      state: this.state,
      machine: new KvStateMachine(this.state),
      log: new FakeLogStore(),
      clock: new LifeClock(this.time),
      logger: silentLogger,
      applied: () => metaAt(1),
      onCheckpoint: () => undefined,
      fail: error => assert.fail(error),
    });
    this.snapshotter = new Snapshotter({
      raft: driven.raft,
      transport: this.transport,
      checkpoint: this.store,
      checkpointer: this.checkpointer,
      clock: new LifeClock(this.time),
      logger: silentLogger,
      scheduleReady: () => undefined,
      onSent: () => this.sentCount++,
    });
  }

  turns(count: number): void {
    for (let i = 0; i < count; i++) this.time.turn(() => undefined);
  }

  /** All of `source` into `target`, finished. */
  stream(source: SnapshotExport, target: SnapshotImport): void {
    const end = {isReached: false};
    const step = (): void => {
      source.next((_error, block) => {
        if (block !== null) target.write(block, step);
        else target.finish(() => (end.isReached = true));
      });
    };
    step();
    this.turns(50);
    assert.equal(end.isReached, true);
  }

  /** A finished import of a snapshot at `index`, not handed over yet. */
  receive(index: number): SnapshotImport {
    const disk = new FakeCheckpointDisk();
    disk.durable = {...disk.durable, meta: metaAt(index)};
    const other = new FakeCheckpointStore(disk, action => this.time.afterPoll(action));
    const exported: SnapshotExport[] = [];
    other.exportSnapshot((_error, snapshot) => exported.push(must(snapshot, 'a copy')));
    const target = must(this.snapshotter.onOffer(node2, metaAt(index)), 'it is wanted');
    this.turns(1);
    this.stream(must(exported[0], 'a copy'), target);
    return {
      ...target,
      abort: () => {
        this.abortedCount++;
        target.abort();
      },
    };
  }
}

function leader(): Scene {
  return new Scene(new DrivenRaft(membership).lead('node2'));
}

function follower(): Scene {
  return new Scene(new DrivenRaft(membership).follow('node2'));
}

test('one snapshot at a time is sent to a follower, and its end is reported', () => {
  const scene = leader();
  scene.snapshotter.send(node2);
  scene.snapshotter.send(node2);
  scene.snapshotter.send(nodeId('node3'));
  scene.turns(2);
  assert.deepEqual(
    scene.transport.streams.map(stream => stream.to),
    ['node2', 'node3'],
  );
  scene.transport.streams[0]?.callback(null);
  assert.equal(scene.sentCount, 1);
  scene.transport.streams[1]?.callback(new Error('the connection was closed'));
  assert.equal(scene.sentCount, 1);
  scene.snapshotter.send(node2);
  scene.turns(2);
  assert.equal(scene.transport.streams.length, 3);
});

test('after a stop nothing is sent and nothing is taken', () => {
  const scene = follower();
  scene.snapshotter.stop();
  scene.snapshotter.send(node2);
  scene.turns(2);
  assert.equal(scene.transport.streams.length, 0);
  assert.equal(scene.snapshotter.onOffer(node2, metaAt(10)), null);
});

test('only news of the own leader is taken', () => {
  const scene = follower();
  assert.equal(scene.snapshotter.onOffer(nodeId('node3'), metaAt(10)), null);
  assert.equal(scene.snapshotter.onOffer(node2, metaAt(0)), null);
  assert.ok(scene.snapshotter.onOffer(node2, metaAt(10)) !== null);
  assert.equal(scene.snapshotter.onOffer(node2, metaAt(10)), null, 'one is on its way');
});

test('however an import ends, it makes room for the next offer', () => {
  for (const end of ['abort', 'write', 'finish'] as const) {
    const scene = follower();
    const target = must(scene.snapshotter.onOffer(node2, metaAt(10)), 'wanted');
    if (end === 'abort') target.abort();
    if (end === 'write') target.write(new Uint8Array(8), error => assert.ok(error !== null));
    if (end === 'finish') target.finish(error => assert.ok(error !== null));
    scene.turns(1);
    assert.ok(scene.snapshotter.onOffer(node2, metaAt(10)) !== null, end);
  }
});

test('a snapshot that raft accepted stays until it is installed, however long that takes', () => {
  const scene = follower();
  const snapshot = scene.receive(10);
  scene.snapshotter.onReceived(node2, metaAt(10), snapshot);
  assert.equal(scene.driven.raft.commitIndex, 10);
  // Writes of before are on their way to the disk.
  assert.equal(scene.snapshotter.isInstalling(), true);
  assert.equal(scene.snapshotter.onOffer(node2, metaAt(20)), null);
  scene.turns(100);
  assert.equal(scene.abortedCount, 0);
  const ready = scene.driven.raft.ready();
  const answers: (Error | null)[] = [];
  scene.snapshotter.install(must(ready.snapshot, 'it is ready'), error => answers.push(error));
  assert.equal(scene.snapshotter.isInstalling(), true, 'its name is on the way to the disk');
  scene.turns(1);
  assert.deepEqual(answers, [null]);
  assert.equal(scene.disk.durable.meta.index, 10);
  assert.equal(scene.snapshotter.isInstalling(), false);
});

test('a snapshot that raft has no use for is thrown away', () => {
  const scene = follower();
  const snapshot = scene.receive(10);
  scene.driven.raft.step({
    type: 'snapshot',
    from: node2,
    to: scene.driven.raft.id,
    term: scene.driven.raft.term,
    meta: metaAt(12),
  });
  scene.driven.perform();
  scene.snapshotter.onReceived(node2, metaAt(10), snapshot);
  assert.equal(scene.snapshotter.isInstalling(), false);
  assert.equal(scene.abortedCount, 1);
  assert.equal(scene.disk.durable.meta.index, 0);
});

test('a snapshot of a leader that is none any more is thrown away', () => {
  const scene = follower();
  const snapshot = scene.receive(10);
  scene.driven.follow('node3');
  scene.snapshotter.onReceived(node2, metaAt(10), snapshot);
  assert.equal(scene.abortedCount, 1);
  assert.equal(scene.driven.raft.commitIndex, 0);
});

test('a snapshot waits for the checkpoint that is being written', () => {
  const scene = follower();
  const snapshot = scene.receive(10);
  scene.state.checkpoint(metaAt(1), error => assert.equal(error, null));
  assert.equal(scene.checkpointer.isRunning(), true);
  scene.snapshotter.onReceived(node2, metaAt(10), snapshot);
  assert.equal(scene.driven.raft.commitIndex, 0);
});

test('raft cannot install what was not received', () => {
  const {snapshotter} = follower();
  assert.throws(() => snapshotter.install(metaAt(10), () => undefined), /was received/);
});
