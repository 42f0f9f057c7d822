/**
 * The whole store as one object: reads of ranges are atomic, and every change takes exactly the
 * next revision. The search cannot split such a history by key, so it is for small ones.
 */
import type {Model} from './search.ts';
import type {Condition, StoreInput, StoreOutput, StoreRecord} from './store-operation.ts';
import {isRead} from './store-operation.ts';

interface StoreState {
  readonly revision: number;
  /** Ascending by key. */
  readonly records: readonly StoreRecord[];
}

export const wholeStore: Model<StoreState, StoreInput, StoreOutput> = {
  initial: {revision: 1, records: []},
  step: (state, input, output) => {
    const result = perform(state, input);
    // Without an effect and without an answer it is as if it had never happened.
    if (output === undefined) return result.state === state ? null : result.state;
    return isSame(result.output, output) ? result.state : null;
  },
  isRead,
  describe: ({revision, records}) => `${revision} ${JSON.stringify(records)}`,
};

interface Result {
  readonly state: StoreState;
  readonly output: StoreOutput;
}

function perform(state: StoreState, input: StoreInput): Result {
  const {revision} = state;
  switch (input.type) {
    case 'get': {
      const record = find(state, input.key);
      if (record === undefined) return {state, output: {type: 'absent', revision}};
      return {state, output: {type: 'record', record, revision}};
    }
    case 'range': {
      const records = state.records.filter(({key}) => key.startsWith(input.prefix));
      return {state, output: {type: 'records', records, revision}};
    }
    case 'put':
      if (!holds(find(state, input.key), input.condition)) return refused(state);
      return put(state, input.key, input.value);
    case 'delete':
      if (!holds(find(state, input.key), input.condition)) return refused(state);
      return remove(state, key => key === input.key);
    case 'delete-range':
      return remove(state, key => key.startsWith(input.prefix));
  }
}

function put(state: StoreState, key: string, value: string): Result {
  const revision = state.revision + 1;
  const version = (find(state, key)?.version ?? 0) + 1;
  const others = state.records.filter(record => record.key !== key);
  const records = [...others, {key, value, modRevision: revision, version}];
  records.sort((a, b) => (a.key < b.key ? -1 : 1));
  return {state: {revision, records}, output: {type: 'written', version, revision}};
}

function remove(state: StoreState, isChosen: (key: string) => boolean): Result {
  const records = state.records.filter(({key}) => !isChosen(key));
  const count = state.records.length - records.length;
  if (count === 0) return {state, output: {type: 'deleted', count, revision: state.revision}};
  const revision = state.revision + 1;
  return {state: {revision, records}, output: {type: 'deleted', count, revision}};
}

function refused(state: StoreState): Result {
  return {state, output: {type: 'refused', revision: state.revision}};
}

function find(state: StoreState, key: string): StoreRecord | undefined {
  return state.records.find(record => record.key === key);
}

function holds(record: StoreRecord | undefined, condition: Condition | null): boolean {
  if (condition === null) return true;
  if (condition.type === 'absent') return record === undefined;
  if (condition.type === 'exists') return record !== undefined;
  return record?.modRevision === condition.revision;
}

function isSame(a: StoreOutput, b: StoreOutput): boolean {
  if (a.type === 'record' && b.type === 'record') {
    return a.revision === b.revision && isSameRecord(a.record, b.record);
  }
  if (a.type === 'records' && b.type === 'records') {
    return (
      a.revision === b.revision &&
      a.records.length === b.records.length &&
      a.records.every((row, i) => isSameRecord(row, b.records[i]))
    );
  }
  return JSON.stringify(a) === JSON.stringify(b, Object.keys(a));
}

function isSameRecord(a: StoreRecord, b: StoreRecord | undefined): boolean {
  return (
    a.key === b?.key &&
    a.value === b.value &&
    a.modRevision === b.modRevision &&
    a.version === b.version
  );
}
