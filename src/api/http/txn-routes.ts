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
    propose(exchange, transaction, timeoutMs, answer => {
      assert(answer.type === 'transaction', 'a transaction was answered by %', answer.type);
      exchange.sendJson(200, answerJson(transaction, answer), answer.revision);
    });
  });
}

function answerJson(
  transaction: Transaction,
  answer: Extract<CommandResult, {type: 'transaction'}>,
): string {
  const {succeeded, revision, results} = answer;
  const operations = succeeded ? transaction.success : transaction.failure;
  assert(results.length === operations.length, '% results', results.length);
  const texts = results.map((result, i) =>
    resultJson(must(operations[i], 'an operation a result'), result, revision),
  );
  return `{"succeeded":${succeeded},"revision":${revision},"results":[${texts.join(',')}]}`;
}

/** As the body of the single request; a get of nothing has none. */
function resultJson(operation: Operation, result: OperationResult, revision: number): string {
  switch (result.type) {
    case 'put':
      assert(operation.type === 'put', 'a % was answered by put', operation.type);
      return putJson(keyFields(operation.key), revision, result.version);
    case 'get':
      return result.record === null ? 'null' : recordJson(result.record, {keysOnly: false});
    case 'delete':
      return deletedJson(result.deletedCount, revision);
    case 'range':
    case 'transaction':
      assert(false, 'this door asks for no %', result.type);
  }
}
