/** How a member behaves. Times in milliseconds, sizes in bytes. */

export interface NodeOptions {
  /** Minimum silence before a campaign; each timeout is drawn from 1 to 2 times this. */
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  /** History older than this is compacted; 0: never by age. */
  readonly historyAgeMs: number;
  /** History larger than this is compacted; 0: never by size. */
  readonly historySizeBytesMax: number;
  readonly version: string;
}

/** One tick of the protocol's clock. Timeouts are drawn in ticks, so it bounds their resolution. */
export const tickMs = 10;
