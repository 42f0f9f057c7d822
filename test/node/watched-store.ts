/** A watch hub over the real state machine in virtual time, and watchers that remember. */
import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import {keySuccessor} from '../../src/base/bytes.ts';
import type {RosettaError} from '../../src/base/errors.ts';
import type {CommandBody, KeyRange} from '../../src/kv/command.ts';
import {KvStateMachine} from '../../src/kv/state-machine.ts';
import type {WatchEvent} from '../../src/node/watch-event.ts';
import {WatchHub} from '../../src/node/watch-hub.ts';
import type {WatchRun} from '../../src/node/watch-run.ts';
import type {Watch, WatchSink} from '../../src/node/watch-service.ts';
import {bytes, encode, put, range, transaction} from '../contract/commands.ts';
import {FakeRows} from '../contract/fake-rows.ts';
import {LifeClock, VirtualTime} from './virtual-time.ts';

export interface Told {
  readonly revision: number;
  readonly key: string;
  readonly value: string | null;
  readonly previous: string | null;
}

/** Remembers what it was told, and checks what can be checked at once. */
export class RecordingSink implements WatchSink {
  readonly told: Told[] = [];
  readonly runs: WatchRun[] = [];
  fillsAfterRun = false;
  fillsAfterFlush = false;
  /** How many runs left together, each time. */
  readonly flushes: number[] = [];
  /** All up to here are known to have been told. */
  progress = 0;
  ended: {readonly code: string; readonly resumeFrom: number} | null = null;
  isFullNow = false;
  #partOf = 0;
  #unflushedCount = 0;

  onRun(run: WatchRun): void {
    assert.equal(this.ended, null);
    this.runs.push(run);
    this.#unflushedCount++;
    const last = run.events.length - 1;
    for (const [i, event] of run.events.entries()) this.#onEvent(event, run.isLast && i === last);
    if (this.fillsAfterRun) this.isFullNow = true;
  }

  #onEvent({revision, keyText, record, previous}: WatchEvent, isLast: boolean): void {
    assert.ok(this.#partOf === 0 || this.#partOf === revision, 'revisions are told as a whole');
    assert.ok(revision > this.progress, `${revision} after ${this.progress}`);
    const value = record === null ? null : text(record.value);
    this.told.push({revision, key: keyText, value, previous: previous && text(previous.value)});
    this.#partOf = isLast ? 0 : revision;
    if (isLast) this.progress = revision;
  }

  flush(): void {
    assert.equal(this.ended, null);
    assert.ok(this.#unflushedCount > 0, 'there is something to flush');
    this.flushes.push(this.#unflushedCount);
    this.#unflushedCount = 0;
    if (this.fillsAfterFlush) this.isFullNow = true;
  }

  onProgress(revision: number): void {
    assert.equal(this.#partOf, 0);
    assert.ok(revision >= this.progress);
    this.progress = revision;
  }

  onEnd(error: RosettaError, resumeFrom: number): void {
    assert.equal(this.ended, null);
    assert.ok(resumeFrom > this.progress || this.progress === 0);
    this.ended = {code: error.code, resumeFrom};
  }

  isFull(): boolean {
    return this.isFullNow;
  }
}

export class Store {
  readonly time = new VirtualTime();
  readonly clock = new LifeClock(this.time);
  readonly machine = new KvStateMachine(new FakeRows());
  refusal: RosettaError | null = null;
  readonly hub = new WatchHub({
    source: this.machine,
    clock: this.clock,
    refusal: () => this.refusal,
  });
  #index = 0;

  constructor() {
    this.machine.observe(() => this.hub.wake());
  }

  apply(body: CommandBody): void {
    const entry = {index: ++this.#index, proposedAtMs: this.time.nowMs, data: encode(body)};
    assert.notEqual(this.machine.apply(entry).type, 'refused');
  }

  put(key: string, value: string): void {
    this.apply(transaction({success: [put(key, value)]}));
  }

  open(keys: KeyRange, from: number, sink: WatchSink, wantsPrevious = false): Watch {
    return this.hub.open({range: keys, from, wantsPrevious}, sink);
  }

  turns(count: number): void {
    for (let i = 0; i < count; i++) this.time.turn(() => undefined);
  }
}

export const everything = range('', null);
export const big = 'v'.repeat(5_000);

export function text(value: Uint8Array): string {
  return Buffer.from(value).toString('latin1');
}

export function one(key: string): KeyRange {
  return {start: bytes(key), end: keySuccessor(bytes(key))};
}

/** Limits under which a revision takes many runs. */
export const smallRuns = {watchRunSizeBytesMax: 300};
