/**
 * Finds what is due, among many, without looking at the rest: deadlines lie in slots of a tenth of
 * a second. Everything comes out once, at its deadline or at most a slot later, or is taken out.
 */
import {assert} from '../base/assert.ts';

const slotMs = 100;

/** What lies in a wheel knows where. */
export interface WheelItem {
  /** -1: in none. */
  slot: number;
}

export class DeadlineWheel<T extends WheelItem> {
  readonly #slots = new Map<number, Set<T>>();
  /** Slots before this one were collected. */
  #next: number;

  constructor(nowMs: number) {
    this.#next = Math.floor(nowMs / slotMs);
  }

  /** Slots that hold something. */
  get slotCount(): number {
    return this.#slots.size;
  }

  add(item: T, deadlineMs: number): void {
    assert(item.slot === -1, 'an item is in one slot at most');
    // Up to a slot late, never early.
    const slot = Math.max(this.#next, Math.ceil(deadlineMs / slotMs));
    item.slot = slot;
    const items = this.#slots.get(slot);
    if (items === undefined) this.#slots.set(slot, new Set([item]));
    else items.add(item);
  }

  /** Nothing, when it lies in no slot. */
  remove(item: T): void {
    const items = this.#slots.get(item.slot);
    if (items === undefined) return;
    items.delete(item);
    if (items.size === 0) this.#slots.delete(item.slot);
    item.slot = -1;
  }

  /** `onDue` may add what it is given again. */
  collect(nowMs: number, onDue: (item: T) => void): void {
    const end = Math.floor(nowMs / slotMs);
    while (this.#next <= end) {
      const slot = this.#next++;
      const items = this.#slots.get(slot);
      if (items === undefined) continue;
      this.#slots.delete(slot);
      for (const item of items) {
        item.slot = -1;
        onDue(item);
      }
    }
  }
}
