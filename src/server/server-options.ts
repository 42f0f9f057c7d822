/** What one running member is given. Sizes in bytes, times in milliseconds. */
import type {Logger} from '../base/logger.ts';
import type {Metrics} from '../observe/metrics.ts';

export interface PeerAddress {
  readonly id: string;
  /** Raft address, `host:port`. */
  readonly address: string;
}

export interface ServerOptions {
  readonly id: string;
  /** Raft address to listen on, `host:port`. */
  readonly listen: string;
  /** API address to listen on, `host:port`. */
  readonly http: string;
  /** The other first members. */
  readonly peers: readonly PeerAddress[];
  readonly data: string;
  readonly join: string | null;
  readonly rejoin: boolean;
  readonly advertiseListen: string;
  readonly advertiseHttp: string;
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly corsOrigins: readonly string[];
  readonly historyAgeMs: number;
  readonly historySizeBytesMax: number;
  readonly walSegmentSizeBytes: number;
  readonly logRetentionSizeBytesMax: number;
  readonly version: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What the numbers among them may be, inclusive, and whole. */
export const optionRanges = {
  electionTimeoutMs: {min: 20, max: 60_000},
  heartbeatMs: {min: 10, max: 30_000},
  historyAgeMs: {min: 0, max: 10 * 365 * 86_400_000},
  historySizeBytesMax: {min: 0, max: 1024 ** 4},
} as const;

/** How a member ends by itself. At most one of them is called, once. */
export interface ServerEnds {
  /** Ends a start that still waits for the cluster; it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** It cannot go on; the process should exit with 1. */
  readonly onFatal: (error: Error) => void;
  /** The cluster has removed it; it should be stopped, and the process exit with 3. */
  readonly onRemoved: (error: Error) => void;
}

export interface RunningServer {
  /** API address with the port in use, `host:port`. */
  readonly http: string;
  /** Knows a leader and has caught up. */
  isReady(): boolean;
  /** Hands leadership over, finishes what is running, closes everything. */
  stop(): Promise<void>;
}
