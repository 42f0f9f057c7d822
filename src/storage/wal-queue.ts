/**
 * The writes that the log has taken and not yet reported: those that wait, and those in the batch
 * on its way. A write larger than a batch is taken apart here; its callback belongs to the last
 * part.
 */
import {assert, must} from '../base/assert.ts';
import type {Entry} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';

export type WriteCallback = (error: Error | null) => void;

/** A part of a write that fits into one batch; only the last part has the callback. */
export interface QueuedPart {
  readonly hardState: HardState;
  readonly entries: readonly Entry[];
  readonly dataSizeBytes: number;
  readonly callback: WriteCallback | null;
  readonly queuedAtMs: number;
}

/** What the next batch holds. */
export interface GatheredParts {
  readonly dataSizeBytes: number;
  readonly entryCount: number;
  readonly groups: readonly (readonly Entry[])[];
  /** Null: no part says anything new. */
  readonly hardState: HardState | null;
}

/** A batch takes this much besides data and entry headers, at most. */
const batchOverheadSizeBytesMax = 64 + 64 + 8;

export class WalQueue {
  readonly #batchSizeBytesMax: number;
  #waiting: QueuedPart[] = [];
  #inFlight: QueuedPart[] = [];
  /** Data of everything that is not completed. */
  #pendingSizeBytes = 0;

  constructor(batchSizeBytesMax: number) {
    this.#batchSizeBytesMax = batchSizeBytesMax;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  get pendingSizeBytes(): number {
    return this.#pendingSizeBytes;
  }

  /** When the oldest write that is not completed was taken. */
  get oldestQueuedAtMs(): number | null {
    return (this.#inFlight[0] ?? this.#waiting[0])?.queuedAtMs ?? null;
  }

  push(
    hardState: HardState,
    entries: readonly Entry[],
    callback: WriteCallback,
    queuedAtMs: number,
  ): void {
    let from = 0;
    let size = 0;
    for (let i = 0; i < entries.length; i++) {
      const length = must(entries[i], 'an entry').data.length;
      const count = i - from + 1;
      if (count > 1 && sizeOf(count, size + length) > this.#batchSizeBytesMax) {
        const part = entries.slice(from, i);
        this.#add({hardState, entries: part, dataSizeBytes: size, callback: null, queuedAtMs});
        from = i;
        size = 0;
      }
      size += length;
    }
    const rest = from === 0 ? entries : entries.slice(from);
    this.#add({hardState, entries: rest, dataSizeBytes: size, callback, queuedAtMs});
  }

  #add(part: QueuedPart): void {
    this.#waiting.push(part);
    this.#pendingSizeBytes += part.dataSizeBytes;
  }

  /** How many parts go into the next batch; null when not even one fits into `room`. */
  countFor(room: number): number | null {
    const sizeMax = Math.min(room, this.#batchSizeBytesMax);
    let entryCount = 0;
    let size = 0;
    let nextIndex = 0;
    let count = 0;
    for (const part of this.#waiting) {
      const first = part.entries[0];
      // A batch is one run of indices: what supersedes goes into a batch of its own.
      if (first !== undefined && entryCount > 0 && first.index !== nextIndex) break;
      const total = sizeOf(entryCount + part.entries.length, size + part.dataSizeBytes);
      // A single large entry may exceed the batch size, never the room.
      if (total > (count === 0 ? room : sizeMax)) break;
      entryCount += part.entries.length;
      size += part.dataSizeBytes;
      count++;
      if (first !== undefined) nextIndex = first.index + part.entries.length;
    }
    if (count === 0 && (this.#waiting.length > 0 || sizeOf(0, 0) > room)) return null;
    return count;
  }

  /** The `count` oldest parts, which stay where they are. */
  gather(count: number): GatheredParts {
    let dataSizeBytes = 0;
    let entryCount = 0;
    let hardState: HardState | null = null;
    const groups: (readonly Entry[])[] = [];
    for (let i = 0; i < count; i++) {
      const part = must(this.#waiting[i], 'a gathered part');
      dataSizeBytes += part.dataSizeBytes;
      entryCount += part.entries.length;
      hardState = part.hardState;
      if (part.entries.length > 0) groups.push(part.entries);
    }
    return {dataSizeBytes, entryCount, groups, hardState};
  }

  /** The smallest index among the parts behind the `count` oldest; Infinity when there is none. */
  firstIndexBehind(count: number): number {
    let smallest = Number.POSITIVE_INFINITY;
    for (let i = count; i < this.#waiting.length; i++) {
      smallest = Math.min(smallest, this.#waiting[i]?.entries[0]?.index ?? smallest);
    }
    return smallest;
  }

  /** Upper bound of a batch with the oldest part alone. */
  oldestSizeBytesMax(): number {
    const part = must(this.#waiting[0], 'a part that waits');
    return sizeOf(part.entries.length, part.dataSizeBytes);
  }

  /** The `count` oldest parts are on their way from now on. */
  depart(count: number): void {
    assert(this.#inFlight.length === 0, 'one batch at a time');
    this.#inFlight = this.#waiting.splice(0, count);
  }

  takeInFlight(): readonly QueuedPart[] {
    const parts = this.#inFlight;
    this.#inFlight = [];
    return parts;
  }

  takeWaiting(): readonly QueuedPart[] {
    const parts = this.#waiting;
    this.#waiting = [];
    return parts;
  }

  /** Runs the callbacks of parts that were taken off. */
  complete(parts: readonly QueuedPart[], error: Error | null): void {
    for (const part of parts) this.#pendingSizeBytes -= part.dataSizeBytes;
    assert(this.#pendingSizeBytes >= 0, 'fewer than no bytes are pending');
    for (const part of parts) part.callback?.(error);
  }
}

/** Upper bound of a batch's size. */
function sizeOf(entryCount: number, dataSizeBytes: number): number {
  return batchOverheadSizeBytesMax + 28 * entryCount + dataSizeBytes + 8;
}
