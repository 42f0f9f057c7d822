/**
 * What clients ask of the state machine, as data. A superset of etcd's Txn: every write, also a
 * plain put, is a Transaction, so that transactions, watches and leases need no new format.
 * Bytes: docs/formats.md, "Commands"; the codec is kv/command-codec.ts.
 */

/** `end` is exclusive; null: to the end of the key space. */
export interface KeyRange {
  readonly start: Uint8Array;
  readonly end: Uint8Array | null;
}

export type CompareOperator = '=' | '!=' | '<' | '>';

/** On an absent key the numeric targets are 0 and a value compare is false. */
export type CompareTarget =
  | {readonly type: 'value'; readonly value: Uint8Array}
  | {
      readonly type: 'version' | 'createRevision' | 'modRevision' | 'lease';
      readonly value: number;
    };

/** Holds when it holds for `key`, or, with `range`, for every key of the range. */
export interface Compare {
  readonly keys: {readonly key: Uint8Array} | {readonly range: KeyRange};
  readonly operator: CompareOperator;
  readonly target: CompareTarget;
}

export interface PutOperation {
  readonly type: 'put';
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** 0: none. */
  readonly leaseId: number;
  /** Lifetime of a private lease in milliseconds; 0: none. */
  readonly ttlMs: number;
  readonly ignoreValue: boolean;
  readonly ignoreLease: boolean;
  readonly wantsPrevious: boolean;
}

export interface GetOperation {
  readonly type: 'get';
  readonly key: Uint8Array;
}

export interface RangeOperation {
  readonly type: 'range';
  readonly range: KeyRange;
  /** 0: limits.rangeLimitMax. */
  readonly limit: number;
  readonly isReverse: boolean;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
}

export interface DeleteOperation {
  readonly type: 'delete';
  readonly key: Uint8Array;
  readonly wantsPrevious: boolean;
}

/** Refused with TOO_MANY_KEYS, unchanged, above limits.deleteRangeKeyCountMax keys. */
export interface DeleteRangeOperation {
  readonly type: 'delete-range';
  readonly range: KeyRange;
  readonly wantsPrevious: boolean;
}

export interface Transaction {
  readonly type: 'transaction';
  readonly compare: readonly Compare[];
  readonly success: readonly Operation[];
  readonly failure: readonly Operation[];
}

export type Operation =
  | PutOperation
  | GetOperation
  | RangeOperation
  | DeleteOperation
  | DeleteRangeOperation
  | Transaction;

/** Sets compactedRevision; rows are removed later, outside the state hash. */
export interface CompactCommand {
  readonly type: 'compact';
  readonly revision: number;
}

/** Opens or closes a session: kv/session-table.ts. */
export interface SessionCommand {
  readonly type: 'session';
  readonly action: 'open' | 'close';
  /** 1 to 64 printable ASCII characters without a slash, drawn by the door. */
  readonly id: string;
}

/** Refused with LEASE_EXISTS when another lease has the id. */
export interface LeaseGrantCommand {
  readonly type: 'lease-grant';
  /** 0: one that is free. */
  readonly id: number;
  /** At least 1. */
  readonly ttlMs: number;
}

/**
 * Removes leases and all their keys, in one revision. One alone with grant 0 is revoked whichever
 * grant it is, and refused with LEASE_NOT_FOUND when there is none; else those that are not there
 * are passed over, and so are all from the first on with which the keys would be more than
 * limits.leaseKeyCountMax.
 */
export interface LeaseRevokeCommand {
  readonly type: 'lease-revoke';
  /** At most limits.leaseRevokeCountMax. */
  readonly leases: readonly {readonly id: number; readonly grant: number}[];
}

/**
 * How long a lease still lasts, and with isKeepalive its full time anew. Only the leader knows: it
 * answers by itself, after a quorum round, and logs nothing.
 */
export interface LeaseQuery {
  readonly type: 'lease-query';
  readonly id: number;
  readonly isKeepalive: boolean;
}

export type CommandBody =
  | Transaction
  | CompactCommand
  | LeaseGrantCommand
  | LeaseRevokeCommand
  | LeaseQuery
  | SessionCommand;

/**
 * Once per key: the same key again returns the first committed answer. `fingerprint` is 16 bytes
 * of a hash of the request, so that the same key with another request is refused.
 */
export interface Idempotency {
  /** 1 to 128 printable ASCII characters. */
  readonly key: string;
  readonly fingerprint: Uint8Array;
  /** Of a session's key: the client has the answers up to this number. 0: of none. */
  readonly acknowledged: number;
}

export interface Command {
  readonly idempotency: Idempotency | null;
  readonly body: CommandBody;
}
