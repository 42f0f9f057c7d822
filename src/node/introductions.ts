/**
 * Who was let in last under each id, and which of them are strangers: no members by the membership
 * in force here. One that left may still be connected, and a message names its sender by the id
 * alone: it would pass for one of the disk that has taken the place, and promise what that one does
 * not hold. Or this node is behind: then its leader may be a stranger, which is heard and answered
 * like any leader (Raft dissertation §4.1).
 */
import {limits} from '../base/limits.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';

export interface Introduced {
  readonly incarnation: string;
  readonly listen: string;
  readonly http: string;
}

export class Introductions {
  readonly #selfId: NodeId;
  readonly #memberOf: (id: NodeId) => Member | undefined;
  readonly #introduced = new Map<NodeId, Introduced>();
  /** The one that came last is the last. */
  readonly #strangers = new Set<NodeId>();

  constructor(self: Member, memberOf: (id: NodeId) => Member | undefined) {
    this.#selfId = self.id;
    this.#memberOf = memberOf;
    this.#introduced.set(self.id, self);
  }

  of(id: NodeId): Introduced | undefined {
    return this.#introduced.get(id);
  }

  isStranger(id: NodeId): boolean {
    return this.#strangers.size > 0 && this.#strangers.has(id);
  }

  strangers(): readonly Member[] {
    const strangers: Member[] = [];
    for (const id of this.#strangers) {
      const introduced = this.#introduced.get(id);
      if (introduced !== undefined && id !== this.#selfId) strangers.push({id, ...introduced});
    }
    return strangers;
  }

  /** False: nothing new. */
  note(id: NodeId, introduced: Introduced): boolean {
    const before = this.#introduced.get(id);
    this.#introduced.set(id, introduced);
    this.#strangers.delete(id);
    if (this.#memberOf(id)?.incarnation !== introduced.incarnation) {
      this.#strangers.add(id);
      this.#forgetOldest();
    }
    return (
      before?.incarnation !== introduced.incarnation ||
      before.listen !== introduced.listen ||
      before.http !== introduced.http
    );
  }

  /** Called before another message comes when the membership in force changes. */
  onMembership(): void {
    this.#strangers.clear();
    for (const [id, {incarnation}] of this.#introduced) {
      if (this.#memberOf(id)?.incarnation !== incarnation) this.#strangers.add(id);
    }
  }

  /**
   * Any number of ids could knock. Only what has no member's id may be forgotten: nobody counts
   * what it says, while under a member's id it would pass for the member.
   */
  #forgetOldest(): void {
    if (this.#strangers.size <= limits.strangerCountMax) return;
    for (const id of this.#strangers) {
      if (id === this.#selfId || this.#memberOf(id) !== undefined) continue;
      this.#strangers.delete(id);
      this.#introduced.delete(id);
      return;
    }
  }
}
