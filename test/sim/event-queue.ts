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

  constructor(
    place: {readonly atMs: number; readonly sequence: number},
    owner: number,
    kind: EventKind,
    run: () => void,
  ) {
    this.atMs = place.atMs;
    this.sequence = place.sequence;
    this.owner = owner;
    this.kind = kind;
    this.run = run;
  }
}

export class EventQueue {
  /** A binary heap: the earliest event first. */
  readonly #heap: SimEvent[] = [];
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
    return this.#heap.length;
  }

  get traceHash(): string {
    return this.#hash.toString(16).padStart(8, '0');
  }

  add(delayMs: number, owner: number, kind: EventKind, run: () => void): SimEvent {
    if (!(delayMs >= 0)) assert(false, `an event in ${delayMs} ms`);
    const place = {atMs: this.#nowMs + delayMs, sequence: ++this.#lastSequence};
    const event = new SimEvent(place, owner, kind, run);
    this.#push(event);
    return event;
  }

  /** Moves the time to the next event and returns it, not run yet; null: nothing ever happens. */
  take(): SimEvent | null {
    for (;;) {
      const event = this.#pop();
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

  #push(event: SimEvent): void {
    const heap = this.#heap;
    if (heap.length >= waitingCountMax) assert(false, `${heap.length} events wait`);
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
