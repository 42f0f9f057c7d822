/** What every LogStore does, whatever keeps its bytes. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Entry} from '../../src/raft/entry.ts';
import {makeEntry} from '../../src/raft/entry.ts';
import type {HardState} from '../../src/raft/hard-state.ts';
import {logIndex, nodeId, term} from '../../src/raft/ids.ts';
import {emptyMembership} from '../../src/raft/membership.ts';
import type {LogStore} from '../../src/storage/log-store.ts';

export interface LogStoreUnderTest {
  readonly store: LogStore;
  readonly dispose: () => Promise<void>;
}

export function someEntries(
  first: number,
  count: number,
  options: {readonly term?: number; readonly sizeBytes?: number} = {},
): Entry[] {
  return Array.from({length: count}, (_, i) => {
    const index = first + i;
    const data = new Uint8Array(options.sizeBytes ?? 40).fill(index % 251);
    const fields = {term: term(options.term ?? 1), index: logIndex(index), proposedAtMs: index};
    return makeEntry({...fields, type: 'command', data});
  });
}

export function someHardState(termValue: number, commit = 0): HardState {
  return {term: term(termValue), vote: nodeId('node1'), commit: logIndex(commit)};
}

export function appended(
  store: LogStore,
  entries: readonly Entry[],
  hardState: HardState = someHardState(1),
): Promise<void> {
  return new Promise((resolve, reject) => {
    store.append({hardState, entries}, error => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

export function allEntries(store: LogStore, sizeBytesMax = 1 << 30): Entry[] {
  const entries: Entry[] = [];
  const to = store.lastIndex();
  for (let from: number = store.firstIndex(); from <= to;) {
    const some = store.entries({from: logIndex(from), to, sizeBytesMax});
    entries.push(...some);
    from += some.length;
  }
  return entries;
}

export function closed(store: LogStore): Promise<void> {
  return new Promise(resolve => store.close(resolve));
}

export function logStoreContract(name: string, open: () => LogStoreUnderTest): void {
  const withStore = (title: string, body: (store: LogStore) => Promise<void>): void => {
    test(`${name}: ${title}`, async () => {
      const {store, dispose} = open();
      try {
        await body(store);
      } finally {
        await closed(store);
        await dispose();
      }
    });
  };

  withStore('an empty log begins at 1 and ends at 0', async store => {
    assert.equal(store.firstIndex(), 1);
    assert.equal(store.lastIndex(), 0);
    assert.equal(store.term(logIndex(0)), 0);
    assert.equal(store.term(logIndex(1)), undefined);
    await Promise.resolve();
  });

  withStore('an append can be read before it is durable', async store => {
    const entries = someEntries(1, 5);
    const done = appended(store, entries);
    assert.equal(store.lastIndex(), 5);
    assert.deepEqual(allEntries(store), entries);
    assert.equal(store.pendingSizeBytes(), 200);
    await done;
    assert.equal(store.pendingSizeBytes(), 0);
    assert.equal(store.pendingForMs(), 0);
  });

  withStore('what is not needed in memory can be read all the same', async store => {
    const entries = someEntries(1, 60);
    await appended(store, entries.slice(0, 30));
    store.noteNeeds({applied: logIndex(20), sent: []});
    assert.deepEqual(allEntries(store), entries.slice(0, 30));
    const done = appended(store, entries.slice(30));
    // Not durable yet: there is nothing to read it from.
    store.noteNeeds({applied: logIndex(60), sent: []});
    assert.deepEqual(allEntries(store), entries);
    await done;
    assert.deepEqual(allEntries(store, 500), entries);
  });

  withStore('callbacks run in the order of the appends', async store => {
    const order: number[] = [];
    const last = new Promise<void>(resolve => {
      for (let i = 0; i < 20; i++) {
        const entries = i % 3 === 0 ? [] : someEntries(Number(store.lastIndex()) + 1, i);
        store.append({hardState: someHardState(1), entries}, error => {
          assert.equal(error, null);
          order.push(i);
          if (i === 19) resolve();
        });
      }
    });
    await last;
    assert.deepEqual(
      order,
      Array.from({length: 20}, (_, i) => i),
    );
  });

  withStore('a write that supersedes removes everything from its first index on', async store => {
    const old = someEntries(1, 10);
    const fresh = someEntries(4, 2, {term: 3});
    const first = appended(store, old);
    const second = appended(store, fresh, someHardState(3));
    await Promise.all([first, second]);
    assert.deepEqual(allEntries(store), [...old.slice(0, 3), ...fresh]);
    assert.equal(store.term(logIndex(3)), 1);
    assert.equal(store.term(logIndex(4)), 3);
    assert.equal(store.term(logIndex(6)), undefined);
  });

  withStore('entries are cut by size, but one always comes', async store => {
    await appended(store, someEntries(1, 10, {sizeBytes: 68}));
    const range = {from: logIndex(3), to: logIndex(9)};
    assert.equal(store.entries({...range, sizeBytesMax: 300}).length, 3);
    assert.equal(store.entries({...range, sizeBytesMax: 1}).length, 1);
    assert.equal(store.entries({...range, sizeBytesMax: 1 << 20}).length, 7);
  });

  withStore('a reset continues behind the snapshot', async store => {
    await appended(store, someEntries(1, 10));
    const meta = {index: logIndex(100), term: term(4), membership: emptyMembership};
    store.reset(meta, someHardState(5, 100));
    assert.equal(store.firstIndex(), 101);
    assert.equal(store.lastIndex(), 100);
    assert.equal(store.term(logIndex(100)), 4);
    assert.equal(store.term(logIndex(99)), undefined);
    const entries = someEntries(101, 3, {term: 5});
    await appended(store, entries, someHardState(5, 100));
    assert.deepEqual(allEntries(store), entries);
  });

  withStore('a reset completes the writes that were on their way', async store => {
    const writes = [appended(store, someEntries(1, 5)), appended(store, someEntries(6, 5))];
    const meta = {index: logIndex(50), term: term(2), membership: emptyMembership};
    store.reset(meta, someHardState(2, 50));
    await Promise.all(writes);
    assert.equal(store.lastIndex(), 50);
    const entries = someEntries(51, 1, {term: 2});
    await appended(store, entries, someHardState(2, 50));
    assert.deepEqual(allEntries(store), entries);
  });

  withStore('a release keeps what is above it', async store => {
    const entries = someEntries(1, 50);
    await appended(store, entries);
    store.release({upTo: logIndex(20), neededAfter: null});
    assert.ok(store.firstIndex() <= 21);
    const to = store.lastIndex();
    const rest = store.entries({from: logIndex(21), to, sizeBytesMax: 1 << 20});
    assert.deepEqual(rest, entries.slice(20));
  });

  withStore('size counts the entries', async store => {
    await appended(store, someEntries(1, 7));
    assert.equal(store.size().entryCount, 7);
    assert.ok(store.size().sizeBytes > 0);
    assert.equal(store.isFull(), false);
  });
}
