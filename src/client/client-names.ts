/** The public names of `rosetta/client`, the same for Node and browsers. */
export type {Outcome} from '../base/errors.ts';
export type {Bytes} from './bytes-text.ts';
export type {Client} from './client.ts';
export {ClientError, isClientError} from './client-error.ts';
export type {ClientErrorCode} from './client-error.ts';
export type {CallOptions, ConnectOptions} from './client-options.ts';
export type {MemberStatus, NodeStatus, StatusOptions} from './cluster-requests.ts';
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
export type {ListOptions, RangeListing, RangePage} from './range-listing.ts';
export type {KvRecord} from './record.ts';
