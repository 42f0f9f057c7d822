/** What clients ask of a store and what it answers, as the models and the reports see it. */
import type {Call} from './search.ts';

export type Condition =
  | {readonly type: 'revision'; readonly revision: number}
  | {readonly type: 'exists'}
  | {readonly type: 'absent'};

export type StoreInput =
  | {readonly type: 'get'; readonly key: string}
  | {
      readonly type: 'put';
      readonly key: string;
      readonly value: string;
      readonly condition: Condition | null;
    }
  | {readonly type: 'delete'; readonly key: string; readonly condition: Condition | null}
  /** All keys that begin with the prefix, at one instant. */
  | {readonly type: 'range'; readonly prefix: string}
  | {readonly type: 'delete-range'; readonly prefix: string};

export interface StoreRecord {
  readonly key: string;
  readonly value: string;
  readonly modRevision: number;
  readonly version: number;
}

/** `revision`: of the state that was read, or that the write made. */
export type StoreOutput =
  | {readonly type: 'record'; readonly record: StoreRecord; readonly revision: number}
  | {readonly type: 'absent'; readonly revision: number}
  | {readonly type: 'written'; readonly version: number; readonly revision: number}
  | {readonly type: 'deleted'; readonly count: number; readonly revision: number}
  /** The condition did not hold. */
  | {readonly type: 'refused'; readonly revision: number}
  | {
      readonly type: 'records';
      readonly records: readonly StoreRecord[];
      readonly revision: number;
    };

export type StoreCall = Call<StoreInput, StoreOutput>;

export function isRead(input: StoreInput): boolean {
  return input.type === 'get' || input.type === 'range';
}

/** One line per call: when, what was asked, what was answered. */
export function describeCalls(calls: readonly StoreCall[], lineCountMax = 40): string {
  const lines = calls.slice(-lineCountMax).map(call => {
    const span = `${call.calledAt}..${call.returnedAt}`.padEnd(16);
    const asked = describeInput(call.input).padEnd(36);
    const answered = call.output === undefined ? 'unknown' : describeOutput(call.output);
    return `  ${span} ${asked} -> ${answered.padEnd(36)} ${call.label ?? ''}`.trimEnd();
  });
  const hiddenCount = calls.length - lines.length;
  return [...(hiddenCount > 0 ? [`  … ${hiddenCount} before`] : []), ...lines].join('\n');
}

function describeInput(input: StoreInput): string {
  if (input.type === 'get') return `get ${input.key}`;
  if (input.type === 'range' || input.type === 'delete-range') {
    return `${input.type} ${input.prefix}`;
  }
  const what = input.type === 'put' ? `put ${input.key} = ${input.value}` : `delete ${input.key}`;
  const {condition} = input;
  if (condition === null) return what;
  if (condition.type === 'revision') return `${what} if at ${condition.revision}`;
  return `${what} if ${condition.type}`;
}

function describeOutput(output: StoreOutput): string {
  const at = `(store at ${output.revision})`;
  switch (output.type) {
    case 'record':
      return `${describeRecord(output.record)} ${at}`;
    case 'records': {
      const rows = output.records.map(row => `${row.key}: ${describeRecord(row)}`);
      return `[${rows.join(', ')}] ${at}`;
    }
    case 'written':
      return `written, revision ${output.revision} version ${output.version}`;
    case 'deleted':
      return `deleted ${output.count} ${at}`;
    case 'absent':
    case 'refused':
      return `${output.type} ${at}`;
  }
}

function describeRecord({value, modRevision, version}: StoreRecord): string {
  return `${value} @${modRevision} v${version}`;
}
