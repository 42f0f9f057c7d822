/**
 * The one queue of a simulated cluster: everything that ever happens is an event in it, ordered by
 * virtual time and, within the same instant, by the order of its making. Time passes only from one
 * event to the next. A running hash over all events is the trace: equal seeds give equal hashes.
 */
import {assert} from '../../src/base/assert.ts';

const kinds = ['timer', 'poll', 'disk', 'message', 'link', 'client', 'fault', 'control'] as const;

export type EventKind = (typeof kinds)[number];

const kindCodes = Object.fromEntries(kinds.map((kind, code) => [kind, code])) as Readonly<
  Record<EventKind, number>
>;

/** A conversation that never ends would otherwise eat the machine. */
const waitingCountMax = 200_000;

export class SimEvent {
  readonly atMs: number;
  readonly sequence: number;
  /** The member it touches; -1: none. */
  readonly owner: number;
  readonly kind: EventKind;
  readonly run: () => void;
  isCancelled = false;

  constructor(what: {
    readonly atMs: number;
    readonly sequence: number;
    readonly owner: number;
    readonly kind: EventKind;
    readonly run: () => void;
  }) {
    this.atMs = what.atMs;
    this.sequence = what.sequence;
    this.owner = what.owner;
    this.kind = what.kind;
    this.run = what.run;
  }
}

export class EventQueue {
  /** A binary heap: the earliest event first. */
  readonly #heap: SimEvent[] = [];
  /** Of this instant, made in it: behind whatever of this instant is in the heap. */
  readonly #now: SimEvent[] = [];
  #nowTaken = 0;
  #nowMs = 0;
  #lastSequence = 0;
  #eventCount = 0;
  #hash = 0x811c9dc5;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events that have happened. */
  get eventCount(): number {
    return this.#eventCount;
  }

  get waitingCount(): number {
    return this.#heap.length + this.#now.length - this.#nowTaken;
  }

  get traceHash(): string {
    return this.#hash.toString(16).padStart(8, '0');
  }

  add(delayMs: number, owner: number, kind: EventKind, run: () => void): SimEvent {
    assert(delayMs >= 0, 'an event in % ms', delayMs);
    assert(this.waitingCount < waitingCountMax, '% events wait', this.waitingCount);
    const atMs = this.#nowMs + delayMs;
    const event = new SimEvent({atMs, sequence: ++this.#lastSequence, owner, kind, run});
    if (atMs === this.#nowMs) this.#now.push(event);
    else this.#push(event);
    return event;
  }

  /** Moves the time to the next event and returns it, not run yet; null: nothing ever happens. */
  take(): SimEvent | null {
    for (;;) {
      const event = this.#takeOfNow() ?? this.#pop();
      if (event === null) return null;
      if (event.isCancelled) continue;
      this.#nowMs = event.atMs;
      this.#eventCount++;
      this.note(Math.floor(event.atMs * 1000));
      this.note(event.owner * 16 + kindCodes[event.kind]);
      return event;
    }
  }

  /** Mixes a number into the trace. */
  note(value: number): void {
    const mixed = Math.imul(this.#hash ^ (value | 0), 0x01000193);
    this.#hash = (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** Null: what is next is in the heap. */
  #takeOfNow(): SimEvent | null {
    const event = this.#now[this.#nowTaken];
    if (event === undefined) return null;
    const first = this.#heap[0];
    if (first !== undefined && isBefore(first, event)) return null;
    this.#nowTaken++;
    if (this.#nowTaken === this.#now.length) {
      this.#now.length = 0;
      this.#nowTaken = 0;
    }
    return event;
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    let place = heap.length;
    heap.push(event);
    while (place > 0) {
      const parentPlace = (place - 1) >> 1;
      const parent = heap[parentPlace] as SimEvent;
      if (!isBefore(event, parent)) break;
      heap[place] = parent;
      place = parentPlace;
    }
    heap[place] = event;
  }

  #pop(): SimEvent | null {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) return null;
    const size = heap.length;
    if (size === 0) return first;
    let place = 0;
    for (;;) {
      let childPlace = 2 * place + 1;
      if (childPlace >= size) break;
      let child = heap[childPlace] as SimEvent;
      const right = heap[childPlace + 1];
      if (right !== undefined && isBefore(right, child)) {
        child = right;
        childPlace++;
      }
      if (!isBefore(child, last)) break;
      heap[place] = child;
      place = childPlace;
    }
    heap[place] = last;
    return first;
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}
