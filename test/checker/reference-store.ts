/**
 * For the tests of the checkers alone: a store written down a second time, histories made with it,
 * and a search that tries every order. Slow and simple on purpose.
 */
import {isDeepStrictEqual} from 'node:util';
import type {Prng} from '../../src/base/prng.ts';
import type {
  Condition,
  StoreCall,
  StoreInput,
  StoreOutput,
  StoreRecord,
} from './store-operation.ts';

export class ReferenceStore {
  revision = 1;
  #records = new Map<string, StoreRecord>();

  copy(): ReferenceStore {
    const copy = new ReferenceStore();
    copy.revision = this.revision;
    copy.#records = new Map(this.#records);
    return copy;
  }

  perform(input: StoreInput): StoreOutput {
    if (input.type === 'range' || input.type === 'delete-range') {
      const keys = [...this.#records.keys()].filter(key => key.startsWith(input.prefix)).sort();
      if (input.type === 'delete-range') return this.#delete(keys);
      const records = keys.flatMap(key => this.#records.get(key) ?? []);
      return {type: 'records', records, revision: this.revision};
    }
    const record = this.#records.get(input.key);
    const {revision} = this;
    if (input.type === 'get') {
      return record === undefined ? {type: 'absent', revision} : {type: 'record', record, revision};
    }
    if (!isMet(input.condition, record)) return {type: 'refused', revision};
    if (input.type === 'delete') return this.#delete(record === undefined ? [] : [input.key]);
    const version = record === undefined ? 1 : record.version + 1;
    const {key, value} = input;
    this.revision++;
    this.#records.set(key, {key, value, modRevision: this.revision, version});
    return {type: 'written', version, revision: this.revision};
  }

  #delete(keys: readonly string[]): StoreOutput {
    if (keys.length > 0) this.revision++;
    for (const key of keys) this.#records.delete(key);
    return {type: 'deleted', count: keys.length, revision: this.revision};
  }
}

function isMet(condition: Condition | null, record: StoreRecord | undefined): boolean {
  switch (condition?.type) {
    case undefined:
      return true;
    case 'absent':
      return record === undefined;
    case 'exists':
      return record !== undefined;
    case 'revision':
      return record !== undefined && record.modRevision === condition.revision;
  }
}

export interface HistoryOptions {
  readonly callCount: number;
  readonly keys: readonly string[];
  /** Writes to keys outside of the history, which take revisions as well. */
  readonly hasForeignWrites: boolean;
  readonly hasRanges: boolean;
  /** Of the writes, 0 to 1. */
  readonly unknownShare?: number;
}

/** A legal history: each call performed at one instant between its call and its return. */
export function randomHistory(prng: Prng, options: HistoryOptions): StoreCall[] {
  const store = new ReferenceStore();
  const {callCount} = options;
  const spans = shuffled(prng, callCount);
  const order = spans
    .map(({calledAt, returnedAt}, i) => ({
      i,
      at: calledAt + prng.float() * (returnedAt - calledAt),
    }))
    .sort((a, b) => a.at - b.at);
  const calls: StoreCall[] = [];
  for (const {i} of order) {
    const input = randomInput(prng, options, {value: `v${i}`, revision: store.revision});
    if (options.hasForeignWrites && prng.float() < 0.3) store.revision++;
    const {calledAt = 0, returnedAt = 0} = spans[i] ?? {};
    const isRead = input.type === 'get' || input.type === 'range';
    const isUnknown = !isRead && prng.float() < (options.unknownShare ?? 0.25);
    if (isUnknown) {
      if (prng.float() < 0.6) store.perform(input);
      calls.push({input, output: undefined, calledAt, returnedAt: Infinity});
    } else {
      calls.push({input, output: store.perform(input), calledAt, returnedAt});
    }
  }
  return calls;
}

/** One number or name of one answer is changed; the history may stay legal. */
export function corrupted(prng: Prng, calls: readonly StoreCall[]): StoreCall[] {
  const victim = prng.integer({min: 0, max: calls.length - 1});
  return calls.map((call, i) => {
    if (i !== victim || call.output === undefined) return call;
    return {
      ...call,
      output: changedOutput(prng, call.output, `v${prng.integer({min: 0, max: 7})}`),
    };
  });
}

/** Tries every order that respects real time; foreign writes may raise the revision in between. */
export function isLegalByBruteForce(
  calls: readonly StoreCall[],
  {hasForeignWrites}: {readonly hasForeignWrites: boolean},
): boolean {
  const mentioned = calls.map(call => call.output?.revision ?? 1);
  const revisionMax = Math.max(1, ...mentioned) + calls.length;
  const visit = (open: readonly StoreCall[], store: ReferenceStore): boolean => {
    if (open.every(call => call.returnedAt === Infinity)) return true;
    const firstReturn = Math.min(...open.map(call => call.returnedAt));
    return open.some(call => {
      if (call.calledAt > firstReturn) return false;
      const rest = open.filter(other => other !== call);
      const last = hasForeignWrites ? revisionMax : store.revision;
      for (let revision = store.revision; revision <= last; revision++) {
        const next = store.copy();
        next.revision = revision;
        const output = next.perform(call.input);
        const isSeen = call.output === undefined || isDeepStrictEqual(call.output, output);
        if (isSeen && visit(rest, next)) return true;
      }
      return false;
    });
  };
  return visit(calls, new ReferenceStore());
}

function shuffled(
  prng: Prng,
  count: number,
): {readonly calledAt: number; readonly returnedAt: number}[] {
  // Few calls at once: each span begins near its place in the order.
  const instants = Array.from({length: count * 2}, (_, i) => {
    return {owner: i >> 1, at: i + prng.float() * 6};
  }).sort((a, b) => a.at - b.at);
  return Array.from({length: count}, (_, owner) => ({
    calledAt: instants.findIndex(instant => instant.owner === owner),
    returnedAt: instants.findLastIndex(instant => instant.owner === owner),
  }));
}

function randomInput(
  prng: Prng,
  {keys, hasRanges}: HistoryOptions,
  now: {readonly value: string; readonly revision: number},
): StoreInput {
  const key = keys[prng.integer({min: 0, max: keys.length - 1})] ?? 'a';
  const kind = prng.float();
  if (hasRanges && kind < 0.15) return {type: 'range', prefix: prng.float() < 0.5 ? '' : key};
  if (hasRanges && kind < 0.25) return {type: 'delete-range', prefix: ''};
  if (kind < 0.5) return {type: 'get', key};
  const condition = randomCondition(prng, now.revision);
  if (kind < 0.85) return {type: 'put', key, value: now.value, condition};
  return {type: 'delete', key, condition};
}

function randomCondition(prng: Prng, revision: number): Condition | null {
  const kind = prng.float();
  if (kind < 0.4) return null;
  if (kind < 0.55) return {type: 'exists'};
  if (kind < 0.7) return {type: 'absent'};
  return {type: 'revision', revision: Math.max(2, revision - prng.integer({min: 0, max: 1}))};
}

function changedOutput(prng: Prng, output: StoreOutput, value: string): StoreOutput {
  const step = prng.float() < 0.5 ? 1 : -1;
  const choice = prng.float();
  if (choice < 0.35) return {...output, revision: Math.max(1, output.revision + step)};
  switch (output.type) {
    case 'record':
      return {...output, record: changedRecord(prng, output.record, value, step)};
    case 'records': {
      const [first, ...others] = output.records;
      if (first === undefined || choice > 0.8) return {...output, records: others};
      return {...output, records: [changedRecord(prng, first, value, step), ...others]};
    }
    case 'written':
      return {...output, version: Math.max(1, output.version + step)};
    case 'deleted':
      return {...output, count: 1 - output.count};
    case 'absent': {
      const record = {key: 'a', value, modRevision: output.revision, version: 1};
      return {type: 'record', record, revision: output.revision};
    }
    case 'refused':
      return {type: 'written', version: 1, revision: output.revision + 1};
  }
}

function changedRecord(prng: Prng, record: StoreRecord, value: string, step: number): StoreRecord {
  const choice = prng.float();
  if (choice < 0.4) return {...record, value};
  if (choice < 0.7) return {...record, modRevision: Math.max(2, record.modRevision + step)};
  return {...record, version: Math.max(1, record.version + step)};
}
