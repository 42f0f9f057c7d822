/** All rows of a store into a member that is being prepared, a bounded piece a transaction. */
import {keySuccessor} from '../base/bytes.ts';
import type {RowReader} from '../kv/rows.ts';
import type {PreparedMember} from './prepared-member.ts';

/** The rows of one transaction: LMDB keeps all pages that it changes in memory. */
const transactionRowCountMax = 4_096;
/** And their bytes, the row that reaches it included. */
const transactionSizeBytesMax = 4 * 1024 * 1024;
const firstRowKey = Uint8Array.of(1);
const rowKeysEnd = Uint8Array.of(0xff);

export function copyRows(
  source: Pick<RowReader, 'scan'>,
  target: Pick<PreparedMember, 'transaction' | 'addRow'>,
): void {
  let start: Uint8Array = firstRowKey;
  let isAtEnd = false;
  while (!isAtEnd) {
    isAtEnd = true;
    let count = 0;
    let sizeBytes = 0;
    let last = start;
    target.transaction(() => {
      source.scan({start, end: rowKeysEnd, isReverse: false}, (rowKey, value) => {
        target.addRow(rowKey, value);
        last = Uint8Array.from(rowKey);
        count += 1;
        sizeBytes += rowKey.length + value.length;
        isAtEnd = count < transactionRowCountMax && sizeBytes < transactionSizeBytesMax;
        return isAtEnd;
      });
    });
    start = keySuccessor(last);
  }
}
