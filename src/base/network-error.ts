/** Errors of connections, so that a person can read why. */

/** An attempt at both addresses of a name fails with an error that holds two, and no message. */
export function readableError(error: Error): Error {
  const [first] = error instanceof AggregateError ? (error.errors as Error[]) : [error];
  return first ?? error;
}
