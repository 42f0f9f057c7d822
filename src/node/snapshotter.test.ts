import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  FakeCheckpointDisk,
  FakeCheckpointStore,
} from '../../test/contract/fake-checkpoint-store.ts';
import {SortedRows} from '../../test/contract/sorted-rows.ts';
import {FakeLogStore} from '../../test/contract/fake-log-store.ts';
import {DrivenRaft, membershipOf} from '../../test/node/driven-raft.ts';
import {FakeTransport} from '../../test/node/fake-transport.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {must} from '../base/assert.ts';
import {limits} from '../base/limits.ts';
import {silentLogger} from '../base/logger.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {SnapshotExport, SnapshotImport, SnapshotReader} from '../storage/checkpoint-store.ts';
import {StateStore} from '../storage/state-store.ts';
import type {SnapshotOffer} from '../transport/transport.ts';
import {SnapshotRefusedError} from '../transport/transport.ts';
import {Checkpointer} from './checkpointer.ts';
import {Snapshotter} from './snapshotter.ts';

type Next = Parameters<SnapshotReader['next']>[0];

const membership = membershipOf(['node1', 'node2', 'node3']);
const node2 = nodeId('node2');

function metaAt(index: number): SnapshotMeta {
  return {index: logIndex(index), term: term(1), membership};
}

function offerAt(index: number, id = '1-1'): SnapshotOffer {
  return {id, meta: metaAt(index), sizeBytes: 0};
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
  firstLogIndex = 1;
  refusal: Error | null = null;
  sentCount = 0;
  abortedCount = 0;

  constructor(driven: DrivenRaft) {
    this.driven = driven;
    this.checkpointer = new Checkpointer({
      id: nodeId('node1'),
      state: this.state,
      machine: new KvStateMachine(this.state),
      log: new FakeLogStore(),
      clock: new LifeClock(this.time),
      logger: silentLogger,
      applied: () => metaAt(1),
      neededAfter: () => null,
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
      life: '1-a',
      firstLogIndex: () => logIndex(this.firstLogIndex),
      refusal: () => this.refusal,
      scheduleReady: () => undefined,
      onSent: () => this.sentCount++,
    });
  }

  turns(count: number): void {
    for (let i = 0; i < count; i++) this.time.turn(() => undefined);
  }

  /** All of `source` into `target`, finished. */
  stream(source: SnapshotExport, target: SnapshotImport): void {
    const reader = source.open(null);
    const end = {isReached: false};
    const step = (): void => {
      reader.next((_error, block) => {
        if (block !== null) target.write(block, step);
        else target.finish(() => (end.isReached = true));
      });
    };
    target.begin(step);
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
    const target = must(this.snapshotter.onOffer(node2, offerAt(index)), 'it is wanted');
    this.turns(1);
    this.stream(must(exported[0], 'a copy'), target);
    return {
      begin: callback => target.begin(callback),
      write: (block, callback) => target.write(block, callback),
      finish: callback => target.finish(callback),
      install: callback => target.install(callback),
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
  assert.equal(scene.snapshotter.onOffer(node2, offerAt(10)), null);
});

test('nothing of a state that went wrong is sent, and a stream under way ends', () => {
  const scene = leader();
  scene.snapshotter.send(node2);
  scene.turns(2);
  const stream = must(scene.transport.streams[0], 'a stream');
  const reader = stream.snapshot.open(null);
  const answers: (Error | null)[] = [];
  reader.next(error => answers.push(error));
  scene.turns(2);
  assert.equal(answers.length, 1);
  const refusal = new Error('the state went wrong');
  scene.refusal = refusal;
  reader.next((error, block) => {
    assert.equal(block, null);
    answers.push(error);
  });
  scene.turns(2);
  assert.deepEqual(answers, [null, refusal]);
  stream.callback(refusal);
  scene.turns(200);
  scene.snapshotter.send(node2);
  scene.snapshotter.send(nodeId('node3'));
  scene.turns(2);
  assert.equal(scene.transport.streams.length, 1);
});

test('two that need a snapshot at the same time get one copy, and so does the next', () => {
  const scene = leader();
  scene.snapshotter.send(node2);
  scene.snapshotter.send(nodeId('node3'));
  scene.turns(2);
  const [first, second] = scene.transport.streams;
  assert.ok(first !== undefined && second !== undefined);
  assert.equal(first.snapshot, second.snapshot);
  assert.equal(first.snapshot.id, '1-a-1');
  assert.equal(scene.snapshotter.oldestCopyIndex(), 0);
  first.callback(null);
  second.callback(null);
  scene.snapshotter.send(node2);
  assert.equal(scene.transport.streams[2]?.snapshot, first.snapshot);
});

test('a stream that broke off goes on with the same copy, soon', () => {
  const scene = leader();
  scene.snapshotter.send(node2);
  scene.turns(2);
  scene.transport.streams[0]?.callback(new Error('the connection was closed'));
  scene.snapshotter.send(node2);
  scene.turns(50);
  assert.equal(scene.transport.streams.length, 1, 'not at once');
  scene.turns(100);
  scene.snapshotter.send(node2);
  scene.turns(2);
  assert.equal(scene.transport.streams[1]?.snapshot, scene.transport.streams[0]?.snapshot);
});

test('a copy that cannot be read is made anew, and less and less often', () => {
  const scene = leader();
  const damage = new Error('the checksum of a row does not match');
  scene.store.exportSnapshot = callback => {
    const reader = {next: (tell: Next) => tell(damage, null), close: () => undefined};
    callback(null, {meta: metaAt(1), sizeBytes: 1, open: () => reader, close: () => undefined});
  };
  const streamedAtMs: number[] = [];
  while (streamedAtMs.length < 4) {
    scene.snapshotter.send(node2);
    scene.turns(1);
    const {streams} = scene.transport;
    const stream = streams[streamedAtMs.length];
    if (stream === undefined) continue;
    streamedAtMs.push(scene.time.nowMs);
    stream.snapshot.open(null).next(error => stream.callback(error));
  }
  const waitsMs = streamedAtMs.slice(1).map((atMs, i) => atMs - (streamedAtMs[i] ?? 0));
  for (const [i, waitMs] of waitsMs.entries()) assert.ok(waitMs >= 1_000 * 2 ** i, `${waitMs} ms`);
  const copies = scene.transport.streams.map(({snapshot}) => snapshot.id);
  assert.equal(new Set(copies).size, copies.length);
});

test('a copy that was refused, or that the log has left behind, is replaced', () => {
  const scene = leader();
  const refusal = new SnapshotRefusedError({code: 'SNAPSHOT_NOT_WANTED', detail: 'no'});
  scene.snapshotter.send(node2);
  scene.turns(2);
  scene.transport.streams[0]?.callback(refusal);
  scene.turns(1_100);
  scene.snapshotter.send(node2);
  scene.turns(2);
  assert.equal(scene.transport.streams[1]?.snapshot.id, '1-a-2');
  scene.transport.streams[1].callback(null);
  scene.firstLogIndex = 100;
  scene.disk.durable = {...scene.disk.durable, meta: metaAt(100)};
  scene.snapshotter.send(node2);
  scene.turns(2);
  assert.equal(scene.transport.streams[2]?.snapshot.id, '1-a-3');
});

test('a copy that is being made keeps the log behind it', () => {
  const scene = leader();
  scene.snapshotter.send(node2);
  assert.equal(scene.snapshotter.oldestCopyIndex(), 0, 'of the checkpoint that is copied');
  scene.turns(2);
  assert.equal(scene.transport.streams.length, 1);
});

test('a copy that the log has left behind while it was made is not sent', () => {
  const scene = leader();
  scene.snapshotter.send(node2);
  scene.firstLogIndex = 100;
  scene.turns(2);
  assert.equal(scene.transport.streams.length, 0);
  assert.equal(scene.snapshotter.oldestCopyIndex(), null, 'it is dropped');
  scene.disk.durable = {...scene.disk.durable, meta: metaAt(100)};
  scene.turns(1_000);
  scene.snapshotter.send(node2);
  scene.turns(2);
  assert.equal(scene.transport.streams[0]?.snapshot.meta.index, 100, 'another one is');
});

test('who cannot take a snapshot now is offered the same copy again, less and less often', () => {
  const scene = leader();
  const refusal = new SnapshotRefusedError({code: 'SNAPSHOT_FAILED', detail: 'disk full'});
  const delaysMs = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000];
  for (const [attempt, delayMs] of delaysMs.entries()) {
    scene.snapshotter.send(node2);
    scene.turns(2);
    const stream = must(scene.transport.streams[attempt], 'a stream');
    assert.equal(stream.snapshot.id, '1-a-1');
    stream.callback(refusal);
    scene.turns(delayMs - 100);
    scene.snapshotter.send(node2);
    scene.turns(2);
    assert.equal(scene.transport.streams.length, attempt + 1, 'not yet');
    scene.turns(100);
  }
  scene.snapshotter.send(node2);
  scene.turns(2);
  scene.transport.streams.at(-1)?.callback(null);
  scene.snapshotter.send(node2);
  scene.turns(2);
  scene.transport.streams.at(-1)?.callback(refusal);
  scene.turns(1_100);
  scene.snapshotter.send(node2);
  scene.turns(2);
  assert.equal(scene.transport.streams.length, delaysMs.length + 3, 'it starts again');
});

test('a copy that nobody needs goes away after a while', () => {
  const scene = leader();
  scene.snapshotter.send(node2);
  scene.turns(2);
  const source = must(scene.transport.streams[0], 'a stream').snapshot;
  scene.transport.streams[0]?.callback(null);
  const blocks: unknown[] = [];
  source.open(null).next((_error, block) => blocks.push(block));
  scene.turns(2);
  assert.equal(blocks.length, 1, 'it is there');
  assert.equal(scene.snapshotter.oldestCopyIndex(), 0);
  scene.turns(limits.snapshotResumeTimeoutMs);
  source.open(null).next((_error, block) => blocks.push(block));
  scene.turns(2);
  assert.equal(blocks.length, 1, 'it is gone');
  assert.equal(scene.snapshotter.oldestCopyIndex(), null);
});

test('only news of the own leader is taken', () => {
  const scene = follower();
  assert.equal(scene.snapshotter.onOffer(nodeId('node3'), offerAt(10)), null);
  assert.equal(scene.snapshotter.onOffer(node2, offerAt(0)), null);
  assert.ok(scene.snapshotter.onOffer(node2, offerAt(10)) !== null);
});

test('a leader that offers what has arrived long ago is told how far its follower is', () => {
  const scene = follower();
  const {driven} = scene;
  const {id, term: ownTerm} = driven.raft;
  driven.raft.step({type: 'snapshot', from: node2, to: id, term: ownTerm, meta: metaAt(10)});
  driven.perform();
  // What it has said so far is lost.
  driven.sent = [];
  assert.equal(scene.snapshotter.onOffer(node2, offerAt(10, '1-2')), null);
  driven.perform();
  const [accepted] = driven.sent;
  assert.equal(accepted?.type, 'append-accepted');
  assert.deepEqual([accepted.to, accepted.matchIndex], ['node2', 10]);
});

/** The header and the first block of rows of a snapshot, written; what the import says it holds. */
function writeBeginning(scene: Scene, target: SnapshotImport): void {
  const disk = new FakeCheckpointDisk();
  disk.durable = {meta: metaAt(10), rows: SortedRows.none.with([['\x01a', Buffer.from('1')]])};
  const source: SnapshotExport[] = [];
  const store = new FakeCheckpointStore(disk, action => scene.time.afterPoll(action));
  store.exportSnapshot((_error, snapshot) => source.push(must(snapshot, 'a copy')));
  scene.turns(1);
  const reader = must(source[0], 'a copy').open(null);
  const move = (count: number): void => {
    if (count === 0) return;
    reader.next((_error, block) => {
      target.write(must(block, 'a block'), error => {
        assert.equal(error, null);
        move(count - 1);
      });
    });
  };
  target.begin(() => move(2));
  scene.turns(10);
}

function rowCountHeld(scene: Scene, target: SnapshotImport): number {
  const held: number[] = [];
  target.begin((error, after) => {
    assert.equal(error, null);
    held.push(after?.rowCount ?? 0);
  });
  scene.turns(2);
  return must(held[0], 'an answer');
}

test('a stream of the same copy goes on where the last one broke off', () => {
  const scene = follower();
  const target = must(scene.snapshotter.onOffer(node2, offerAt(10)), 'wanted');
  writeBeginning(scene, target);
  scene.snapshotter.onBroken(target);
  const again = must(scene.snapshotter.onOffer(node2, offerAt(10)), 'wanted');
  assert.equal(again, target);
  assert.equal(rowCountHeld(scene, again), 1);
});

test('what arrived is given up when no other stream comes, or one of another copy', () => {
  const scene = follower();
  const target = must(scene.snapshotter.onOffer(node2, offerAt(10)), 'wanted');
  writeBeginning(scene, target);
  scene.snapshotter.onBroken(target);
  const other = must(scene.snapshotter.onOffer(node2, offerAt(10, '1-2')), 'wanted');
  assert.equal(rowCountHeld(scene, other), 0);
  writeBeginning(scene, other);
  scene.snapshotter.onBroken(other);
  scene.turns(limits.snapshotResumeTimeoutMs + 1);
  const late = must(scene.snapshotter.onOffer(node2, offerAt(10, '1-2')), 'wanted');
  assert.equal(rowCountHeld(scene, late), 0);
});

test('a newer leader takes the place of an older one, whose stream hears of it', () => {
  const scene = follower();
  const target = must(scene.snapshotter.onOffer(node2, offerAt(10)), 'wanted');
  writeBeginning(scene, target);
  scene.driven.follow('node3');
  const node3 = nodeId('node3');
  const newer = must(scene.snapshotter.onOffer(node3, offerAt(10)), 'wanted');
  assert.notEqual(newer, target);
  assert.equal(rowCountHeld(scene, newer), 0, 'of the same id, but another member');
  const errors: (Error | null)[] = [];
  target.write(new Uint8Array(8), error => errors.push(error));
  target.finish(error => errors.push(error));
  scene.turns(2);
  assert.match(String(errors[0]), /taken its place/);
  assert.match(String(errors[1]), /taken its place/);
  target.abort();
  scene.snapshotter.onBroken(target);
  assert.equal(rowCountHeld(scene, newer), 0, 'it is untouched by the end of the older one');
});

test('however an import ends, it makes room for the next offer', () => {
  for (const end of ['abort', 'write', 'finish'] as const) {
    const scene = follower();
    const target = must(scene.snapshotter.onOffer(node2, offerAt(10)), 'wanted');
    if (end === 'abort') target.abort();
    if (end === 'write') target.write(new Uint8Array(8), error => assert.ok(error !== null));
    if (end === 'finish') target.finish(error => assert.ok(error !== null));
    scene.turns(1);
    assert.ok(scene.snapshotter.onOffer(node2, offerAt(10)) !== null, end);
  }
});

test('a snapshot that raft accepted stays until it is installed, however long that takes', () => {
  const scene = follower();
  const snapshot = scene.receive(10);
  scene.snapshotter.onReceived(node2, metaAt(10), snapshot);
  assert.equal(scene.driven.raft.commitIndex, 10);
  // Writes of before are on their way to the disk.
  assert.equal(scene.snapshotter.isInstalling(), true);
  assert.equal(scene.snapshotter.onOffer(node2, offerAt(20)), null);
  scene.turns(100);
  assert.equal(scene.abortedCount, 0);
  const ready = scene.driven.raft.ready();
  const answers: (Error | null)[] = [];
  scene.snapshotter.install(must(ready.snapshot, 'it is ready'), error => answers.push(error));
  assert.equal(scene.snapshotter.isInstalling(), true, 'its name is on the way to the disk');
  scene.turns(2);
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
