/**
 * What the clients saw, judged by test/checker, which knows nothing of logs, terms or positions. An
 * operation that nobody heard of again is left out when it never got into the log.
 */
import {byKey} from '../../checker/linearizability.ts';
import {judge} from '../../checker/search.ts';
import type {StoreCall, StoreInput, StoreOutput} from '../../checker/store-operation.ts';
import {describeCalls} from '../../checker/store-operation.ts';
import {judgeKeys} from '../../checker/versioned-register.ts';
import {wholeStore} from '../../checker/whole-store.ts';
import type {ClientOperation} from '../client-operation.ts';
import type {Coverage} from '../coverage.ts';
import {undecided} from '../coverage.ts';
import type {SentCommand} from './command-check.ts';
import type {KeyCall} from './command-history.ts';
import {keyCallsOf, keyCallsOfExpiry} from './command-history.ts';
import type {Expiry} from './lease-check.ts';
import {demand} from './violation.ts';

/** Steps alone: the verdict on a seed is the same on every machine. */
const limits = {stepCountMax: 200_000, timeMsMax: Infinity};
/** The whole store is judged as one object up to this many calls. */
const wholeStoreCallCountMax = 150;

/** `others`: beside the plain operations. */
export function judgeHistory(
  operations: readonly ClientOperation[],
  others: {readonly commands: ReadonlySet<SentCommand>; readonly expiries: readonly Expiry[]},
  coverage: Coverage,
): void {
  const told = operations.filter(isTold);
  const ofOthers = [
    ...[...others.commands].flatMap(keyCallsOf),
    ...others.expiries.flatMap(keyCallsOfExpiry),
  ];
  const keyCalls = [...told.flatMap(callsByKey), ...ofOthers];
  const {verdict, text} = judgeKeys(byKey(keyCalls), limits);
  coverage.count(`history of keys: ${verdict}`);
  if (verdict === 'unknown') coverage.count(undecided);
  demand(verdict !== 'illegal', 'histories are linearizable', text);
  const calls = told.map(operation => callOf(operation, operation.input, operation.output));
  // The model of the whole store knows the plain operations only.
  if (calls.length > wholeStoreCallCountMax || ofOthers.length > 0) return;
  const whole = judge(wholeStore, calls, limits);
  coverage.count(`history of the whole store: ${whole}`);
  if (whole === 'unknown') coverage.count(undecided);
  demand(whole !== 'illegal', 'histories are linearizable', () => describeCalls(calls));
}

function isTold({outcome, isLocal, position}: ClientOperation): boolean {
  if (isLocal) return false;
  if (outcome === 'done') return true;
  return (outcome === 'unknown' || outcome === 'running') && position !== null;
}

/** One call for each key that an operation is about. */
function callsByKey(operation: ClientOperation): KeyCall[] {
  const {input, output, expected} = operation;
  if (input.type === 'range') {
    if (output?.type !== 'records') return [];
    const {revision, records} = output;
    return records.map(record => ({
      ...callOf(operation, {type: 'get', key: record.key}, {type: 'record', record, revision}),
      key: record.key,
    }));
  }
  if (input.type !== 'delete-range') return [{...callOf(operation, input, output), key: input.key}];
  const revision = (output ?? expected)?.revision ?? 0;
  return operation.deletedKeys.map(key => ({
    ...callOf(
      operation,
      {type: 'delete', key, condition: null},
      output === null ? null : {type: 'deleted', count: 1, revision},
    ),
    key,
  }));
}

function callOf(
  operation: ClientOperation,
  input: StoreInput,
  output: StoreOutput | null,
): StoreCall {
  const {calledAt, returnedAt, client, position} = operation;
  return {
    input,
    output: output ?? undefined,
    calledAt,
    returnedAt,
    label: `client ${client}, position ${position ?? 0}`,
  };
}
