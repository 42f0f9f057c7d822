/** What a write meets below the protocol: the log on the disk, the overlay, the checkpoint. */
import fs from 'node:fs';
import path from 'node:path';
import type {Entry} from '../../src/raft/entry.ts';
import {makeEntry} from '../../src/raft/entry.ts';
import type {HardState} from '../../src/raft/hard-state.ts';
import {logIndex, nodeId, term} from '../../src/raft/ids.ts';
import {emptyMembership} from '../../src/raft/membership.ts';
import {openLmdbCheckpointStore} from '../../src/storage/lmdb-checkpoint-store.ts';
import type {LmdbCheckpointStore} from '../../src/storage/lmdb-checkpoint-store.ts';
import {nodeDisk} from '../../src/storage/node-disk.ts';
import {Overlay} from '../../src/storage/overlay.ts';
import type {WalLogStore} from '../../src/storage/wal-log-store.ts';
import {openLog} from '../../src/storage/wal-log-store.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import type {Stopwatch} from './stopwatch.ts';

const recordCount = 24_000;
const batchSize = 26;
const value = new Uint8Array(160).fill(7);
const table = 1;
const hardState: HardState = {term: term(1), vote: nodeId('node1'), commit: logIndex(0)};

export async function measureStorage(stopwatch: Stopwatch, directory: string): Promise<void> {
  await measureLog(stopwatch, path.join(directory, 'wal'));
  measureOverlay(stopwatch);
  await measureCheckpoint(stopwatch, path.join(directory, 'checkpoint'));
}

async function measureLog(stopwatch: Stopwatch, directory: string): Promise<void> {
  const identity = {clusterId: null, nodeId: 'node1', incarnation: '0123456789abcdef'};
  const opened = openLog({disk: nodeDisk, directory, clock: realClock, identity, checkpoint: null});
  const {store} = opened;
  let next = 1;
  const batch = (count: number): Entry[] =>
    Array.from({length: count}, () => {
      const index = logIndex(next++);
      const fields = {term: term(1), index, type: 'command', proposedAtMs: next} as const;
      return makeEntry({...fields, data: value});
    });
  await stopwatch.measureAsync('WAL: one entry, durable', 1, () => append(store, batch(1)));
  await stopwatch.measureAsync('WAL: one entry of a batch of 26, durable', batchSize, () =>
    append(store, batch(batchSize)),
  );
  await new Promise<void>(resolve => store.close(resolve));
}

function append(store: WalLogStore, entries: readonly Entry[]): Promise<void> {
  return new Promise((resolve, reject) => {
    store.append({hardState, entries}, error => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

function measureOverlay(stopwatch: Stopwatch): void {
  const keys = randomKeys();
  let overlay = fill(keys);
  stopwatch.measure('overlay: put, 24,000 random keys', recordCount, () => {
    overlay = fill(keys);
  });
  stopwatch.measure('overlay: get', recordCount, () => {
    for (const key of keys) overlay.get(key);
  });
  const range = {start: Uint8Array.of(table), end: Uint8Array.of(table + 1), isReverse: false};
  overlay.cursor(range).next();
  stopwatch.measure('overlay: one record of a range, in order', recordCount, () => {
    const cursor = overlay.cursor(range);
    while (cursor.next()) cursor.valueView();
  });
}

async function measureCheckpoint(stopwatch: Stopwatch, directory: string): Promise<void> {
  fs.mkdirSync(directory, {recursive: true});
  const store = openLmdbCheckpointStore({directory});
  let index = 0;
  await stopwatch.measureAsync('checkpoint: one record of 24,000, durable', recordCount, () =>
    write(store, fill(randomKeys()), ++index),
  );
  const keys = randomKeys();
  await write(store, fill(keys), ++index);
  stopwatch.measure('checkpoint: get', recordCount, () => {
    for (const key of keys) store.get(key);
  });
  await new Promise<void>(resolve => store.close(resolve));
}

function write(store: LmdbCheckpointStore, overlay: Overlay, index: number): Promise<void> {
  const meta = {index: logIndex(index), term: term(1), membership: emptyMembership};
  return new Promise((resolve, reject) => {
    store.write(overlay.freeze(), meta, error => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

function fill(keys: readonly Uint8Array[]): Overlay {
  const overlay = new Overlay();
  for (const key of keys) overlay.put(key, value);
  return overlay;
}

/** Out of a million, so that checkpoints meet old and new records. */
function randomKeys(): Uint8Array[] {
  return Array.from({length: recordCount}, () => {
    const number = Math.floor(Math.random() * 1e6);
    return Buffer.concat([Buffer.of(table), Buffer.from(`key-${String(number).padStart(9, '0')}`)]);
  });
}
