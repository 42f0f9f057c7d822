/**
 * Clients of a simulated cluster that watch. Each follows some keys from member to member, through
 * crashes, moves and compactions, resumes behind the last whole revision it was told, and compares
 * everything it is told with the plain model of the store: in order, once, whole, none left out.
 */
import type {Clock} from '../../src/base/clock.ts';
import {must} from '../../src/base/assert.ts';
import {RosettaError} from '../../src/base/errors.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {KeyRange} from '../../src/kv/command.ts';
import type {KeyRecord} from '../../src/kv/result.ts';
import type {KvStateMachine} from '../../src/kv/state-machine.ts';
import type {WatchEvent} from '../../src/node/watch-event.ts';
import {WatchHub} from '../../src/node/watch-hub.ts';
import {isWithin, textRange} from '../../src/node/watch-index.ts';
import type {TextRange} from '../../src/node/watch-index.ts';
import type {Watch, WatchSink} from '../../src/node/watch-service.ts';
import {bytes, range, text} from '../contract/commands.ts';
import type {ModelEvent, ModelRecord} from './checks/store-model.ts';
import {demand} from './checks/violation.ts';
import type {Coverage} from './coverage.ts';
import type {EventQueue} from './event-queue.ts';
import type {Machine} from './machine.ts';
import {exponential} from './sim-network.ts';

export interface WatchersParts {
  readonly queue: EventQueue;
  readonly prng: Prng;
  readonly coverage: Coverage;
  readonly machines: readonly Machine[];
  /** What the model says happened at a revision; undefined: it has not happened. */
  readonly eventsAt: (revision: number) => readonly ModelEvent[] | undefined;
  /** What a key was at a revision that has happened; null: it did not exist. */
  readonly recordAt: (key: string, revision: number) => ModelRecord | null;
}

const moveMeanMs = 3_000;
const retryMeanMs = 200;
const fullMeanMs = 500;

export class Watchers {
  readonly #followers: Follower[];
  /** By owner: of the life that runs. */
  readonly #hubs = new Map<number, WatchHub>();

  constructor(parts: WatchersParts) {
    const {prng} = parts;
    const count = must([0, 1, 3][prng.integer({min: 0, max: 2})], 'a count');
    const ranges = [range('', null), range('k', 'l'), range('k1', 'k1\0')];
    this.#followers = ranges
      .slice(0, count)
      .map(keys => new Follower(parts, keys, owner => this.#hubs.get(owner) ?? null));
  }

  start(): void {
    for (const follower of this.#followers) follower.start();
  }

  onLife(machine: Machine, store: KvStateMachine, clock: Clock): void {
    const hub = new WatchHub({source: store, clock, refusal: () => refusalOf(machine)});
    store.observe(() => hub.wake());
    this.#hubs.set(machine.owner, hub);
  }

  /** From now on everybody reads at once and stays where it is. */
  calm(): void {
    for (const follower of this.#followers) follower.calm();
  }

  /** Connections end with the process. */
  onLifeEnded(machine: Machine): void {
    this.#hubs.delete(machine.owner);
    for (const follower of this.#followers) follower.onLost(machine);
  }

  /** Everything up to here has been told to everybody. */
  haveSeen(revision: number): boolean {
    return this.#followers.every(follower => follower.hasSeen(revision));
  }
}

class Follower {
  readonly #parts: WatchersParts;
  readonly #keys: KeyRange;
  readonly #range: TextRange;
  readonly #hubOf: (owner: number) => WatchHub | null;
  /** The first revision that it has not been told completely. */
  #next = 2;
  #part: WatchEvent[] = [];
  #home: Machine;
  /** Where it was told something last. */
  #toldBy: Machine | null = null;
  #watch: Watch | null = null;
  /** A number for each connection: what comes from an earlier one is not listened to. */
  #connection = 0;
  #isFull = false;
  #isCalm = false;

  constructor(parts: WatchersParts, keys: KeyRange, hubOf: (owner: number) => WatchHub | null) {
    this.#parts = parts;
    this.#keys = keys;
    this.#range = textRange(keys);
    this.#hubOf = hubOf;
    this.#home = this.#drawHome();
  }

  start(): void {
    this.#later(retryMeanMs, () => this.#connect());
    this.#moveLater();
  }

  calm(): void {
    this.#isCalm = true;
  }

  onLost(machine: Machine): void {
    if (this.#watch !== null && this.#home === machine) this.#reconnect();
  }

  hasSeen(revision: number): boolean {
    for (let at = this.#next; at <= revision; at++) if (this.#expected(at).length > 0) return false;
    return true;
  }

  #connect(): void {
    const connection = ++this.#connection;
    const machine = this.#home;
    // A paused process takes the request from its socket when it wakes up.
    machine.time.wake('message', () => {
      if (connection === this.#connection) this.#open(machine, connection);
    });
    this.#later(4 * retryMeanMs, () => {
      if (connection === this.#connection && this.#watch === null) this.#reconnect();
    });
  }

  #open(machine: Machine, connection: number): void {
    const hub = this.#hubOf(machine.owner);
    if (!machine.isRunning || hub === null || refusalOf(machine) !== null) return;
    const {coverage} = this.#parts;
    this.#part = [];
    this.#isFull = false;
    try {
      const request = {range: this.#keys, from: this.#next, wantsPrevious: true};
      this.#watch = hub.open(request, this.#sink(machine, connection));
    } catch (error) {
      if (!(error instanceof RosettaError) || error.code !== 'REVISION_COMPACTED') throw error;
      this.#skipCompacted(machine);
    }
    if (this.#toldBy !== null && this.#toldBy !== machine && this.#watch !== null) {
      coverage.count('watch resumed at another member');
    }
  }

  /** It was told that what it wants is gone: it begins anew with what there is. */
  #skipCompacted(machine: Machine): void {
    this.#parts.coverage.count('watch of a compacted revision');
    const compacted = machine.member.machine.compactedRevision();
    demand(compacted >= this.#next, 'only what is compacted is refused', () => {
      return `${machine.id} refuses ${this.#next}, compacted is ${compacted}`;
    });
    this.#next = compacted + 1;
  }

  #sink(machine: Machine, connection: number): WatchSink {
    const isCurrent = (): boolean => connection === this.#connection;
    return {
      onRun: run => {
        const last = run.events.length - 1;
        for (const [i, event] of run.events.entries()) {
          if (isCurrent()) this.#onEvent(machine, event, run.isLast && i === last);
        }
      },
      flush: () => undefined,
      onProgress: revision => {
        if (!isCurrent()) return;
        demand(this.#part.length === 0, 'revisions are told as a whole', machine.id);
        this.#skipTo(machine, revision);
        this.#next = Math.max(this.#next, revision + 1);
      },
      onEnd: (error, resumeFrom) => {
        if (!isCurrent()) return;
        demand(resumeFrom >= this.#next, 'a watch ends where it is', machine.id);
        this.#watch = null;
        if (error.code === 'REVISION_COMPACTED') this.#skipCompacted(machine);
        this.#parts.coverage.count(`watch ended by ${error.code}`);
        this.#reconnect();
      },
      isFull: () => isCurrent() && this.#isFull,
    };
  }

  #onEvent(machine: Machine, event: WatchEvent, isLast: boolean): void {
    const {coverage, prng} = this.#parts;
    const {revision} = event;
    const [first] = this.#part;
    demand(
      first === undefined || first.revision === revision,
      'revisions are told as a whole',
      () => {
        return `${machine.id} tells ${revision} in the middle of ${first?.revision ?? 0}`;
      },
    );
    demand(revision >= this.#next, 'what was told is not told again', () => {
      return `${machine.id} tells ${revision}, everything up to ${this.#next - 1} was told`;
    });
    this.#part.push(event);
    if (!isLast) return;
    this.#skipTo(machine, revision - 1);
    const told = this.#part.map(({keyText, record, previous}) => ({
      key: keyText,
      value: record === null ? null : text(record.value),
      before: plain(previous),
    }));
    const expected = this.#expected(revision).map(event => ({
      ...event,
      before: plain(event.before),
    }));
    demand(JSON.stringify(told) === JSON.stringify(expected), 'watches tell what happened', () => {
      const [seen, real] = [JSON.stringify(told), JSON.stringify(expected)];
      return `${machine.id} tells of ${revision}: ${seen}, the model says ${real}`;
    });
    this.#part = [];
    this.#next = revision + 1;
    this.#toldBy = machine;
    coverage.count('watch told a revision');
    this.#readBack(machine, event.keyText);
    if (!this.#isCalm && prng.integer({min: 1, max: 20}) === 1) this.#fill();
  }

  /** The key that has changed, as it was at a revision that the member still promises. */
  #readBack(machine: Machine, key: string): void {
    const {coverage, prng, recordAt} = this.#parts;
    const store = machine.member.machine;
    const oldest = Math.max(1, store.compactedRevision());
    const revision = prng.integer({min: oldest, max: Math.max(oldest, this.#next - 1)});
    if (revision > store.revision()) return;
    const found = JSON.stringify(plain(store.get(bytes(key), revision)));
    const expected = JSON.stringify(plain(recordAt(key, revision)));
    demand(found === expected, 'the history is what it was', () => {
      return `${machine.id} has ${found} for ${key} at ${revision}, the model ${expected}`;
    });
    coverage.count('old revision read');
  }

  /** Nothing of its keys may lie in between. */
  #skipTo(machine: Machine, revision: number): void {
    for (let at = this.#next; at <= revision; at++) {
      demand(this.#expected(at).length === 0, 'watches leave nothing out', () => {
        return `${machine.id} has left out revision ${at}`;
      });
    }
  }

  #expected(revision: number): readonly ModelEvent[] {
    const events = this.#parts.eventsAt(revision) ?? [];
    return events.filter(({key}) => isWithin(key, this.#range));
  }

  #fill(): void {
    const connection = this.#connection;
    this.#isFull = true;
    this.#parts.coverage.count('watch was full');
    this.#later(fullMeanMs, () => {
      if (connection !== this.#connection) return;
      this.#isFull = false;
      this.#home.time.wake('message', () => this.#watch?.resume());
    });
  }

  #moveLater(): void {
    this.#later(moveMeanMs, () => {
      if (this.#isCalm) return;
      this.#reconnect();
      this.#moveLater();
    });
  }

  /** At any member. */
  #reconnect(): void {
    this.#watch?.close();
    this.#watch = null;
    this.#connection++;
    this.#home = this.#drawHome();
    this.#later(retryMeanMs, () => {
      if (this.#watch === null) this.#connect();
    });
  }

  #drawHome(): Machine {
    const {machines, prng} = this.#parts;
    return must(machines[prng.integer({min: 0, max: machines.length - 1})], 'a machine');
  }

  #later(meanMs: number, callback: () => void): void {
    const {queue, prng} = this.#parts;
    queue.add(exponential(prng, meanMs), -1, 'client', callback);
  }
}

/** What reads and the model both say of a record. */
function plain(record: KeyRecord | ModelRecord | null): object | null {
  if (record === null) return null;
  const {value, createRevision, modRevision, version, leaseId} = record;
  const valueText = typeof value === 'string' ? value : text(value);
  return {value: valueText, createRevision, modRevision, version, leaseId};
}

function refusalOf(machine: Machine): RosettaError | null {
  if (!machine.isRunning) return new RosettaError('STOPPING', 'the process has ended');
  const reason = machine.member.node.notReady();
  return reason?.code === 'NO_LEADER' ? null : reason;
}
