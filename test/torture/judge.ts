/** From the events of a history to the calls that the checkers understand, and their verdicts. */
import type {ListOperation, ListTransaction} from '../checker/append-cycles.ts';
import {findAppendAnomaly} from '../checker/append-cycles.ts';
import type {CounterRead, Increment} from '../checker/counter.ts';
import {findCounterAnomaly} from '../checker/counter.ts';
import {byKey} from '../checker/linearizability.ts';
import type {Verdict} from '../checker/search.ts';
import type {SetAdd, SetRead} from '../checker/set-full.ts';
import {findSetAnomaly} from '../checker/set-full.ts';
import type {Condition, StoreCall, StoreInput, StoreOutput} from '../checker/store-operation.ts';
import {judgeKeys} from '../checker/versioned-register.ts';
import type {HistoryEvent} from './history.ts';

export interface Judgement {
  readonly workload: string;
  readonly verdict: Verdict;
  /** What is wrong; empty when nothing is. */
  readonly text: string;
  readonly operationCount: number;
  readonly unknownCount: number;
  readonly keyCount: number;
}

/** An invocation with its answer; without one the client never heard of it again. */
interface Operation {
  readonly key: string;
  readonly invoked: HistoryEvent;
  readonly answered: HistoryEvent | null;
}

export interface SuccessCounts {
  readonly reads: number;
  readonly writes: number;
}

/**
 * Successful operations of each workload by which a run of so many seconds shows anything: a
 * history in which nothing succeeded is always legal. A tenth of what slow runs have.
 */
export function successCountMin(seconds: number): number {
  return Math.max(1, Math.floor(seconds / 9));
}

export function countSuccesses(events: readonly HistoryEvent[]): Map<string, SuccessCounts> {
  const counts = new Map<string, SuccessCounts>();
  for (const {type, f} of events) {
    if (type !== 'ok') continue;
    const [workload = '', operation] = f.split('-');
    const {reads, writes} = counts.get(workload) ?? {reads: 0, writes: 0};
    const isRead = operation === 'read';
    counts.set(workload, {reads: reads + (isRead ? 1 : 0), writes: writes + (isRead ? 0 : 1)});
  }
  return counts;
}

const searchLimits = {stepCountMax: 3_000_000, timeMsMax: Infinity};

/** One judgement per workload that left events. `f` is `<workload>-<operation>`. */
export function judgeHistory(events: readonly HistoryEvent[]): Judgement[] {
  const judges: Readonly<Record<string, (operations: readonly Operation[]) => Ruling>> = {
    register: judgeRegisters,
    set: judgeSets,
    append: judgeLists,
    counter: judgeCounters,
  };
  const all = pair(events);
  return Object.entries(judges).flatMap(([workload, judge]) => {
    const operations = all.filter(({invoked}) => invoked.f.startsWith(`${workload}-`));
    if (operations.length === 0) return [];
    return {
      workload,
      ...judge(operations),
      operationCount: operations.length,
      unknownCount: operations.filter(operation => returnOf(operation) === Infinity).length,
      keyCount: byKey(operations).size,
    };
  });
}

type Ruling = Pick<Judgement, 'verdict' | 'text'>;

function pair(events: readonly HistoryEvent[]): Operation[] {
  const open = new Map<number, HistoryEvent>();
  const operations: Operation[] = [];
  for (const event of events) {
    if (event.type === 'invoke') {
      open.set(event.process, event);
      continue;
    }
    const invoked = open.get(event.process);
    if (invoked === undefined) throw new Error(`event ${event.index} answers nothing`);
    open.delete(event.process);
    operations.push({key: invoked.key, invoked, answered: event});
  }
  for (const invoked of open.values()) operations.push({key: invoked.key, invoked, answered: null});
  return operations.sort((a, b) => a.invoked.index - b.invoked.index);
}

function returnOf({answered}: Operation): number {
  return answered === null || answered.type === 'info' ? Infinity : answered.index;
}

function labelOf({invoked}: Operation): string {
  const ms = Math.round(invoked.time / 1e6);
  return `process ${invoked.process} at ${invoked.node}, ${ms} ms, event ${invoked.index}`;
}

/** Of whatever `find` has to say about each key, the first. */
function eachKey(
  operations: readonly Operation[],
  find: (ofKey: readonly Operation[]) => string | null,
): Ruling {
  for (const [key, ofKey] of byKey(operations)) {
    const problem = find(ofKey);
    if (problem !== null) return {verdict: 'illegal', text: `${key}: ${problem}`};
  }
  return {verdict: 'ok', text: ''};
}

function judgeRegisters(operations: readonly Operation[]): Ruling {
  const calls = new Map<string, StoreCall[]>();
  for (const [key, ofKey] of byKey(operations)) calls.set(key, ofKey.flatMap(toStoreCall));
  return judgeKeys(calls, searchLimits);
}

function toStoreCall(operation: Operation): StoreCall[] {
  const {invoked, answered} = operation;
  const input = storeInput(invoked);
  const label = labelOf(operation);
  const base = {input, calledAt: invoked.index, returnedAt: returnOf(operation), label};
  if (answered?.type === 'ok') return [{...base, output: storeOutput(answered)}];
  const isRefusal = answered?.type === 'fail' && answered.error === 'PRECONDITION_FAILED';
  if (isRefusal) return [{...base, output: {type: 'refused', revision: answered.store ?? 0}}];
  const isOpen = answered === null || answered.type === 'info';
  return isOpen && input.type !== 'get' ? [{...base, output: undefined}] : [];
}

function storeInput({f, key, value, rev}: HistoryEvent): StoreInput {
  if (f === 'register-read') return {type: 'get', key};
  const condition: Condition | null =
    typeof rev === 'number'
      ? {type: 'revision', revision: rev}
      : rev === '*'
        ? {type: 'exists'}
        : rev === 'none'
          ? {type: 'absent'}
          : null;
  if (f === 'register-delete') return {type: 'delete', key, condition};
  return {type: 'put', key, value: String(value), condition};
}

function storeOutput({f, key, value, rev, version = 0, store = 0}: HistoryEvent): StoreOutput {
  if (f === 'register-write') return {type: 'written', version, revision: Number(rev)};
  if (f === 'register-delete') return {type: 'deleted', count: Number(value), revision: store};
  if (value === null) return {type: 'absent', revision: store};
  const record = {key, value: String(value), modRevision: Number(rev), version};
  return {type: 'record', record, revision: store};
}

function judgeSets(operations: readonly Operation[]): Ruling {
  return eachKey(operations, ofKey => {
    const adds: SetAdd[] = [];
    const reads: SetRead[] = [];
    for (const operation of ofKey) {
      const {invoked, answered} = operation;
      if (answered?.type === 'fail') continue;
      const span = {calledAt: invoked.index, returnedAt: returnOf(operation)};
      if (invoked.f === 'set-add') adds.push({...span, element: String(invoked.value)});
      else if (answered?.type === 'ok') {
        const elements = new Set(elementsOf(answered));
        reads.push({...span, elements, label: labelOf(operation)});
      }
    }
    return findSetAnomaly(adds, reads);
  });
}

function judgeCounters(operations: readonly Operation[]): Ruling {
  return eachKey(operations, ofKey => {
    const increments: Increment[] = [];
    const reads: CounterRead[] = [];
    for (const operation of ofKey) {
      const {invoked, answered} = operation;
      if (answered?.type === 'fail') continue;
      const label = labelOf(operation);
      const span = {calledAt: invoked.index, returnedAt: returnOf(operation), label};
      const value = answered?.type === 'ok' ? Number(answered.value) : null;
      const asked = typeof invoked.value === 'number' ? {asked: invoked.value} : {};
      if (invoked.f === 'counter-increment') increments.push({...span, value, ...asked});
      else if (value !== null) reads.push({...span, value});
    }
    return findCounterAnomaly(increments, reads);
  });
}

function judgeLists(operations: readonly Operation[]): Ruling {
  const transactions: ListTransaction[] = [];
  for (const operation of operations) {
    const {invoked, answered} = operation;
    if (answered?.type === 'fail') continue;
    // What an unanswered append had read is still what it was conditional on.
    const parts = partsOf(answered?.type === 'ok' ? answered : invoked);
    transactions.push({
      operations: parts,
      calledAt: invoked.index,
      returnedAt: returnOf(operation),
      label: labelOf(operation),
    });
  }
  const known = transactions.filter(({returnedAt, operations: parts}) => {
    return returnedAt !== Infinity || parts.some(part => part.type === 'append');
  });
  const anomaly = findAppendAnomaly(known.map(withoutUnknownReads));
  return {verdict: anomaly === null ? 'ok' : 'illegal', text: anomaly ?? ''};
}

/** Whether a transaction of unknown outcome took effect is not known, so neither are its reads. */
function withoutUnknownReads(transaction: ListTransaction): ListTransaction {
  if (transaction.returnedAt !== Infinity) return transaction;
  const operations = transaction.operations.filter(part => part.type === 'append');
  return {...transaction, operations};
}

function partsOf({value}: HistoryEvent): ListOperation[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((part: unknown): ListOperation[] => {
    if (!Array.isArray(part)) return [];
    const [verb, key, rest] = part as readonly unknown[];
    if (verb === 'append') return [{type: 'append', key: String(key), element: String(rest)}];
    const elements = Array.isArray(rest) ? rest.map(String) : [];
    return [{type: 'read', key: String(key), elements}];
  });
}

function elementsOf({value}: HistoryEvent): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
