/** What the loop must not do too early, or too often, while the disk or a checkpoint is slow. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {FakeLogStore} from '../../test/contract/fake-log-store.ts';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {must} from '../base/assert.ts';
import type {Clock} from '../base/clock.ts';
import {Prng} from '../base/prng.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import type {StateReader} from '../kv/state-reader.ts';
import type {Entry} from '../raft/entry.ts';
import {makeEntry} from '../raft/entry.ts';
import type {LogIndex, NodeId} from '../raft/ids.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import type {AppendMessage, Message} from '../raft/message.ts';
import {Raft} from '../raft/raft.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import {testMembership} from '../raft/testing/memory-cluster.ts';
import type {Transport} from '../transport/transport.ts';
import {Applier} from './applier.ts';
import {ReadTable} from './read-table.ts';
import {ReadyLoop} from './ready-loop.ts';

const membership = testMembership({voters: ['1', '2', '3']});
const noSnapshot: SnapshotMeta = {index: logIndex(0), term: term(0), membership};

class NotingLog extends FakeLogStore {
  readonly noted: LogIndex[] = [];

  override noteCommit(commit: LogIndex): void {
    this.noted.push(commit);
    super.noteCommit(commit);
  }
}

/** Node 1 with a disk that answers, and turns that run, only when the test says so. */
class Bench {
  readonly log = new NotingLog(operation => this.disk.push(operation));
  readonly disk: (() => void)[] = [];
  readonly turns: (() => void)[] = [];
  readonly installed: SnapshotMeta[] = [];
  readonly sent: Message[] = [];
  /** Switches of the checkpoint that have begun; the test ends them. */
  readonly installing: {
    readonly meta: SnapshotMeta;
    readonly callback: (error: Error | null) => void;
  }[] = [];
  hasRoom = true;
  readonly raft = new Raft({
    id: nodeId('1'),
    electionTimeoutTicks: 10,
    heartbeatIntervalTicks: 1,
    appendSizeBytesMax: 65_536,
    inflightSizeBytesMax: 65_536,
    inflightCountMax: 8,
    uncommittedSizeBytesMax: 65_536,
    committedSizeBytesMax: 65_536,
    prng: new Prng(1),
    log: this.log,
    hardState: this.log.hardState,
    memberships: [{index: logIndex(0), membership}],
    appliedIndex: logIndex(0),
  });
  readonly loop = this.#makeLoop();

  /** A leader sends `count` entries after `previous`. */
  append(leader: string, inTerm: number, previous: readonly [number, number], count: number): void {
    const [previousTerm, previousIndex] = previous;
    const entries = Array.from({length: count}, (_, i) => noop(inTerm, previousIndex + 1 + i));
    const message: AppendMessage = {
      type: 'append',
      from: nodeId(leader),
      to: nodeId('1'),
      term: term(inTerm),
      previous: {term: term(previousTerm), index: logIndex(previousIndex)},
      entries,
      commit: logIndex(previousIndex + count),
    };
    this.raft.step(message);
    this.turn();
  }

  turn(): void {
    this.loop.schedule();
    for (const turn of this.turns.splice(0)) turn();
  }

  /** The disk ends its oldest write. */
  sync(): void {
    must(this.disk.shift(), 'a write is on its way')();
  }

  #makeLoop(): ReadyLoop {
    const clock: Clock = {
      wallMs: () => 0,
      monotonicMs: () => 0,
      setTimer: () => ({cancel: () => undefined}),
      afterPoll: callback => this.turns.push(callback),
    };
    const applier = new Applier(
      {
        // Only entries without a command are applied here.
        machine: new KvStateMachine(new FakeRows()),
        clock,
        hasRoom: () => this.hasRoom,
        onApplied: () => undefined,
      },
      noSnapshot,
    );
    return new ReadyLoop({
      raft: this.raft,
      log: this.log,
      transport: {
        send: (_: NodeId, message: Message) => this.sent.push(message) > 0,
        flush: () => undefined,
      } as unknown as Transport,
      clock,
      applier,
      reads: new ReadTable({
        raft: this.raft,
        reader: {} as StateReader,
        retryAfterMs: 100,
        firstContext: 1,
      }),
      onSoftState: () => undefined,
      onCommitted: () => undefined,
      onSnapshotNeeded: () => undefined,
      installSnapshot: (meta, callback) => {
        this.installing.push({meta, callback});
      },
      onInstalled: (meta, hardState) => {
        this.installed.push(meta);
        this.log.reset(meta, hardState);
        applier.reset(meta);
      },
      fail: error => {
        throw error;
      },
    });
  }
}

function noop(inTerm: number, index: number): Entry {
  return makeEntry({term: term(inTerm), index: logIndex(index), type: 'noop', proposedAtMs: 0});
}

test('of answers that wait for a disk that stands still the newest answer of a kind leaves', () => {
  const bench = new Bench();
  bench.append('2', 1, [0, 0], 1);
  for (let readRound = 1; readRound <= 50; readRound++) {
    const envelope = {from: nodeId('2'), to: nodeId('1'), term: term(1)};
    bench.raft.step({...envelope, type: 'heartbeat', commit: logIndex(0), readRound});
    bench.turn();
    bench.append('2', 1, [0, 0], 1);
  }
  assert.equal(bench.sent.length, 0);
  while (bench.disk.length > 0) bench.sync();
  const said = bench.sent.map(({type}) => type).sort();
  assert.deepEqual(said, ['append-accepted', 'heartbeat-response']);
  for (const message of bench.sent) {
    if (message.type === 'heartbeat-response') assert.equal(message.readRound, 50);
    if (message.type === 'append-accepted') assert.equal(message.matchIndex, 1);
  }
});

test('an entry may leave memory when it is applied', () => {
  const bench = new Bench();
  bench.append('2', 1, [0, 0], 3);
  bench.sync();
  bench.hasRoom = false;
  bench.turn();
  assert.equal(bench.log.needs.applied, 0, 'committed, and it waits for room');
  bench.hasRoom = true;
  bench.turn();
  assert.equal(bench.log.needs.applied, 3);
});

test('the disk hears of no commit of entries that replace others and are not durable', () => {
  const bench = new Bench();
  bench.append('2', 1, [0, 0], 3);
  bench.sync();
  bench.turn();
  assert.equal(bench.log.noted.at(-1), 3);
  // Not committed, and on its way to the disk when another leader replaces it.
  bench.raft.step({
    type: 'append',
    from: nodeId('2'),
    to: nodeId('1'),
    term: term(1),
    previous: {term: term(1), index: logIndex(3)},
    entries: [noop(1, 4), noop(1, 5)],
    commit: logIndex(3),
  });
  bench.turn();
  bench.append('3', 2, [1, 3], 2);
  assert.equal(bench.raft.commitIndex, 5);
  assert.equal(bench.log.noted.at(-1), 3, 'a crash now would commit the entries of term 1');
  bench.sync();
  bench.turn();
  assert.equal(bench.log.noted.at(-1), 3);
  bench.sync();
  bench.turn();
  assert.equal(bench.log.noted.at(-1), 5);
});

test('the disk hears of no commit by a snapshot that is not installed', () => {
  const bench = new Bench();
  bench.append('2', 1, [0, 0], 3);
  const meta = {index: logIndex(100), term: term(2), membership};
  const [from, to] = [nodeId('3'), nodeId('1')];
  bench.raft.step({type: 'snapshot', from, to, term: term(2), meta});
  bench.turn();
  assert.equal(bench.installing.length, 0, 'a write is on its way');
  bench.sync();
  bench.turn();
  bench.turn();
  // The checkpoint is being switched: as long as that is not durable the log stays what it is.
  assert.deepEqual(
    bench.installing.map(installing => installing.meta),
    [meta],
  );
  assert.deepEqual(bench.installed, []);
  assert.ok(bench.log.noted.every(commit => commit < 100));
  bench.installing[0]?.callback(null);
  assert.deepEqual(bench.installed, [meta]);
  bench.turn();
  // The log is reset when the write behind the reset is durable, not before.
  assert.notEqual(bench.raft.stableIndex, 100);
  assert.ok(bench.log.noted.every(commit => commit < 100));
  bench.sync();
  bench.turn();
  assert.equal(bench.raft.stableIndex, 100);
  assert.equal(bench.log.noted.at(-1), 100);
});

test('the log behind a snapshot begins with no commit of what its Ready lacks', () => {
  const bench = new Bench();
  const meta = {index: logIndex(100), term: term(2), membership};
  const [from, to] = [nodeId('2'), nodeId('1')];
  bench.raft.step({type: 'snapshot', from, to, term: term(2), meta});
  bench.raft.step({
    type: 'append',
    from,
    to,
    term: term(2),
    previous: {term: term(2), index: logIndex(100)},
    entries: [noop(2, 101), noop(2, 102), noop(2, 103)],
    commit: logIndex(100),
  });
  bench.turn();
  assert.equal(bench.installing.length, 1);
  // While the checkpoint is switched another leader replaces them, and commits its own.
  bench.append('3', 3, [2, 100], 2);
  assert.equal(bench.raft.commitIndex, 102);
  bench.installing[0]?.callback(null);
  assert.deepEqual(bench.log.hardState, {term: 2, vote: null, commit: 100});
  assert.equal(bench.log.term(logIndex(102)), 2, 'a crash now must not commit it');
  bench.sync();
  assert.equal(bench.log.hardState.commit, 100);
  bench.turn();
  bench.sync();
  bench.turn();
  assert.deepEqual([bench.log.term(logIndex(102)), bench.log.noted.at(-1)], [3, 102]);
});

test('a snapshot that is in force after the stop leaves the log alone', () => {
  const bench = new Bench();
  bench.append('2', 1, [0, 0], 3);
  bench.sync();
  const meta = {index: logIndex(100), term: term(2), membership};
  const [from, to] = [nodeId('3'), nodeId('1')];
  bench.raft.step({type: 'snapshot', from, to, term: term(2), meta});
  bench.turn();
  assert.equal(bench.installing.length, 1);
  bench.loop.stop();
  bench.installing[0]?.callback(null);
  assert.deepEqual(bench.installed, []);
});

test('while nothing may be applied the loop does not spin', () => {
  const bench = new Bench();
  bench.hasRoom = false;
  bench.append('2', 1, [0, 0], 3);
  bench.sync();
  bench.turn();
  assert.deepEqual(bench.turns, []);
  bench.hasRoom = true;
  bench.turn();
  assert.equal(bench.raft.appliedIndex, 3);
});
