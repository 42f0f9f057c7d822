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
import {LeaseModel} from './lease-model.ts';

export interface ModelRecord extends StoreRecord {
  readonly createRevision: number;
  /** 0: none. */
  readonly leaseId: number;
}

interface Change {
  readonly revision: number;
  /** Null: deleted. */
  readonly record: ModelRecord | null;
}

/** One change of one key; value null: it was deleted. */
export interface ModelEvent {
  readonly key: string;
  readonly value: string | null;
  /** Null: the key did not exist. */
  readonly before: ModelRecord | null;
}

export class StoreModel {
  readonly leases = new LeaseModel();
  /** By revision. */
  readonly #events: (ModelEvent[] | undefined)[] = [];
  #revision = 1;
  /** The command that is being performed has changed something. */
  #hasChanged = false;
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
        if (!holds(this.record(input.key), input.condition)) return {type: 'refused', revision};
        const {version} = this.put(input.key, input.value, 0);
        return {type: 'written', version, revision: this.endCommand()};
      }
      case 'delete': {
        if (!holds(this.record(input.key), input.condition)) return {type: 'refused', revision};
        const count = this.remove(input.key) === null ? 0 : 1;
        return {type: 'deleted', count, revision: this.endCommand()};
      }
      case 'delete-range': {
        const records = this.#recordsAt(input.prefix, revision);
        for (const {key} of records) this.remove(key);
        return {type: 'deleted', count: records.length, revision: this.endCommand()};
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

  /** As of a revision that has been; null: it did not exist. */
  recordAt(key: string, revision: number): ModelRecord | null {
    return this.#at(key, revision);
  }

  /** As the command that is being performed has left it. */
  record(key: string): ModelRecord | null {
    return this.#at(key, Infinity);
  }

  /** As above, in the order of keys; `end` is exclusive, null: to the last. */
  records(start: string, end: string | null): ModelRecord[] {
    const keys = this.#keys.filter(key => key >= start && (end === null || key < end));
    return keys.flatMap(key => this.record(key) ?? []);
  }

  put(key: string, value: string, leaseId: number): ModelRecord {
    const before = this.record(key);
    const modRevision = this.#revision + 1;
    const createRevision = before?.createRevision ?? modRevision;
    const version = (before?.version ?? 0) + 1;
    const record = {key, value, createRevision, modRevision, version, leaseId};
    this.#change(key, record, before);
    return record;
  }

  /** What was there; null: nothing, and nothing changes. */
  remove(key: string): ModelRecord | null {
    const before = this.record(key);
    if (before !== null) this.#change(key, null, before);
    return before;
  }

  /** What a command changed takes one revision. Returns the newest. */
  endCommand(): number {
    if (this.#hasChanged) this.#revision++;
    this.#hasChanged = false;
    return this.#revision;
  }

  #change(key: string, record: ModelRecord | null, before: ModelRecord | null): void {
    this.#hasChanged = true;
    const revision = this.#revision + 1;
    (this.#events[revision] ??= []).push({key, value: record?.value ?? null, before});
    this.leases.move(key, before?.leaseId ?? 0, record?.leaseId ?? 0);
    const changes = this.#changes.get(key);
    if (changes !== undefined) {
      changes.push({revision, record});
      return;
    }
    this.#changes.set(key, [{revision, record}]);
    this.#keys.push(key);
    this.#keys.sort();
  }

  #at(key: string, revision: number): ModelRecord | null {
    const changes = this.#changes.get(key) ?? [];
    for (let i = changes.length - 1; i >= 0; i--) {
      const change = changes[i];
      if (change !== undefined && change.revision <= revision) return change.record;
    }
    return null;
  }

  #recordsAt(prefix: string, revision: number): ModelRecord[] {
    const records: ModelRecord[] = [];
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
