/** A write on its way into the log, wherever it was asked for and whoever proposes it. */
import type {ProposeCallback} from './service.ts';

export interface Proposal {
  readonly command: Uint8Array;
  /** Monotonic clock. */
  readonly deadlineMs: number;
  readonly callback: ProposeCallback;
  /** From another node, which is told when this one does not lead: it is not handed on again. */
  readonly isForwarded: boolean;
}
