/** Leases by their id, whoever granted them. */
import type {Caller} from './call.ts';
import type {CallOptions} from './client-options.ts';
import {queryOf, type DeleteResult} from './kv-requests.ts';
import {
  asObject,
  booleanField,
  integerField,
  listField,
  numberField,
  parseObject,
  textField,
} from './record.ts';

export interface LeaseSummary {
  readonly id: string;
  /** Seconds, as granted. */
  readonly ttl: number;
}

/** All leases, by id, page by page; at least one page. */
export async function* listLeases(
  caller: Caller,
  options: CallOptions,
): AsyncGenerator<readonly LeaseSummary[], void, undefined> {
  let after: string | undefined;
  for (;;) {
    const target = `/lease${queryOf([['after', after]])}`;
    const answer = await caller.call({method: 'GET', target, repeat: 'freely'}, options);
    const fields = parseObject(answer.body);
    const leases = listField(fields, 'leases').map(row => {
      const lease = asObject(row, 'a lease');
      return {id: textField(lease, 'id'), ttl: numberField(lease, 'ttl')};
    });
    yield leases;
    after = leases.at(-1)?.id;
    if (!booleanField(fields, 'more') || after === undefined) return;
  }
}

export async function keepLeaseAlive(
  caller: Caller,
  id: string,
  options: CallOptions,
): Promise<LeaseSummary> {
  const target = `/lease/${encodeURIComponent(id)}/keepalive`;
  const answer = await caller.call({method: 'POST', target, repeat: 'freely'}, options);
  const fields = parseObject(answer.body);
  return {id: textField(fields, 'id'), ttl: numberField(fields, 'ttl')};
}

export async function revokeLease(
  caller: Caller,
  id: string,
  options: CallOptions,
): Promise<DeleteResult> {
  const target = `/lease/${encodeURIComponent(id)}`;
  const answer = await caller.call({method: 'DELETE', target, repeat: 'with-key'}, options);
  const fields = parseObject(answer.body);
  return {deleted: integerField(fields, 'deleted'), revision: integerField(fields, 'revision')};
}
