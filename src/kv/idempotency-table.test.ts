/** What an answer may take is known before it is there. What is kept: kv/state-machine.test.ts. */
import {ok} from 'node:assert/strict';
import {test} from 'node:test';
import {del, get, put, transaction} from '../../test/contract/commands.ts';
import type {Operation} from './command.ts';
import {answerSizeBytesMax} from './idempotency-table.ts';
import {encodeResult} from './result-codec.ts';
import type {OperationResult} from './result.ts';

test('the answer of a transaction of single keys takes no more than is said, and the values', () => {
  const valueSizeBytes = 10_000;
  const most = Number.MAX_SAFE_INTEGER;
  const key = 'k'.repeat(1024);
  const numbers = {createRevision: most, modRevision: most, version: most, leaseId: most};
  const record = {key: Buffer.from(key), value: Buffer.alloc(valueSizeBytes), ...numbers};
  const cases: readonly (readonly [Operation, OperationResult, number])[] = [
    [get(key), {type: 'get', record}, valueSizeBytes],
    [
      put(key, '', {wantsPrevious: true}),
      {type: 'put', version: most, previous: record},
      valueSizeBytes,
    ],
    [put(key, ''), {type: 'put', version: most, previous: null}, 0],
    [del(key, true), {type: 'delete', deletedCount: 1, previous: [record]}, valueSizeBytes],
    [del(key), {type: 'delete', deletedCount: 1, previous: []}, 0],
  ];
  for (const [operation, result, valueSize] of cases) {
    const count = 128;
    const body = transaction({failure: Array.from({length: count}, () => operation)});
    const results = Array.from({length: count}, () => result);
    const answer = encodeResult({type: 'transaction', revision: most, succeeded: false, results});
    ok(answer.length <= answerSizeBytesMax({idempotency: null, body}) + count * valueSize);
  }
});
