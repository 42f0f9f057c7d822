/** The public names of `rosetta/client`, the same for Node and browsers. */
export type {Outcome} from '../base/errors.ts';
export type {Bytes} from './bytes-text.ts';
export type {Client} from './client.ts';
export {ClientError, isClientError} from './client-error.ts';
export type {ClientErrorCode} from './client-error.ts';
export type {CallOptions, ConnectOptions} from './client-options.ts';
export type {MemberStatus, NodeStatus, StatusOptions} from './cluster-requests.ts';
export type {ContendOptions} from './contender.ts';
export type {Election, Leadership} from './election.ts';
export type {
  Consistency,
  DeleteOptions,
  DeleteResult,
  GetOptions,
  KeyRange,
  PutOptions,
  PutResult,
  WriteConditions,
} from './kv-requests.ts';
export type {Lease, LeaseOptions, LeaseStatus} from './lease.ts';
export type {LeaseSummary} from './lease-requests.ts';
export type {Lock} from './lock.ts';
export type {ListOptions, RangeListing, RangePage} from './range-listing.ts';
export type {KvRecord} from './record.ts';
export type {
  Compare,
  CompareOperator,
  Operation,
  OperationResult,
  PutOperation,
  Transaction,
  TransactionResult,
} from './transaction.ts';
export type {Watch, WatchOptions, WatchRange} from './watch.ts';
export type {DeleteEvent, PutEvent, WatchEvent} from './watch-event.ts';
