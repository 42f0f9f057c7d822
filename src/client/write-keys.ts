/**
 * The name that makes a write safe to send again. Each write takes one key and sends every attempt
 * with it; a node answers all of them with the first committed answer (session.ts).
 */

export interface WriteKey {
  /** Asked anew for each attempt. */
  headers(): Readonly<Record<string, string>>;
  /** No attempt will follow: a node has answered, or the caller has given up. */
  settle(how: {readonly isAnswered: boolean}): void;
  /** The server does not know the key's session: the next key is of another one. */
  expire(): void;
}

export interface KeyOptions {
  readonly signal: AbortSignal | undefined;
  /** What is left of the write's time. */
  readonly timeoutMs: number;
}

export interface WriteKeys {
  /** Waits while too many writes are under way. Rejects with ClientError, nothing being sent. */
  take(options: KeyOptions): Promise<WriteKey>;
}
