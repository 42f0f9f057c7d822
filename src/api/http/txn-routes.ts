/** POST /txn: compares, then one of two lists of operations, all of it or nothing, one revision. */
import {assert, must} from '../../base/assert.ts';
import type {Operation, Transaction} from '../../kv/command.ts';
import type {CommandResult, OperationResult} from '../../kv/result.ts';
import {refuseConditions} from './conditions.ts';
import type {Exchange} from './exchange.ts';
import {checkIdempotencyKey, idempotencyHeaders} from './idempotency-header.ts';
import {deletedJson, jsonBodyLimit, propose} from './kv-routes.ts';
import {
  idempotencyErrors,
  jsonBodyErrors,
  keyErrors,
  proposalErrors,
  storeAnswer,
  type RouteOperation,
} from './route-operation.ts';
import {parameterSet} from './parameter.ts';
import {timeoutParameter} from './query-parameters.ts';
import {keyFields, putJson, recordJson} from './record-json.ts';
import {readBody} from './request-body.ts';
import {readTransaction, transactionFields} from './txn-request.ts';

const transactionParameters = parameterSet(timeoutParameter);

export const transact: RouteOperation = {
  id: 'transact',
  summary: 'Compares, then performs success or failure: all of it or nothing, at one revision',
  handle: handleTransaction,
  parameters: transactionParameters,
  headers: idempotencyHeaders,
  body: transactionFields,
  answers: [storeAnswer('TransactionResult', 'Which list was performed, and its results')],
  errors: [
    ...proposalErrors,
    ...idempotencyErrors,
    ...jsonBodyErrors,
    ...keyErrors,
    'DUPLICATE_KEY',
    'LEASE_NOT_FOUND',
    'VALUE_TOO_LARGE',
    'TOO_MANY_KEYS',
  ],
};

function handleTransaction(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(transactionParameters).timeoutMs();
  checkIdempotencyKey(exchange.headers.idempotencyKey);
  refuseConditions(exchange.headers);
  readBody(exchange, jsonBodyLimit, body => {
    const transaction = readTransaction(body);
    if (mayAnswerMuch(transaction)) exchange.requireRoom();
    // Keys and values may be views of the body, which nobody keeps until the answer.
    const named = {success: namesOf(transaction.success), failure: namesOf(transaction.failure)};
    propose(exchange, transaction, timeoutMs, answer => {
      assert(answer.type === 'transaction', 'a transaction was answered by %', answer.type);
      if (answer.results.every(({type}) => type === 'get')) exchange.changedNothing();
      const names = answer.succeeded ? named.success : named.failure;
      exchange.sendJson(200, answerJson(names, answer), answer.revision);
    });
  });
}

/** Whether values may come back. Once it has happened its answer is sent, whatever its size. */
function mayAnswerMuch({success, failure}: Transaction): boolean {
  return [success, failure].some(list => list.some(({type}) => type === 'get'));
}

/** Of each put the keyFields of its key; null for what names no key in its result. */
function namesOf(operations: readonly Operation[]): readonly (string | null)[] {
  return operations.map(operation => (operation.type === 'put' ? keyFields(operation.key) : null));
}

/** `names`: of the operations that were done. */
function answerJson(
  names: readonly (string | null)[],
  {succeeded, revision, results}: Extract<CommandResult, {type: 'transaction'}>,
): string {
  assert(results.length === names.length, '% results', results.length);
  const texts = results.map((result, i) => resultJson(names[i] ?? null, result, revision));
  return `{"succeeded":${succeeded},"revision":${revision},"results":[${texts.join(',')}]}`;
}

/** As the body of the single request; a get of nothing has none. */
function resultJson(name: string | null, result: OperationResult, revision: number): string {
  switch (result.type) {
    case 'put':
      return putJson(must(name, 'a put was answered by put'), revision, result.version);
    case 'get':
      return result.record === null ? 'null' : recordJson(result.record, {keysOnly: false});
    case 'delete':
      return deletedJson(result.deletedCount, revision);
    case 'range':
    case 'transaction':
      assert(false, 'this door asks for no %', result.type);
  }
}
