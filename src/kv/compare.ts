/**
 * Whether a condition of a transaction holds. A range holds when each of its keys does; a range
 * without keys is judged like an absent key, as in etcd.
 */
import {unreachable} from '../base/assert.ts';
import {compareBytes} from '../base/bytes.ts';
import type {Compare, CompareOperator} from './command.ts';

/** Of a key that exists; null stands for an absent one. */
interface ComparedRecord {
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly leaseId: number;
  readonly value: Uint8Array;
}

export function compareHolds(compare: Compare, record: ComparedRecord | null): boolean {
  const {target, operator} = compare;
  switch (target.type) {
    case 'value':
      return record !== null && orderHolds(operator, compareBytes(record.value, target.value));
    case 'version':
      return orderHolds(operator, (record?.version ?? 0) - target.value);
    case 'createRevision':
      return orderHolds(operator, (record?.createRevision ?? 0) - target.value);
    case 'modRevision':
      return orderHolds(operator, (record?.modRevision ?? 0) - target.value);
    case 'lease':
      return orderHolds(operator, (record?.leaseId ?? 0) - target.value);
    default:
      return unreachable(target);
  }
}

/** `order`: negative when the record's side is smaller. */
function orderHolds(operator: CompareOperator, order: number): boolean {
  switch (operator) {
    case '=':
      return order === 0;
    case '!=':
      return order !== 0;
    case '<':
      return order < 0;
    case '>':
      return order > 0;
    default:
      return unreachable(operator);
  }
}
