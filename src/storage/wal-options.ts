/** Sizes and delays of the log. Production uses the limits; tests use small segments. */
import {assert} from '../base/assert.ts';
import {limits} from '../base/limits.ts';

export interface WalOptions {
  readonly segmentSizeBytes: number;
  readonly batchSizeBytesMax: number;
  /** Zeros written in one step ahead of the log. */
  readonly fillStepSizeBytes: number;
  /** A quiet log says what is durable after at most this time. */
  readonly syncMarkDelayMs: number;
  /** Between two attempts to get space. */
  readonly retryDelayMs: number;
  /** Entries kept in memory for followers and apply, counted in bytes. */
  readonly tailSizeBytesMax: number;
  /** Closed segments kept for followers behind the checkpoint. */
  readonly retentionSizeBytesMax: number;
  /** The same while a member needs them. */
  readonly heldSizeBytesMax: number;
  readonly retentionAgeMs: number;
}

export function walOptions(overrides: Partial<WalOptions> = {}): WalOptions {
  const segmentSizeBytes = overrides.segmentSizeBytes ?? limits.walSegmentSizeBytes;
  assert(segmentSizeBytes % 4096 === 0, 'segment size % is no multiple of 4096', segmentSizeBytes);
  assert(segmentSizeBytes >= 32_768, 'segment size % is below 32768', segmentSizeBytes);
  return {
    batchSizeBytesMax: limits.walBatchSizeBytesMax,
    fillStepSizeBytes: Math.min(1024 * 1024, segmentSizeBytes),
    syncMarkDelayMs: limits.walSyncMarkDelayMs,
    retryDelayMs: 250,
    tailSizeBytesMax: limits.logTailSizeBytesMax,
    retentionSizeBytesMax: limits.logRetentionSizeBytesMax,
    heldSizeBytesMax: limits.logHeldSizeBytesMax,
    retentionAgeMs: limits.logRetentionAgeMs,
    ...overrides,
    segmentSizeBytes,
  };
}
