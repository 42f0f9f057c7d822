/** One thing that a simulated client asked for, and how it turned out. */
import type {CommandResult, KeyRecord} from '../../src/kv/result.ts';
import type {StateReader} from '../../src/kv/state-reader.ts';
import {
  bytes,
  compare,
  del,
  deleteRange,
  encode,
  get,
  put,
  range,
  text,
  transaction,
} from '../contract/commands.ts';
import type {Condition, StoreInput, StoreOutput, StoreRecord} from '../checker/store-operation.ts';

export interface ClientOperation {
  readonly id: number;
  readonly client: number;
  readonly input: StoreInput;
  readonly isLocal: boolean;
  /** Null: a read. */
  readonly command: Uint8Array | null;
  /** Carries an idempotency key, so it may be sent again. */
  readonly isKeyed: boolean;
  /** Positions in one order of all calls and returns. */
  readonly calledAt: number;
  returnedAt: number;
  /** The largest log position that anybody knew of when it was called. */
  readonly floor: number;
  outcome: 'running' | 'done' | 'definite' | 'unknown';
  /** What the client was told. */
  output: StoreOutput | null;
  /** Where it took effect: the position in the log, of a read the position it saw. */
  position: number | null;
  /** What it had to answer there. */
  expected: StoreOutput | null;
  /** Of a range that was deleted. */
  deletedKeys: readonly string[];
}

export function isRead(input: StoreInput): input is Extract<StoreInput, {type: 'get' | 'range'}> {
  return input.type === 'get' || input.type === 'range';
}

/** Different bytes for every operation, so that the log says whose command an entry is. */
export function encodeInput(id: number, input: StoreInput, isKeyed: boolean): Uint8Array | null {
  const idempotency = isKeyed ? {key: `operation-${id}`, request: id % 251} : null;
  // Reads a key that nobody writes.
  const mark = isKeyed ? [] : [get(`!${id}`)];
  switch (input.type) {
    case 'get':
    case 'range':
      return null;
    case 'put': {
      const success = [put(input.key, input.value)];
      const condition = comparesOf(input.key, input.condition);
      return encode(transaction({compare: condition, success}), idempotency);
    }
    case 'delete': {
      const condition = comparesOf(input.key, input.condition);
      return encode(
        transaction({compare: condition, success: [del(input.key), ...mark], failure: mark}),
        idempotency,
      );
    }
    case 'delete-range': {
      const keys = range(input.prefix, endOf(input.prefix));
      return encode(transaction({success: [deleteRange(keys, true), ...mark]}), idempotency);
    }
  }
}

export function outputOf(result: CommandResult): StoreOutput | null {
  if (result.type !== 'transaction') return null;
  const {revision} = result;
  if (!result.succeeded) return {type: 'refused', revision};
  const [first] = result.results;
  if (first?.type === 'put') return {type: 'written', version: first.version, revision};
  if (first?.type === 'delete') return {type: 'deleted', count: first.deletedCount, revision};
  return null;
}

export function deletedKeysOf(result: CommandResult): readonly string[] {
  if (result.type !== 'transaction') return [];
  const [first] = result.results;
  return first?.type === 'delete' ? first.previous.map(record => text(record.key)) : [];
}

/** What `input` reads there, slice by slice. */
export function readFrom(
  reader: StateReader,
  input: Extract<StoreInput, {type: 'get' | 'range'}>,
): StoreOutput {
  const revision = reader.revision();
  if (input.type === 'get') {
    const record = reader.get(bytes(input.key), 0);
    if (record === null) return {type: 'absent', revision};
    return {type: 'record', record: storeRecord(record), revision};
  }
  const records: StoreRecord[] = [];
  let rest: ReturnType<StateReader['rangeSlice']>['rest'] = range(
    input.prefix,
    endOf(input.prefix),
  );
  while (rest !== null) {
    const slice = reader.rangeSlice({
      range: rest,
      revision: 0,
      isReverse: false,
      keysOnly: false,
      countOnly: false,
      countMax: 20,
      sizeBytesMax: 100_000,
      rowCountMax: 50,
    });
    records.push(...slice.records.map(storeRecord));
    rest = slice.rest;
  }
  return {type: 'records', records, revision};
}

function storeRecord({key, value, modRevision, version}: KeyRecord): StoreRecord {
  return {key: text(key), value: text(value), modRevision, version};
}

function comparesOf(key: string, condition: Condition | null): ReturnType<typeof compare>[] {
  if (condition === null) return [];
  if (condition.type === 'revision') {
    return [compare(key, '=', {type: 'modRevision', value: condition.revision})];
  }
  const operator = condition.type === 'absent' ? '=' : '>';
  return [compare(key, operator, {type: 'version', value: 0})];
}

function endOf(prefix: string): string {
  const last = prefix.charCodeAt(prefix.length - 1);
  return prefix.slice(0, -1) + String.fromCharCode(last + 1);
}
