/** `txn`: a transaction from a file or standard input. */
import {Buffer} from 'node:buffer';
import type {Operation, OperationResult, TransactionResult} from '../../client/transaction.ts';
import {clientFlags, withClient} from './cluster-client.ts';
import {coloursFor} from './colours.ts';
import {transactionFields} from './record-json.ts';
import {clipped, shownText} from './shown-text.ts';
import {Table} from './tables.ts';
import {readTransaction} from './transaction-request.ts';
import {readFileOrInput} from './value-source.ts';
import type {Verb, VerbInput} from './verb.ts';
import {isOn, jsonFlag} from './verb.ts';

export const txnVerb: Verb = {
  name: 'txn',
  operands: ['[FILE]'],
  summary: 'do a transaction: the JSON of POST /txn, from a file or standard input',
  flags: {...clientFlags, ...jsonFlag},
  run: txn,
};

/** As much as a node takes. */
const requestSizeBytesMax = 10 * 1024 * 1024;

async function txn(input: VerbInput): Promise<number> {
  const [file = '-'] = input.operands;
  const source = await readFileOrInput(input, file, requestSizeBytesMax);
  const transaction = readTransaction(Buffer.from(source).toString('utf8'));
  const result = await withClient(input, client => client.txn(transaction));
  const {success = [], failure = []} = transaction;
  const shown = isOn(input, 'json')
    ? `${JSON.stringify(transactionFields(result))}\n`
    : resultText(input, result, result.succeeded ? success : failure);
  input.output.print(shown);
  return result.succeeded ? 0 : 1;
}

function resultText(
  input: VerbInput,
  {succeeded, revision, results}: TransactionResult,
  operations: readonly Operation[],
): string {
  const {green, yellow, dim} = coloursFor(input);
  const verdict = succeeded
    ? green('the compares hold: success')
    : yellow('a compare does not hold: failure');
  const table = new Table([{title: '', paint: dim}, {title: ''}, {title: ''}]);
  const rows = results.map((result, i) => {
    return [result.type, keyOf(operations[i]), shownResult(result)] as const;
  });
  table.measure(rows.map(([type, key]) => [type, key]));
  const width = table.restWidth(input.output.columnCount);
  const lines = rows.map(([type, key, shown]) => [type, key, clipped(shown, width)]);
  return `${verdict}, revision ${revision}\n${table.rows(lines)}`;
}

function keyOf(operation: Operation | undefined): string {
  if (operation === undefined) return '';
  const {key} =
    'put' in operation ? operation.put : 'get' in operation ? operation.get : operation.delete;
  return shownText(typeof key === 'string' ? Buffer.from(key, 'utf8') : key);
}

function shownResult(result: OperationResult): string {
  switch (result.type) {
    case 'put':
      return result.version === 1 ? 'created' : `version ${result.version}`;
    case 'get':
      return result.record === null ? '(no such key)' : shownText(result.record.valueBytes);
    case 'delete':
      return result.deleted === 0 ? '(no such key)' : 'deleted';
  }
}
