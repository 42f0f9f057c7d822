/**
 * One change as watchers are told of it. All watchers of a node share the object, and what a door
 * made of it: a thousand of them cost one copy and one encoding.
 */
import {Buffer} from 'node:buffer';
import type {EventLink, EventSource, StoredEvent} from '../kv/event-reader.ts';
import type {KeyRecord} from '../kv/result.ts';
import type {EventPointer} from '../kv/tables.ts';

export class WatchEvent {
  readonly revision: number;
  /** Its place in the revision, from 0. */
  readonly sub: number;
  readonly key: Uint8Array;
  /** The key as latin1 text, which sorts as its bytes do. */
  readonly keyText: string;
  /** What the key is now; null: it was deleted. */
  readonly record: KeyRecord | null;
  readonly #link: EventLink;
  /** Undefined: nobody has asked yet. */
  #previous: KeyRecord | null | undefined = undefined;
  readonly #encodings: (Uint8Array | undefined)[] = [];

  /** Copies what it needs of the stored event. */
  constructor(pointer: EventPointer, keyText: string, stored: StoredEvent) {
    const {revision} = pointer;
    this.revision = revision;
    this.sub = pointer.sub;
    this.keyText = keyText;
    this.key = new Uint8Array(stored.key);
    const {previousRevision, previousSub} = stored;
    this.#link = {revision, sub: pointer.sub, previousRevision, previousSub};
    this.record = stored.isTombstone
      ? null
      : {
          key: this.key,
          value: new Uint8Array(stored.value),
          createRevision: stored.createRevision,
          modRevision: revision,
          version: stored.version,
          leaseId: stored.leaseId,
        };
  }

  /** What it holds, in bytes; without encodings. */
  get sizeBytes(): number {
    return this.key.length + (this.record?.value.length ?? 0);
  }

  /** What the key was before; null: it did not exist. After `loadPrevious`. */
  get previous(): KeyRecord | null {
    return this.#previous ?? null;
  }

  /** While the source still has all events of this revision. */
  loadPrevious(source: EventSource): void {
    if (this.#previous === undefined) {
      this.#previous = source.recordBefore(this.key, this.#link);
    }
  }

  /** What `encode` makes of it, made once for each form. Forms are small numbers of the door's. */
  encoded(form: number, encode: () => Uint8Array): Uint8Array {
    return (this.#encodings[form] ??= encode());
  }
}

export function keyTextOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
