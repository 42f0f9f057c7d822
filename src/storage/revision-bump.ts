/**
 * A store that begins again from an older state continues far above the revisions that its clients
 * may have seen, and everything before counts as compacted: nobody reads another state under a
 * revision that once named one, and no `If-Match` of a lost write ever holds.
 */
import {assert, must} from '../base/assert.ts';
import {copyBytes} from '../base/bytes.ts';
import {StateMeta} from '../kv/state-meta.ts';

/** At 10,000 writes a second, the writes of a day. */
export const revisionBumpDefault = 1_000_000_000;
export const revisionBumpMax = 1_000_000_000_000;

/** The meta row, `by` revisions later. Undefined stands for that of an empty store. */
export function bumpedMetaRow(metaRow: Uint8Array | undefined, by: number): Uint8Array {
  assert(by > 0 && by <= revisionBumpMax, 'a bump of %', by);
  const meta = new StateMeta();
  meta.load({get: () => metaRow});
  meta.revision += by;
  meta.compactedRevision = meta.revision;
  const rows: Uint8Array[] = [];
  meta.save({put: (_rowKey, value) => rows.push(copyBytes(value))});
  return must(rows[0], 'the meta row is written');
}
