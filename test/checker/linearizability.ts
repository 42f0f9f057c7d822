/**
 * Is a history of one plain register per key linearizable? Keys are independent of each other and
 * are searched apart (search.ts).
 *
 * A history is what clients saw. Values of writes are unique within their key (null: the key is
 * absent). A write whose outcome is unknown has no return. Knows nothing of the program under test.
 */
import type {Call, Finding, Model} from './search.ts';
import {explain, judge} from './search.ts';

export interface Operation {
  readonly key: string;
  readonly type: 'read' | 'write';
  /** What was written or read; null: absent. */
  readonly value: string | null;
  /** Positions in one total order of all calls and returns; every number occurs once. */
  readonly calledAt: number;
  /** Infinity: the outcome is unknown. Reads without a return are left out of a history. */
  readonly returnedAt: number;
  /** Where it came from, for the report only. */
  readonly label?: string;
}

export interface Violation {
  readonly key: string;
  /** The operations of the shortest prefix that has no legal order, by call. */
  readonly prefix: readonly Operation[];
}

/**
 * Null when every key's history is linearizable; otherwise the first key that is not. Throws when
 * a history cannot be decided within the search's limits.
 */
export function findViolation(history: readonly Operation[]): Violation | null {
  for (const [key, operations] of byKey(history)) {
    const finding = decided(explain(registerModel, operations.map(toCall)), key);
    if (finding.verdict === 'illegal') {
      return {key, prefix: finding.prefix.map(call => toOperation(key, call))};
    }
  }
  return null;
}

/** A table of the last operations of a violation, for a person to read. */
export function describeViolation(violation: Violation): string {
  const lines = violation.prefix.slice(-24).map(operation => {
    const span = `${operation.calledAt}..${operation.returnedAt}`.padEnd(20);
    return `  ${span} ${operation.type} ${operation.value ?? '(absent)'} ${operation.label ?? ''}`;
  });
  const count = violation.prefix.length;
  return `key ${violation.key} is not linearizable, ${count} operations:\n${lines.join('\n')}`;
}

/** One key, starting absent. Throws when it cannot be decided within the search's limits. */
export function isRegisterLinearizable(operations: readonly Operation[]): boolean {
  const verdict = judge(registerModel, operations.map(toCall));
  if (verdict === 'unknown') throw new Error(undecided(operations[0]?.key ?? ''));
  return verdict === 'ok';
}

/** The operations of each key, in the order of the history. */
export function byKey<T extends {readonly key: string}>(history: readonly T[]): Map<string, T[]> {
  const keys = new Map<string, T[]>();
  for (const operation of history) {
    const operations = keys.get(operation.key);
    if (operations === undefined) keys.set(operation.key, [operation]);
    else operations.push(operation);
  }
  return keys;
}

type RegisterInput = Pick<Operation, 'type' | 'value'>;
/** What was read is in the input: a plain register's answers say nothing else. */
type RegisterCall = Call<RegisterInput, true>;

const registerModel: Model<{readonly value: string | null}, RegisterInput, true> = {
  initial: {value: null},
  step: (state, input) => (input.type === 'write' || input.value === state.value ? input : null),
  describe: ({value}) => (value === null ? '(absent)' : `=${value}`),
  isRead: input => input.type === 'read',
  prepare: boundUnknownWrites,
};

/**
 * Keeps the search small without changing its verdict: a write of unknown outcome that nobody read
 * can be left out, and one that was read took effect before the first such read returned.
 */
function boundUnknownWrites(calls: readonly RegisterCall[]): RegisterCall[] {
  const firstReadOf = new Map<string, number>();
  for (const {input, returnedAt} of calls) {
    if (input.type !== 'read' || input.value === null) continue;
    const {value} = input;
    firstReadOf.set(value, Math.min(firstReadOf.get(value) ?? Infinity, returnedAt));
  }
  const bounded: RegisterCall[] = [];
  for (const call of calls) {
    const {type, value} = call.input;
    if (type === 'read' || call.returnedAt !== Infinity || value === null) {
      bounded.push(call);
      continue;
    }
    const readAt = firstReadOf.get(value);
    // The same instant as the read's return, just before it.
    if (readAt !== undefined) bounded.push({...call, returnedAt: readAt - 0.5});
  }
  return bounded;
}

function toCall({type, value, calledAt, returnedAt, label}: Operation): RegisterCall {
  return {input: {type, value}, output: true, calledAt, returnedAt, label};
}

function toOperation(key: string, {input, calledAt, returnedAt, label}: RegisterCall): Operation {
  return {key, ...input, calledAt, returnedAt, ...(label === undefined ? {} : {label})};
}

function decided<Input, Output>(
  finding: Finding<Input, Output>,
  key: string,
): Finding<Input, Output> {
  if (finding.verdict === 'unknown') throw new Error(undecided(key));
  return finding;
}

function undecided(key: string): string {
  return `the history of key ${key} cannot be judged within the limits of the search`;
}
