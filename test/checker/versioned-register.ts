/**
 * One key of a store with revisions, conditional writes and deletes, judged by itself. Revisions
 * belong to the whole store, so of one key it is only known that they rise; the revision of a write
 * nobody saw the answer of is not known at all, and is narrowed by what later calls saw.
 */
import type {Model} from './search.ts';
import {explain} from './search.ts';
import type {SearchLimits, Verdict} from './search.ts';
import type {
  Condition,
  StoreCall,
  StoreInput,
  StoreOutput,
  StoreRecord,
} from './store-operation.ts';
import {describeCalls, isRead} from './store-operation.ts';

interface KeyState {
  /** Null: absent. */
  readonly value: string | null;
  /** Changes since the key was created; 0 when absent. */
  readonly version: number;
  /** Revision of the last change: min <= it <= max, and none of `not`, which is ascending. */
  readonly min: number;
  readonly max: number;
  readonly not: readonly number[];
  /** The store had reached this revision. Invariant: >= min. */
  readonly storeAtLeast: number;
}

export const emptyStoreRevision = 1;

export const versionedRegister: Model<KeyState, StoreInput, StoreOutput> = {
  initial: {
    value: null,
    version: 0,
    min: emptyStoreRevision,
    max: emptyStoreRevision,
    not: [],
    storeAtLeast: emptyStoreRevision,
  },
  step,
  isRead,
  describe: ({value, version, min, max, not, storeAtLeast}) =>
    `${value === null ? 'absent' : `'${value}' v${version}`} changed at ` +
    `${min === max ? min : `${min}..${max}`}${not.length === 0 ? '' : ` not ${not.join()}`}, ` +
    `store at ${storeAtLeast} or later`,
  prepare: boundSeenWrites,
};

/** A verdict on each key; text of the first that is illegal, or '' when none is. */
export function judgeKeys(
  histories: ReadonlyMap<string, readonly StoreCall[]>,
  limits?: SearchLimits,
): {readonly verdict: Verdict; readonly text: string} {
  const undecided: string[] = [];
  for (const [key, calls] of histories) {
    const {verdict, prefix, reached} = explain(versionedRegister, calls, limits);
    if (verdict === 'unknown') undecided.push(key);
    if (verdict !== 'illegal') continue;
    const text =
      `key ${key} is not linearizable; the first ${prefix.length} calls have no legal order:\n` +
      `${describeCalls(prefix)}\n  the longest order ends with: ${reached}`;
    return {verdict, text};
  }
  if (undecided.length === 0) return {verdict: 'ok', text: ''};
  return {verdict: 'unknown', text: `not judged within the limits: ${undecided.join(', ')}`};
}

function step(
  state: KeyState,
  input: StoreInput,
  output: StoreOutput | undefined,
): KeyState | null {
  switch (input.type) {
    case 'get':
      if (output?.type === 'record') return seen(state, output.record, output.revision);
      if (output?.type === 'absent' && state.value === null) return at(state, output.revision);
      return null;
    case 'put':
    case 'delete':
      return change(state, input, output);
    case 'range':
    case 'delete-range':
      // Of more than one key: for the model of the whole store.
      return null;
  }
}

function change(
  state: KeyState,
  input: Extract<StoreInput, {type: 'put' | 'delete'}>,
  output: StoreOutput | undefined,
): KeyState | null {
  if (output?.type === 'refused') {
    const refused = contradicts(state, input.condition);
    return refused === null ? null : at(refused, output.revision);
  }
  const met = meets(state, input.condition);
  if (met === null) return null;
  if (input.type === 'put') {
    if (output !== undefined && output.type !== 'written') return null;
    if (output !== undefined && output.version !== met.version + 1) return null;
    return changed(met, input.value, output?.revision);
  }
  if (output !== undefined && output.type !== 'deleted') return null;
  const count = state.value === null ? 0 : 1;
  // A delete of nothing that nobody heard of is one that never happened.
  if (output === undefined) return count === 0 ? null : changed(met, null, undefined);
  if (output.count !== count) return null;
  return count === 0 ? at(met, output.revision) : changed(met, null, output.revision);
}

function changed(
  state: KeyState,
  value: string | null,
  revision: number | undefined,
): KeyState | null {
  const next = Math.max(state.storeAtLeast, state.min) + 1;
  if (revision !== undefined && revision < next) return null;
  const version = value === null ? 0 : state.version + 1;
  if (revision === undefined) {
    return {value, version, min: next, max: Infinity, not: [], storeAtLeast: next};
  }
  return {value, version, min: revision, max: revision, not: [], storeAtLeast: revision};
}

/** Null: the condition cannot hold. Otherwise what is known once it held. */
function meets(state: KeyState, condition: Condition | null): KeyState | null {
  if (condition === null) return state;
  if (condition.type === 'absent') return state.value === null ? state : null;
  if (state.value === null) return null;
  return condition.type === 'exists' ? state : pin(state, condition.revision);
}

/** Null: the condition must hold. Otherwise what is known once it did not. */
function contradicts(state: KeyState, condition: Condition | null): KeyState | null {
  if (condition === null) return null;
  if (condition.type === 'absent') return state.value === null ? null : state;
  if (state.value === null) return state;
  return condition.type === 'exists' ? null : exclude(state, condition.revision);
}

function seen(state: KeyState, record: StoreRecord, revision: number): KeyState | null {
  if (state.value !== record.value || state.version !== record.version) return null;
  const pinned = pin(state, record.modRevision);
  return pinned === null ? null : at(pinned, revision);
}

/** The store was at this revision, the key's last change not later. */
function at(state: KeyState, revision: number): KeyState | null {
  if (revision < state.storeAtLeast) return null;
  return narrowed({...state, max: Math.min(state.max, revision), storeAtLeast: revision});
}

function pin(state: KeyState, revision: number): KeyState | null {
  const {min, max, not} = state;
  if (revision < min || revision > max || not.includes(revision)) return null;
  const storeAtLeast = Math.max(state.storeAtLeast, revision);
  return {...state, min: revision, max: revision, not: [], storeAtLeast};
}

function exclude(state: KeyState, revision: number): KeyState | null {
  if (revision < state.min || revision > state.max || state.not.includes(revision)) return state;
  return narrowed({...state, not: [...state.not, revision].sort((a, b) => a - b)});
}

/** The one form of what is known, so that equal knowledge has equal texts. */
function narrowed(state: KeyState): KeyState | null {
  let {min, max} = state;
  while (state.not.includes(min)) min++;
  while (max !== Infinity && state.not.includes(max)) max--;
  if (min > max) return null;
  const not = state.not.filter(revision => revision > min && revision < max);
  return {...state, min, max, not, storeAtLeast: Math.max(state.storeAtLeast, min)};
}

/**
 * A put of unknown outcome whose value was read took effect before the first such read returned;
 * only for values that were put once. All those whose value nobody read put the same one: which of
 * them took effect makes no difference.
 */
function boundSeenWrites(calls: readonly StoreCall[]): readonly StoreCall[] {
  const putCounts = new Map<string, number>();
  const firstReadOf = new Map<string, number>();
  for (const {input, output, returnedAt} of calls) {
    if (input.type === 'put') putCounts.set(input.value, (putCounts.get(input.value) ?? 0) + 1);
    if (output?.type !== 'record') continue;
    const {value} = output.record;
    firstReadOf.set(value, Math.min(firstReadOf.get(value) ?? Infinity, returnedAt));
  }
  let unread: string | null = null;
  return calls.map(call => {
    if (call.input.type !== 'put' || call.returnedAt !== Infinity) return call;
    const {value} = call.input;
    const readAt = firstReadOf.get(value);
    if (readAt === undefined) {
      unread ??= value;
      return {...call, input: {...call.input, value: unread}};
    }
    // The same instant as the read's return, just before it.
    return putCounts.get(value) === 1 ? {...call, returnedAt: readAt - 0.5} : call;
  });
}
