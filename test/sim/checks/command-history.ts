/**
 * What clients saw of single keys in their transactions, as calls that the search of test/checker
 * can judge: one call for each key that was written, or only read. What nobody was told counts as
 * the model has it, without an answer.
 */
import type {Operation, Transaction} from '../../../src/kv/command.ts';
import type {CommandResult, OperationResult} from '../../../src/kv/result.ts';
import {text} from '../../contract/commands.ts';
import type {StoreCall, StoreInput, StoreOutput} from '../../checker/store-operation.ts';
import type {SentCommand} from './command-check.ts';
import {wasTold} from './command-check.ts';
import type {Expiry} from './lease-check.ts';

export interface KeyCall extends StoreCall {
  readonly key: string;
}

interface Seen {
  readonly input: StoreInput;
  readonly output: StoreOutput;
}

/** Of one that ran; none of what did nothing. */
export function keyCallsOf(sent: SentCommand): KeyCall[] {
  const {body, ran, calledAt, name, revokedKeys} = sent;
  if (ran === null) return [];
  // A retry may have been answered otherwise: what the first sending did, nobody was told.
  const isTold = wasTold(sent);
  const returnedAt = isTold ? sent.returnedAt : Infinity;
  const seen = seenBy(body.type === 'transaction' ? body : null, ran);
  for (const key of revokedKeys) noteDelete(key, 1, ran.revision, seen);
  return [...seen]
    .filter(([, {input}]) => isTold || input.type !== 'get')
    .map(([key, {input, output}]) => ({
      key,
      input,
      output: isTold ? output : undefined,
      calledAt,
      returnedAt,
      label: name,
    }));
}

export function keyCallsOfExpiry({keys, revision, calledAt, returnedAt}: Expiry): KeyCall[] {
  return keys.map(key => ({
    key,
    input: {type: 'delete', key, condition: null},
    output: {type: 'deleted', count: 1, revision},
    calledAt,
    returnedAt,
    label: 'end of a lease',
  }));
}

/** By key: what was done to it, or else what it was. */
function seenBy(transaction: Transaction | null, result: CommandResult): Map<string, Seen> {
  const seen = new Map<string, Seen>();
  if (transaction === null || result.type !== 'transaction') return seen;
  collect(transaction, result, result.revision, seen);
  return seen;
}

function collect(
  transaction: Transaction,
  outcome: {readonly succeeded: boolean; readonly results: readonly OperationResult[]},
  revision: number,
  seen: Map<string, Seen>,
): void {
  const operations = outcome.succeeded ? transaction.success : transaction.failure;
  for (const [i, operation] of operations.entries()) {
    const result = outcome.results[i];
    if (result === undefined) continue;
    if (operation.type === 'transaction' && result.type === 'transaction') {
      collect(operation, result, revision, seen);
    } else if (operation.type === 'delete-range' && result.type === 'delete') {
      for (const {key} of result.previous) noteDelete(text(key), 1, revision, seen);
    } else if ('key' in operation) {
      note(operation, result, revision, seen);
    }
  }
}

function note(
  operation: Extract<Operation, {readonly key: Uint8Array}>,
  result: OperationResult,
  revision: number,
  seen: Map<string, Seen>,
): void {
  const key = text(operation.key);
  if (result.type === 'put' && operation.type === 'put') {
    const input = {type: 'put', key, value: text(operation.value), condition: null} as const;
    seen.set(key, {input, output: {type: 'written', version: result.version, revision}});
  } else if (result.type === 'delete') {
    noteDelete(key, result.deletedCount, revision, seen);
  } else if (result.type === 'get' && !seen.has(key) && !key.startsWith('!')) {
    const {record} = result;
    const output: StoreOutput =
      record === null
        ? {type: 'absent', revision}
        : {type: 'record', record: {...record, key, value: text(record.value)}, revision};
    seen.set(key, {input: {type: 'get', key}, output});
  }
}

function noteDelete(key: string, count: number, revision: number, seen: Map<string, Seen>): void {
  const input = {type: 'delete', key, condition: null} as const;
  seen.set(key, {input, output: {type: 'deleted', count, revision}});
}
