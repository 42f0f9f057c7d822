/**
 * The name that makes a write safe to send again. Each write takes one key and sends every attempt
 * with it; the server answers all of them with the first committed answer.
 */

export interface WriteKey {
  /** Asked anew for each attempt. */
  headers(): Readonly<Record<string, string>>;
  /** No attempt will follow: the answer is here, or the caller has given up. */
  settle(): void;
}

export interface WriteKeys {
  take(signal: AbortSignal | undefined): Promise<WriteKey>;
}

/** A key of its own for each write; the server keeps it for ten minutes at least. */
export class RandomWriteKeys implements WriteKeys {
  readonly #randomId: () => string;

  constructor(randomId: () => string) {
    this.#randomId = randomId;
  }

  take(): Promise<WriteKey> {
    const headers = {'Idempotency-Key': this.#randomId()};
    return Promise.resolve({headers: () => headers, settle: () => undefined});
  }
}
