/** Rows as a version wrote them whose events carry no before images: docs/formats.md, "Meta". */
import {must} from '../../src/base/assert.ts';
import {metaKey} from '../../src/kv/tables.ts';
import type {SmallLimits} from '../sim/small-limits.ts';
import type {FakeRows} from './fake-rows.ts';

/** With them nothing is far and nothing large. */
export const withoutImages: SmallLimits = {
  nearRevisionCount: Number.MAX_SAFE_INTEGER,
  beforeImageSizeBytesMax: Number.MAX_SAFE_INTEGER,
};

/** What the second version of the meta row has behind all that the first has. */
const addedSizeBytes = 8 + 4 + 8;

/** Of rows whose meta was saved. */
export function makeMetaOlder(rows: FakeRows): void {
  const meta = must(rows.get(metaKey), 'a saved meta');
  const older = Buffer.from(meta.subarray(0, meta.length - addedSizeBytes));
  older[0] = 1;
  rows.put(metaKey, older);
}
