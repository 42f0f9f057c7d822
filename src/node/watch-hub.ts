/**
 * Tells watchers what this node applies. The history is the only buffer: a revision is read from
 * it when it is told, so a write costs nothing more than a look at a counter, whoever watches, and
 * whoever reads slowly holds nothing but a position.
 *
 * Telling is cheap, sending is not: each turn tells what there is and then sends (watch-sender.ts),
 * so that whoever is told several revisions of one turn gets them together.
 *
 * Live watchers share one position, `#next`. Everyone else catches up from a position of its own,
 * in short steps, and joins the live ones where the two meet: between two revisions, so nothing is
 * left out and nothing told twice. A watcher whose sink is full leaves the live ones, also in the
 * middle of a revision, and catches up from there when there is room; one that stays behind for too
 * long is ended with the revision to resume from.
 */
import {assert, must} from '../base/assert.ts';
import type {Clock, Timer} from '../base/clock.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {EventSource} from '../kv/event-reader.ts';
import {RevisionReader} from './revision-reader.ts';
import {keyTextOf, WatchEvent} from './watch-event.ts';
import type {Topic} from './watch-index.ts';
import {isWithin, textRange, WatchIndex} from './watch-index.ts';
import {RunBuilder, type WatchRun} from './watch-run.ts';
import {WatchSender} from './watch-sender.ts';
import type {Watch, WatchRequest, WatchService, WatchSink} from './watch-service.ts';
import {removeAt, Watcher} from './watcher.ts';

/** Telling, then sending, goes on for so long at a stretch. */
const tellingMs = 1;
const sendingMs = 2;
/** The clock is looked at every few steps or bytes. */
const stepsPerLook = 16;
const sizeBytesPerLook = 64 * 1024;
/** However slow or still the clock is. */
const stepCountMax = 4096;
const tickMs = 100;
/** Every watcher is looked at once in so many ticks. */
const ticksPerRound = 10;
/** Progress that one tick tells at most: more would take too long at a stretch. */
const progressCountMax = 128;

/** Events read from the history in one step. */
const eventsPerStep = 16;

type Steps = Generator<undefined, void, undefined>;
/** False in the end: the revision was gone before it could be told. */
type LiveSteps = Generator<undefined, boolean, undefined>;

export interface WatchHubParts {
  readonly source: EventSource;
  readonly clock: Clock;
  /** Why the node serves nobody any more; null: it does. */
  readonly refusal: () => RosettaError | null;
}

export class WatchHub implements WatchService {
  readonly #source: EventSource;
  readonly #clock: Clock;
  readonly #refusal: () => RosettaError | null;
  readonly #index = new WatchIndex<Watcher>();
  readonly #reader: RevisionReader;
  readonly #sender: WatchSender;
  readonly #watchers: Watcher[] = [];
  readonly #catchingUp: Watcher[] = [];
  #liveCount = 0;
  /** The revision that live watchers are told next. */
  #next = 0;
  /** While `#next` is being told, what is left of it. */
  #telling: LiveSteps | null = null;
  #isScheduled = false;
  #timer: Timer | null = null;
  #catchUpTurn = 0;
  #lookTurn = 0;
  #ended: RosettaError | null = null;

  constructor(parts: WatchHubParts) {
    this.#source = parts.source;
    this.#reader = new RevisionReader(parts.source);
    this.#clock = parts.clock;
    this.#refusal = parts.refusal;
    this.#sender = new WatchSender(parts.clock, watcher => this.#onFull(watcher));
  }

  get count(): number {
    return this.#watchers.length;
  }

  open(request: WatchRequest, sink: WatchSink): Watch {
    const refusal = this.#ended ?? this.#refusal();
    if (refusal !== null) throw refusal;
    if (this.count >= limits.watchCountMax) {
      throw new RosettaError('OVERLOADED', `this node has ${this.count} watches already`);
    }
    const revision = this.#source.revision();
    const from = this.#reader.beginning(request.from);
    const watcher = new Watcher({
      range: textRange(request.range),
      wantsPrevious: request.wantsPrevious,
      next: from,
      sink,
      nowMs: this.#clock.monotonicMs(),
    });
    watcher.place = this.#watchers.push(watcher) - 1;
    this.#catchUp(watcher);
    this.#timer ??= this.#armTimer();
    return {
      revision,
      from,
      resume: () => this.#resume(watcher),
      close: () => this.#remove(watcher),
    };
  }

  /** There may be a new revision. Called for every one; nearly free when nobody is live. */
  wake(): void {
    if (this.#liveCount > 0) this.#schedule();
  }

  /** Ends every watch, and refuses those that come. */
  end(error: RosettaError): void {
    this.#ended = error;
    for (const watcher of [...this.#watchers]) this.#endOne(watcher, error);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.afterPoll(this.#onTurn);
  }

  readonly #onTurn = (): void => {
    this.#isScheduled = false;
    this.#endRefused();
    const isAllTold = this.#tellSome();
    const isAllSent = this.#sender.sendSome(sendingMs);
    if (!isAllTold || !isAllSent) this.#schedule();
  };

  /** False: there is more to tell. */
  #tellSome(): boolean {
    const endMs = this.#clock.monotonicMs() + tellingMs;
    for (let stepCount = 1; this.#step(); stepCount++) {
      if (stepCount % stepsPerLook !== 0 && this.#reader.sizeBytes < sizeBytesPerLook) continue;
      this.#reader.sizeBytes = 0;
      if (stepCount >= stepCountMax || this.#clock.monotonicMs() > endMs) return false;
    }
    return true;
  }

  /** One step for the live ones and one for somebody who catches up; false: nobody waits. */
  #step(): boolean {
    const hasTold = this.#stepLive();
    const watcher = this.#catchingUp[this.#catchUpTurn % Math.max(1, this.#catchingUp.length)];
    this.#catchUpTurn++;
    if (watcher === undefined) return hasTold;
    const steps = (watcher.steps ??= this.#catchingUpSteps(watcher));
    if (steps.next().done === true) watcher.steps = null;
    return true;
  }

  #stepLive(): boolean {
    if (this.#telling === null) {
      if (this.#liveCount === 0 || this.#next > this.#source.revision()) return false;
      this.#telling = this.#liveSteps(this.#next);
    }
    const step = this.#telling.next();
    if (step.done !== true) return true;
    this.#telling = null;
    if (step.value) this.#next++;
    else this.#passGone();
    return true;
  }

  /** `#next` is gone: ends whom it was to be told, and goes on behind all that is gone. */
  #passGone(): void {
    const first = this.#reader.firstBehind(this.#next);
    for (const watcher of [...this.#watchers]) {
      const isBefore = watcher.stage === 'live' && Math.max(watcher.next, this.#next) < first;
      if (isBefore) this.#endCompactedOne(watcher);
    }
    this.#next = first;
  }

  /** Tells the live ones one revision: reads its events, then goes from topic to topic. */
  *#liveSteps(revision: number): LiveSteps {
    const topics: Topic<Watcher>[] = [];
    const told: WatchEvent[] = [];
    let sub = 0;
    for (; ; sub++) {
      const stored = this.#source.event(revision, sub);
      if (stored === null) break;
      const keyText = keyTextOf(stored.key);
      const eventCount = told.length;
      this.#reader.sizeBytes += stored.value.length;
      this.#index.forEachTopic(keyText, topic => {
        const event = (told[eventCount] ??= new WatchEvent({revision, sub}, keyText, stored));
        if (topic.pending.length === 0) topics.push(topic);
        topic.pending.push(event);
      });
      yield;
    }
    const isGone = this.#reader.isGone(revision);
    assert(isGone || sub > 0, 'revision % has no events', revision);
    if (!isGone && told.length === sub) this.#reader.recent.keep(revision, told);
    for (const topic of topics) {
      const events = topic.pending;
      topic.pending = [];
      if (isGone) continue;
      const watchers = [...topic.watchers];
      for (const wantsPrevious of [false, true]) {
        const alike = watchers.filter(watcher => watcher.wantsPrevious === wantsPrevious);
        if (alike.length > 0) yield* this.#tellAlike(alike, events, wantsPrevious);
      }
    }
    return !isGone;
  }

  /** Run by run: each is encoded once, told to all, and let go. */
  *#tellAlike(
    watchers: readonly Watcher[],
    events: readonly WatchEvent[],
    wantsPrevious: boolean,
  ): Steps {
    const builder = new RunBuilder();
    for (const event of events) {
      if (wantsPrevious && !this.#reader.loadPrevious(event)) {
        for (const each of watchers) if (each.awaits(event.revision)) this.#endCompactedOne(each);
        return;
      }
      const run = builder.add(event, wantsPrevious);
      if (run !== null) yield* this.#tellRun(watchers, run);
    }
    const last = builder.finish();
    if (last !== null) yield* this.#tellRun(watchers, last);
  }

  *#tellRun(watchers: readonly Watcher[], run: WatchRun): Steps {
    for (const watcher of watchers) {
      if (!watcher.awaits(run.revision)) continue;
      this.#tell(watcher, run);
      yield;
    }
  }

  *#catchingUpSteps(watcher: Watcher): Steps {
    while (this.#isCatchingUp(watcher)) {
      if (this.#canJoin(watcher)) {
        this.#join(watcher);
        return;
      }
      yield* this.#tellPast(watcher, watcher.next);
      yield;
    }
  }

  /** Looked at again behind a step, in which it may have been closed. */
  #isCatchingUp(watcher: Watcher): boolean {
    return watcher.stage === 'catching-up';
  }

  /** The rest of a revision, of which it holds no more than a run, and a small one as a whole. */
  *#tellPast(watcher: Watcher, revision: number): Steps {
    const reader = this.#reader;
    const builder = new RunBuilder();
    let isMissing = reader.isGone(revision);
    for (const event of isMissing ? [] : reader.events(revision, watcher.nextSub)) {
      const isAsked = isWithin(event.keyText, watcher.range);
      isMissing = isAsked && watcher.wantsPrevious && !reader.loadPrevious(event);
      if (isMissing) break;
      const run = isAsked ? builder.add(event, watcher.wantsPrevious) : null;
      if (run !== null) this.#tell(watcher, run);
      // A small revision in one step, so that those who need it next find it read.
      if (run !== null || event.sub % eventsPerStep === eventsPerStep - 1) yield;
      if (!this.#isCatchingUp(watcher)) return;
    }
    if (isMissing || reader.isGone(revision)) {
      this.#endCompactedOne(watcher);
      return;
    }
    const last = builder.finish();
    if (last === null) watcher.skip();
    else this.#tell(watcher, last);
  }

  #tell(watcher: Watcher, run: WatchRun): void {
    const nowMs = this.#clock.monotonicMs();
    this.#reader.sizeBytes += run.sizeBytes;
    this.#sender.add(watcher);
    if (!watcher.tell(run, nowMs)) this.#onFull(watcher);
  }

  #onFull(watcher: Watcher): void {
    if (watcher.stage === 'full' || watcher.stage === 'ended') return;
    this.#leave(watcher);
    watcher.stage = 'full';
    watcher.fullSinceMs = this.#clock.monotonicMs();
  }

  /** Between two revisions only: whoever joins in the middle of one would miss its beginning. */
  #canJoin(watcher: Watcher): boolean {
    if (watcher.nextSub > 0) return false;
    if (this.#telling !== null) return watcher.next > this.#next;
    if (this.#liveCount === 0) this.#next = this.#source.revision() + 1;
    return watcher.next >= this.#next;
  }

  #join(watcher: Watcher): void {
    this.#leave(watcher);
    watcher.stage = 'live';
    watcher.behindSinceMs = null;
    this.#index.add(watcher.range, watcher);
    this.#liveCount++;
    this.#schedule();
  }

  #catchUp(watcher: Watcher): void {
    watcher.stage = 'catching-up';
    watcher.catchUpPlace = this.#catchingUp.push(watcher) - 1;
    this.#schedule();
  }

  #resume(watcher: Watcher): void {
    if (watcher.stage === 'full') this.#catchUp(watcher);
  }

  /** From the lists of its stage. Afterwards `next` is exact. */
  #leave(watcher: Watcher): void {
    if (watcher.stage === 'live') {
      watcher.next = Math.max(watcher.next, this.#next);
      watcher.behindSinceMs = this.#clock.monotonicMs();
      this.#index.remove(watcher.range, watcher);
      this.#liveCount--;
    } else if (watcher.stage === 'catching-up') {
      removeAt(this.#catchingUp, watcher.catchUpPlace, (moved, place) => {
        moved.catchUpPlace = place;
      });
      watcher.steps = null;
    }
  }

  #remove(watcher: Watcher): void {
    if (watcher.stage === 'ended') return;
    this.#leave(watcher);
    watcher.stage = 'ended';
    removeAt(this.#watchers, watcher.place, (moved, place) => {
      moved.place = place;
    });
    if (this.count > 0) return;
    this.#timer?.cancel();
    this.#timer = null;
    this.#reader.recent.clear();
  }

  #endOne(watcher: Watcher, error: RosettaError): void {
    if (watcher.stage === 'ended') return;
    this.#remove(watcher);
    watcher.end(error, watcher.next);
  }

  #endCompactedOne(watcher: Watcher): void {
    const compacted = this.#source.compactedRevision();
    const detail = `the next revision is compacted; the oldest to watch from is ${compacted + 1}`;
    this.#endOne(watcher, new RosettaError('REVISION_COMPACTED', detail));
  }

  #armTimer(): Timer {
    return this.#clock.setTimer(tickMs, () => {
      this.#timer = null;
      this.#endRefused();
      this.#lookAtSome();
      if (this.count > 0) this.#timer = this.#armTimer();
    });
  }

  #endRefused(): void {
    const refusal = this.#refusal();
    if (refusal === null) return;
    for (const watcher of [...this.#watchers]) this.#endOne(watcher, refusal);
  }

  #lookAtSome(): void {
    const nowMs = this.#clock.monotonicMs();
    let progressCount = 0;
    for (let i = Math.ceil(this.count / ticksPerRound); i > 0 && this.count > 0; i--) {
      const watcher = must(this.#watchers[this.#lookTurn++ % this.count], 'a watcher');
      if (watcher.isTooSlow(nowMs)) {
        const detail = 'the events were read too slowly; resume from this revision';
        this.#endOne(watcher, new RosettaError('WATCH_TOO_SLOW', detail));
      } else if (nowMs - watcher.toldAtMs >= limits.watchProgressMs && watcher.isBetweenRevisions) {
        watcher.progress(this.#position(watcher) - 1, nowMs);
        if (++progressCount === progressCountMax) return;
      }
    }
  }

  #position(watcher: Watcher): number {
    return watcher.stage === 'live' ? Math.max(watcher.next, this.#next) : watcher.next;
  }
}
