/** What the state machine answers. Bytes: docs/formats.md, "Results"; codec: kv/result-codec.ts. */
import type {ErrorCode} from '../base/errors.ts';

export interface KeyRecord {
  readonly key: Uint8Array;
  /** Empty when only keys were asked for. */
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
  /** 1 for a key's first put since it was last absent. */
  readonly version: number;
  /** 0: none. */
  readonly leaseId: number;
}

export type OperationResult =
  | {
      readonly type: 'put';
      readonly version: number;
      readonly previous: KeyRecord | null;
    }
  | {readonly type: 'get'; readonly record: KeyRecord | null}
  | {
      readonly type: 'range';
      readonly records: readonly KeyRecord[];
      /** With countOnly the total, else the records here. */
      readonly count: number;
      readonly hasMore: boolean;
    }
  | {
      readonly type: 'delete';
      readonly deletedCount: number;
      /** Empty unless wantsPrevious. */
      readonly previous: readonly KeyRecord[];
    }
  | {
      readonly type: 'transaction';
      readonly succeeded: boolean;
      readonly results: readonly OperationResult[];
    };

/** `revision`: of the state this answer was made from, after the change if there was one. */
export type CommandResult =
  | {
      readonly type: 'transaction';
      readonly revision: number;
      readonly succeeded: boolean;
      readonly results: readonly OperationResult[];
    }
  | {readonly type: 'compact'; readonly revision: number; readonly compactedRevision: number}
  /** Opened, or closed. */
  | {readonly type: 'session'; readonly revision: number}
  | {
      readonly type: 'lease';
      readonly revision: number;
      readonly id: number;
      readonly ttlMs: number;
      /** As its leader measures it; of a grant all of it. */
      readonly remainingMs: number;
    }
  | {
      readonly type: 'lease-revoke';
      readonly revision: number;
      /** Keys that went with the leases. */
      readonly deletedCount: number;
    }
  | {
      /** A refusal that every replica reaches alike; nothing was changed. */
      readonly type: 'refused';
      readonly revision: number;
      readonly code: ErrorCode;
      readonly detail: string;
    };
