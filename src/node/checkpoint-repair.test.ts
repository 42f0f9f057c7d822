import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  FakeCheckpointDisk,
  FakeCheckpointStore,
} from '../../test/contract/fake-checkpoint-store.ts';
import {memberOf, membershipOf} from '../../test/node/driven-raft.ts';
import {FakeTransport} from '../../test/node/fake-transport.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {must} from '../base/assert.ts';
import {silentLogger} from '../base/logger.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {SnapshotExport, SnapshotImport} from '../storage/checkpoint-store.ts';
import type {SnapshotOffer} from '../transport/transport.ts';
import {CheckpointRepair} from './checkpoint-repair.ts';

const membership = membershipOf(['node1', 'node2', 'node3']);
const from = nodeId('node2');

function metaAt(index: number): SnapshotMeta {
  return {index: logIndex(index), term: term(1), membership};
}

function offerAt(index: number): SnapshotOffer {
  return {id: '1-1', meta: metaAt(index), sizeBytes: 0};
}

class Scene {
  readonly time = new VirtualTime();
  readonly transport = new FakeTransport();
  readonly disk = new FakeCheckpointDisk();
  readonly store = new FakeCheckpointStore(this.disk, action => this.time.afterPoll(action));
  readonly repair: CheckpointRepair;
  repairedCount = 0;

  constructor() {
    this.repair = new CheckpointRepair({
      self: memberOf('node1'),
      clusterId: 'a'.repeat(32),
      addresses: ['node2', 'node3'].map(id => ({id, address: `${id}:1`})),
      indexMin: 10,
      transport: this.transport,
      checkpoint: this.store,
      clock: new LifeClock(this.time),
      logger: silentLogger,
      onRepaired: () => this.repairedCount++,
      fail: error => assert.fail(error),
    });
    this.repair.start();
  }

  advance(durationMs: number): void {
    for (let i = 0; i < durationMs; i++) this.time.turn(() => undefined);
  }

  /** Another member's checkpoint at `index`. */
  export(index: number): SnapshotExport {
    const disk = new FakeCheckpointDisk();
    disk.durable = {...disk.durable, meta: metaAt(index)};
    const store = new FakeCheckpointStore(disk, action => this.time.afterPoll(action));
    const found: (SnapshotExport | null)[] = [];
    store.exportSnapshot((_error, snapshot) => found.push(snapshot));
    this.advance(1);
    return must(found[0], 'a copy');
  }

  stream(source: SnapshotExport, target: SnapshotImport): void {
    const reader = source.open(null);
    const end = {isReached: false};
    const step = (): void => {
      reader.next((error, block) => {
        assert.equal(error, null);
        if (block !== null) target.write(block, step);
        else target.finish(() => (end.isReached = true));
      });
    };
    target.begin(step);
    this.advance(50);
    assert.equal(end.isReached, true);
  }
}

test('members are asked in turn until one sends a snapshot', () => {
  const scene = new Scene();
  scene.advance(1_600);
  assert.deepEqual(
    scene.transport.calls.map(call => call.address),
    ['node2:1', 'node3:1', 'node2:1', 'node3:1'],
  );
  assert.deepEqual(scene.transport.calls[0]?.request, {
    type: 'send-snapshot',
    clusterId: 'a'.repeat(32),
    id: 'node1',
    incarnation: memberOf('node1').incarnation,
  });
});

test('a snapshot that leaves a gap before the log is not taken', () => {
  const scene = new Scene();
  assert.equal(scene.repair.onOffer(from, offerAt(9)), null);
  assert.ok(scene.repair.onOffer(from, offerAt(10)) !== null);
});

test('one snapshot is taken at a time; nobody is asked meanwhile; a failed one makes room', () => {
  const scene = new Scene();
  const first = scene.repair.onOffer(from, offerAt(20));
  assert.ok(first !== null);
  assert.equal(scene.repair.onOffer(from, offerAt(20)), null);
  scene.advance(2_000);
  assert.equal(scene.transport.calls.length, 1);
  first.abort();
  assert.ok(scene.repair.onOffer(from, offerAt(20)) !== null);
});

test('an import that fails makes room for the next', () => {
  const scene = new Scene();
  const broken = scene.repair.onOffer(from, offerAt(20));
  scene.disk.nextFailure = 'ENOSPC';
  broken?.write(new Uint8Array(8), error => assert.ok(error !== null));
  scene.advance(1);
  assert.ok(scene.repair.onOffer(from, offerAt(20)) !== null);
});

test('the snapshot that arrived becomes the checkpoint, once', () => {
  const scene = new Scene();
  const target = scene.repair.onOffer(from, offerAt(20));
  assert.ok(target !== null);
  scene.stream(scene.export(20), target);
  scene.repair.onReceived(metaAt(20), target);
  assert.equal(scene.repairedCount, 0, 'not before it is durable');
  scene.advance(2);
  assert.equal(scene.repairedCount, 1);
  assert.equal(scene.disk.durable.meta.index, 20);
  assert.equal(scene.repair.onOffer(from, offerAt(30)), null);
  const callCount = scene.transport.calls.length;
  scene.advance(2_000);
  assert.equal(scene.transport.calls.length, callCount);
});

test('a stop before the snapshot is complete leaves the checkpoint as it is', () => {
  const scene = new Scene();
  const target = scene.repair.onOffer(from, offerAt(20));
  assert.ok(target !== null);
  scene.stream(scene.export(20), target);
  scene.repair.stop();
  scene.repair.onReceived(metaAt(20), target);
  assert.equal(scene.repairedCount, 0);
  assert.equal(scene.disk.durable.meta.index, 0);
});

test('a stop while the snapshot becomes the checkpoint is told of no repair', () => {
  const scene = new Scene();
  const target = scene.repair.onOffer(from, offerAt(20));
  assert.ok(target !== null);
  scene.stream(scene.export(20), target);
  scene.repair.onReceived(metaAt(20), target);
  scene.repair.stop();
  scene.advance(10);
  assert.equal(scene.disk.durable.meta.index, 20);
  assert.equal(scene.repairedCount, 0);
});
