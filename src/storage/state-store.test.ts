import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {
  allBlocks,
  bytes,
  exported,
  importAll,
  metaAt,
  rowsIn,
  settled,
} from '../../test/contract/checkpoint-store-contract.ts';
import {
  FakeCheckpointDisk,
  FakeCheckpointStore,
} from '../../test/contract/fake-checkpoint-store.ts';
import {
  historyIn,
  historyKey,
  putEvent,
  wholeRange,
} from '../../test/contract/checkpoint-prune-contract.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import {Prng} from '../base/prng.ts';
import {historyPointer} from '../kv/tables.ts';
import {StateStore} from './state-store.ts';

/** A store whose callbacks wait until the test lets them run. */
class Bench {
  readonly disk = new FakeCheckpointDisk();
  readonly #due: (() => void)[] = [];
  checkpoint = this.#open();
  state = new StateStore(this.checkpoint);

  runDue(): void {
    for (const callback of this.#due.splice(0)) callback();
  }

  restart(): void {
    this.checkpoint.crash();
    this.#due.length = 0;
    this.checkpoint = this.#open();
    this.state = new StateStore(this.checkpoint);
  }

  get(key: string): string | undefined {
    const value = this.state.get(bytes(key));
    return value === undefined ? undefined : Buffer.from(value).toString('latin1');
  }

  put(key: string, value: string): void {
    this.state.put(bytes(key), bytes(value));
  }

  #open(): FakeCheckpointStore {
    return new FakeCheckpointStore(this.disk, callback => this.#due.push(callback));
  }
}

function unexpected(error: Error | null): void {
  assert.equal(error, null);
}

describe('state store', () => {
  test('reads through active overlay, frozen overlay and checkpoint', () => {
    const bench = new Bench();
    bench.disk.isVisibleEarly = false;
    bench.put('a', 'checkpoint');
    bench.put('b', 'checkpoint');
    bench.put('c', 'checkpoint');
    bench.state.checkpoint(metaAt(1), unexpected);
    bench.runDue();
    bench.put('b', 'frozen');
    bench.put('d', 'frozen');
    bench.state.delete(bytes('c'));
    bench.state.checkpoint(metaAt(2), unexpected);
    bench.put('d', 'active');
    bench.put('e', 'active');
    assert.equal(bench.get('a'), 'checkpoint');
    assert.equal(bench.get('b'), 'frozen');
    assert.equal(bench.get('c'), undefined);
    assert.equal(bench.get('d'), 'active');
    const rows = ['a=checkpoint', 'b=frozen', 'd=active', 'e=active'];
    assert.deepEqual(rowsIn(bench.state, 'a', 'z'), rows);
    assert.deepEqual(rowsIn(bench.state, 'a', 'z', true), rows.toReversed());
    bench.runDue();
    assert.deepEqual(rowsIn(bench.state, 'a', 'z'), rows);
    assert.equal(bench.state.checkpointMeta().index, 2);
    assert.equal(bench.state.recordCount(), 2);
  });

  test('a scan stops when it is told to, whatever layer the row came from', () => {
    const bench = new Bench();
    for (const key of ['a', 'c', 'e']) bench.put(key, '1');
    bench.state.checkpoint(metaAt(1), unexpected);
    bench.runDue();
    for (const key of ['b', 'c', 'd', 'f']) bench.put(key, '2');
    for (let stop = 1; stop <= 6; stop++) {
      const seen: string[] = [];
      bench.state.scan({start: bytes('a'), end: bytes('z'), isReverse: false}, key => {
        seen.push(Buffer.from(key).toString('latin1'));
        return seen.length < stop;
      });
      assert.deepEqual(seen, ['a', 'b', 'c', 'd', 'e', 'f'].slice(0, stop));
    }
  });

  test('agrees with a map over random writes, scans, checkpoints, full disks and crashes', () => {
    const prng = new Prng(7);
    const bench = new Bench();
    const model = new Map<string, string>();
    let durable = new Map<string, string>();
    const pending: {readonly index: number; readonly rows: Map<string, string>}[] = [];
    let index = 0;
    for (let step = 0; step < 8000; step++) {
      const key = `k${prng.uint32() % 400}`;
      const choice = prng.uint32() % 100;
      index += 1;
      if (choice < 60) {
        bench.put(key, `v${step}`);
        model.set(key, `v${step}`);
      } else if (choice < 75) {
        bench.state.delete(bytes(key));
        model.delete(key);
      } else if (choice < 85) {
        assert.equal(bench.get(key), model.get(key));
      } else if (choice < 90) {
        const isReverse = choice % 2 === 0;
        const expected = [...model]
          .filter(([name]) => name >= 'k1' && name < 'k3')
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([name, value]) => `${name}=${value}`);
        assert.deepEqual(
          rowsIn(bench.state, 'k1', 'k3', isReverse),
          isReverse ? expected.reverse() : expected,
        );
      } else if (choice < 94 && !bench.state.isCheckpointing()) {
        if (prng.uint32() % 3 === 0) bench.disk.nextFailure = 'ENOSPC';
        pending.push({index, rows: new Map(model)});
        bench.state.checkpoint(metaAt(index), error => {
          if (error !== null) return;
          const reached = bench.state.checkpointMeta().index;
          durable = pending.find(row => row.index === reached)?.rows ?? durable;
          pending.length = 0;
        });
      } else if (choice < 99) {
        bench.runDue();
      } else {
        bench.restart();
        bench.disk.nextFailure = null;
        pending.length = 0;
        model.clear();
        for (const [name, value] of durable) model.set(name, value);
        index = bench.state.checkpointMeta().index + 1;
      }
    }
    assert.ok(index > 0 && durable.size > 0);
  });

  test('a full disk keeps the frozen overlay, and the next checkpoint writes it first', () => {
    const bench = new Bench();
    bench.put('a', '1');
    bench.disk.nextFailure = 'ENOSPC';
    const errors: (string | undefined)[] = [];
    bench.state.checkpoint(metaAt(4), error => errors.push(error?.message));
    bench.put('b', '2');
    bench.runDue();
    assert.deepEqual(errors, ['fake ENOSPC']);
    assert.equal(bench.get('a'), '1');
    assert.equal(bench.state.isCheckpointing(), false);
    assert.ok(bench.state.totalSizeBytes() > bench.state.sizeBytes());
    bench.state.checkpoint(metaAt(9), unexpected);
    bench.runDue();
    assert.equal(bench.state.checkpointMeta().index, 4);
    assert.equal(bench.disk.durable.rows.get('b'), undefined);
    bench.state.checkpoint(metaAt(9), unexpected);
    bench.runDue();
    assert.equal(bench.state.checkpointMeta().index, 9);
    assert.equal(bench.get('b'), '2');
    assert.equal(bench.state.totalSizeBytes(), bench.state.sizeBytes());
  });

  test('history goes with the checkpoints behind which it may, and is told of once it has', () => {
    const bench = new Bench();
    const {state} = bench;
    for (const revision of [2, 3, 4, 5]) putEvent(state, revision);
    state.checkpoint(metaAt(1), unexpected);
    // Its rows are on their way, in a checkpoint that was frozen before.
    state.prune(wholeRange(4));
    bench.runDue();
    assert.deepEqual(historyIn(state), [2, 3, 4, 5]);
    assert.equal(state.prunedTo(), null);
    assert.equal(state.hasToPrune(), true);
    state.checkpoint(metaAt(2), unexpected);
    bench.runDue();
    assert.equal(state.prunedTo(), null, 'not durable yet');
    bench.runDue();
    assert.deepEqual(historyIn(state), [4, 5]);
    assert.deepEqual(state.prunedTo(), historyKey(4));
    assert.equal(state.hasToPrune(), false);
  });

  test('the end of one part of the history does not make it forget the next', () => {
    const bench = new Bench();
    const {state} = bench;
    for (const revision of [2, 3, 4, 5]) putEvent(state, revision);
    state.prune(wholeRange(4));
    state.checkpoint(metaAt(1), unexpected);
    state.prune({...wholeRange(5), end: historyKey(6)});
    for (let i = 0; i < 2; i++) bench.runDue();
    assert.deepEqual(state.prunedTo(), historyKey(4));
    assert.equal(state.hasToPrune(), true);
    state.checkpoint(metaAt(2), unexpected);
    for (let i = 0; i < 2; i++) bench.runDue();
    assert.deepEqual(historyIn(state), [5]);
    assert.deepEqual(state.prunedTo(), historyKey(5), 'what is behind is looked at again');
    assert.equal(state.hasToPrune(), false);
  });

  test('what one checkpoint has not removed the next ones do', t => {
    t.after(setLimits({pruneRowCountMax: 2}));
    const bench = new Bench();
    const {state} = bench;
    for (const revision of [2, 3, 4, 5, 6]) putEvent(state, revision);
    state.checkpoint(metaAt(1), unexpected);
    bench.runDue();
    state.prune(wholeRange(6));
    let checkpointCount = 0;
    for (; state.hasToPrune(); checkpointCount++) {
      state.checkpoint(metaAt(1), unexpected);
      for (let i = 0; i < 2; i++) bench.runDue();
    }
    assert.equal(checkpointCount, 3);
    assert.deepEqual(historyIn(state), [6]);
  });

  test('without space nothing is pruned, and later it is', () => {
    const bench = new Bench();
    const {state} = bench;
    for (const revision of [2, 3, 4]) putEvent(state, revision);
    state.prune(wholeRange(4));
    bench.disk.nextFailure = 'ENOSPC';
    state.checkpoint(metaAt(1), error => assert.equal(error?.message, 'fake ENOSPC'));
    bench.runDue();
    assert.equal(state.prunedTo(), null);
    assert.equal(state.hasToPrune(), true);
    state.checkpoint(metaAt(1), unexpected);
    for (let i = 0; i < 2; i++) bench.runDue();
    assert.deepEqual(historyIn(state), [4]);
  });

  test('a checkpoint that could prune nothing is one, and the next tries again', () => {
    const bench = new Bench();
    const {state, disk} = bench;
    for (const revision of [2, 3, 4]) putEvent(state, revision);
    state.prune(wholeRange(4));
    disk.cannotPrune = true;
    state.checkpoint(metaAt(1), unexpected);
    for (let i = 0; i < 2; i++) bench.runDue();
    assert.equal(state.checkpointMeta().index, 1);
    assert.deepEqual(historyIn(state), [2, 3, 4]);
    assert.equal(state.prunedTo(), null);
    disk.cannotPrune = false;
    state.checkpoint(metaAt(1), unexpected);
    for (let i = 0; i < 2; i++) bench.runDue();
    assert.deepEqual(historyIn(state), [4]);
  });

  test('what stays near the end of the history is looked at once', () => {
    const bench = new Bench();
    const {state, checkpoint} = bench;
    const ranges: string[] = [];
    const write = checkpoint.write.bind(checkpoint);
    checkpoint.write = (frozen, meta, callback, prune) => {
      const revisionOf = (rowKey: Uint8Array): string => String(historyPointer(rowKey).revision);
      if (prune !== null && prune !== undefined) {
        const {start, wholeEnd, tailStart, end} = prune;
        ranges.push([start, wholeEnd, tailStart, end].map(revisionOf).join(' '));
      }
      write(frozen, meta, callback, prune);
    };
    const prunes = (wholeEnd: number, end: number): void => {
      const start = state.prunedTo() ?? historyKey(0);
      state.prune({...wholeRange(wholeEnd), start, end: historyKey(end)});
      state.checkpoint(metaAt(1), unexpected);
      for (let i = 0; i < 2; i++) bench.runDue();
    };
    prunes(4, 8);
    prunes(6, 10);
    prunes(12, 16);
    assert.deepEqual(ranges, ['0 4 4 8', '4 6 8 10', '6 12 12 16']);
  });

  test('after an installed snapshot reads come from it alone', async () => {
    const source = new FakeCheckpointStore(new FakeCheckpointDisk(), next =>
      process.nextTick(next),
    );
    const sourceState = new StateStore(source);
    sourceState.put(bytes('from'), bytes('snapshot'));
    await new Promise<void>(resolve => {
      sourceState.checkpoint(metaAt(50), () => resolve());
    });
    const snapshot = await exported(source);
    const blocks = await allBlocks(snapshot);

    const target = new FakeCheckpointStore(new FakeCheckpointDisk(), next =>
      process.nextTick(next),
    );
    const state = new StateStore(target);
    state.put(bytes('old'), bytes('row'));
    const incoming = target.beginImport(snapshot.meta);
    await importAll(incoming, blocks);
    await settled(done => incoming.install(done));
    state.prune(wholeRange(9));
    state.resetToCheckpoint();
    assert.equal(state.hasToPrune(), false, 'it was about other rows');
    assert.deepEqual(rowsIn(state, 'a', 'z'), ['from=snapshot']);
    assert.equal(state.checkpointMeta().index, 50);
    assert.equal(state.recordCount(), 0);
  });
});
