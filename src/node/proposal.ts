/** A write on its way into the log, wherever it was asked for and whoever proposes it. */
import type {ProposeCallback} from './service.ts';

export interface Proposal {
  readonly command: Uint8Array;
  /** Monotonic clock. */
  readonly deadlineMs: number;
  readonly callback: ProposeCallback;
}
