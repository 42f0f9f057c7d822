/**
 * A plain model of the store with its whole past, written apart from src/kv: what each command in
 * the order of the log must answer, and what each read at a position of the log must see.
 */
import type {
  Condition,
  StoreInput,
  StoreOutput,
  StoreRecord,
} from '../../checker/store-operation.ts';

interface Change {
  readonly revision: number;
  /** Null: deleted. */
  readonly record: StoreRecord | null;
}

/** One change of one key; value null: it was deleted. */
export interface ModelEvent {
  readonly key: string;
  readonly value: string | null;
}

export class StoreModel {
  /** By revision. */
  readonly #events: (ModelEvent[] | undefined)[] = [];
  #revision = 1;
  readonly #changes = new Map<string, Change[]>();
  /** Ascending. */
  #keys: string[] = [];

  get revision(): number {
    return this.#revision;
  }

  /** In their order; undefined: it has not happened. */
  eventsAt(revision: number): readonly ModelEvent[] | undefined {
    return this.#events[revision];
  }

  perform(input: StoreInput): StoreOutput {
    const revision = this.#revision;
    switch (input.type) {
      case 'get':
      case 'range':
        return this.read(input, revision);
      case 'put': {
        const record = this.#at(input.key, revision);
        if (!holds(record, input.condition)) return {type: 'refused', revision};
        const {key, value} = input;
        const next = ++this.#revision;
        const version = (record?.version ?? 0) + 1;
        this.#change(key, {revision: next, record: {key, value, modRevision: next, version}});
        return {type: 'written', version, revision: next};
      }
      case 'delete': {
        const record = this.#at(input.key, revision);
        if (!holds(record, input.condition)) return {type: 'refused', revision};
        return this.#delete(record === null ? [] : [input.key]);
      }
      case 'delete-range': {
        const keys = this.#recordsAt(input.prefix, revision).map(record => record.key);
        return this.#delete(keys);
      }
    }
  }

  /** As of a revision that has been. */
  read(input: Extract<StoreInput, {type: 'get' | 'range'}>, revision: number): StoreOutput {
    if (input.type === 'range') {
      return {type: 'records', records: this.#recordsAt(input.prefix, revision), revision};
    }
    const record = this.#at(input.key, revision);
    return record === null ? {type: 'absent', revision} : {type: 'record', record, revision};
  }

  #delete(keys: readonly string[]): StoreOutput {
    if (keys.length > 0) {
      const revision = ++this.#revision;
      for (const key of keys) this.#change(key, {revision, record: null});
    }
    return {type: 'deleted', count: keys.length, revision: this.#revision};
  }

  #change(key: string, change: Change): void {
    const event = {key, value: change.record?.value ?? null};
    (this.#events[change.revision] ??= []).push(event);
    const changes = this.#changes.get(key);
    if (changes !== undefined) {
      changes.push(change);
      return;
    }
    this.#changes.set(key, [change]);
    this.#keys.push(key);
    this.#keys.sort();
  }

  #at(key: string, revision: number): StoreRecord | null {
    const changes = this.#changes.get(key) ?? [];
    for (let i = changes.length - 1; i >= 0; i--) {
      const change = changes[i];
      if (change !== undefined && change.revision <= revision) return change.record;
    }
    return null;
  }

  #recordsAt(prefix: string, revision: number): StoreRecord[] {
    const records: StoreRecord[] = [];
    for (const key of this.#keys) {
      if (!key.startsWith(prefix)) continue;
      const record = this.#at(key, revision);
      if (record !== null) records.push(record);
    }
    return records;
  }
}

function holds(record: StoreRecord | null, condition: Condition | null): boolean {
  if (condition === null) return true;
  if (condition.type === 'absent') return record === null;
  if (condition.type === 'exists') return record !== null;
  return record?.modRevision === condition.revision;
}
