/**
 * Finds what is due, among many, without looking at the rest: deadlines lie in slots of a tenth of
 * a second. Everything comes out once, at its deadline or at most a slot later.
 */

const slotMs = 100;

export class DeadlineWheel {
  readonly #slots = new Map<number, number[]>();
  /** Slots before this one were collected. */
  #next: number;

  constructor(nowMs: number) {
    this.#next = Math.floor(nowMs / slotMs);
  }

  add(id: number, deadlineMs: number): void {
    // Up to a slot late, never early.
    const slot = Math.max(this.#next, Math.ceil(deadlineMs / slotMs));
    const ids = this.#slots.get(slot);
    if (ids === undefined) this.#slots.set(slot, [id]);
    else ids.push(id);
  }

  collect(nowMs: number, onDue: (id: number) => void): void {
    const end = Math.floor(nowMs / slotMs);
    while (this.#next <= end) {
      const slot = this.#next++;
      const ids = this.#slots.get(slot);
      if (ids === undefined) continue;
      this.#slots.delete(slot);
      for (const id of ids) onDue(id);
    }
  }
}
