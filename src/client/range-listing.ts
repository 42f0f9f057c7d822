/**
 * The records of a range, read page by page while somebody iterates. All pages show one revision,
 * that of the first: the cursor carries it, and any node continues it.
 */
import type {Caller} from './call.ts';
import {
  queryOf,
  rangeQuery,
  type Consistency,
  type GetOptions,
  type KeyRange,
} from './kv-requests.ts';
import {
  asObject,
  booleanField,
  integerField,
  KvRecord,
  listField,
  parseObject,
  textField,
} from './record.ts';

export interface ListOptions extends GetOptions {
  /** Records a page, 1 to 10,000; default 1000. An answer also ends at 8 MiB. */
  readonly pageSize?: number | undefined;
  /** From the last key to the first. */
  readonly reverse?: boolean | undefined;
  /** Records without values. */
  readonly keysOnly?: boolean | undefined;
  /** Default: linearizable. Pages after the first show the revision of the first in any case. */
  readonly consistency?: Consistency | undefined;
}

export interface RangePage {
  readonly records: readonly KvRecord[];
  /** Of the state that all pages show. */
  readonly revision: number;
  /** There are more pages. */
  readonly more: boolean;
}

export class RangeListing implements AsyncIterable<KvRecord> {
  readonly #caller: Caller;
  readonly #range: KeyRange;
  readonly #options: ListOptions;

  constructor(caller: Caller, range: KeyRange, options: ListOptions) {
    this.#caller = caller;
    this.#range = range;
    this.#options = options;
  }

  /**
   * Records in byte order. Each iteration reads anew. Rejects with REVISION_COMPACTED when the
   * revision of the first page has been compacted meanwhile.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<KvRecord, void, undefined> {
    for await (const page of this.pages()) yield* page.records;
  }

  /** At least one page, also of an empty range. */
  async *pages(): AsyncGenerator<RangePage, void, undefined> {
    let target = this.#firstTarget();
    for (;;) {
      const call = {method: 'GET', target, repeat: 'freely'} as const;
      const fields = parseObject((await this.#caller.call(call, this.#options)).body);
      const more = booleanField(fields, 'more');
      yield {
        records: listField(fields, 'records').map(row => new KvRecord(asObject(row, 'a record'))),
        revision: integerField(fields, 'revision'),
        more,
      };
      if (!more) return;
      target = `/kv${queryOf([['cursor', encodeURIComponent(textField(fields, 'cursor'))]])}`;
    }
  }

  /** Everything at once, with the revision to watch from: `watch(…, {from: revision + 1})`. */
  async all(): Promise<{readonly records: readonly KvRecord[]; readonly revision: number}> {
    const records: KvRecord[] = [];
    let revision = 0;
    for await (const page of this.pages()) {
      records.push(...page.records);
      revision = page.revision;
    }
    return {records, revision};
  }

  #firstTarget(): string {
    const {revision, pageSize, reverse, keysOnly, consistency} = this.#options;
    return `/kv${queryOf([
      ...rangeQuery(this.#range),
      ['limit', pageSize],
      ['reverse', reverse === true ? 'true' : undefined],
      ['keysOnly', keysOnly === true ? 'true' : undefined],
      ['revision', revision],
      ['consistency', consistency],
    ])}`;
  }
}
