/** What `connect` is told. Times are milliseconds. */
import type {HttpSender} from './http-sender.ts';

export interface ConnectOptions {
  /**
   * Nodes of one cluster: `http://host:port` or `host:port`, as a list or separated by commas. The
   * first that works is used; the others are tried in turn when it does not.
   */
  readonly endpoints: string | readonly string[];
  /** Deadline of a call with all its attempts, unless the call has its own: 1 to 300,000. */
  readonly timeoutMs?: number | undefined;
  /** After which an attempt is given up and the next endpoint is asked: 1 to 60,000. */
  readonly attemptTimeoutMs?: number | undefined;
  /** Closes the client when it fires. */
  readonly signal?: AbortSignal | undefined;
  /** Node only: connections kept open to one endpoint, at most; 1 to 1024. */
  readonly connectionCountMax?: number | undefined;
}

/** What every call takes. */
export interface CallOptions {
  /** Rejects the call with ABORTED; its outcome is unknown if a write was under way. */
  readonly signal?: AbortSignal | undefined;
  /** Deadline of this call with all its attempts: 1 to 300,000 ms. */
  readonly timeoutMs?: number | undefined;
}

export const clientLimits = {
  timeoutMsDefault: 10_000,
  /** Well below the age at which a server forgets an idempotency key. */
  timeoutMsMax: 300_000,
  attemptTimeoutMsDefault: 3_000,
  attemptTimeoutMsMax: 60_000,
  connectionCountDefault: 64,
  connectionCountMax: 1_024,
  /**
   * A larger answer comes from no node: the largest holds 8 MiB of values, of which JSON may write
   * each byte as six.
   */
  answerSizeBytesMax: 64 * 1024 * 1024,
  /** Characters of a line of a watch: key and value, escaped or in base64, and the former value. */
  lineSizeMax: 32 * 1024 * 1024,
} as const;

/** The surroundings: the entrances for Node and browsers differ in these alone. */
export interface Surroundings {
  readonly sender: HttpSender;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly random: () => number;
}
