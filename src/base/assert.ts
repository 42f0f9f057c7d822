/**
 * Assertions that stay on in production. A failed assertion is a programmer's error: nobody
 * catches it, the process reports it and exits. Continuing would turn a bug into lost data.
 */

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

type AssertedValue = string | number | boolean | null | undefined;

/**
 * Throws AssertionError unless `condition` holds. Each `%` of the message stands for one of the
 * values behind it: a message put together beforehand would cost more than most of what is
 * asserted, and several assertions guard every entry.
 */
export function assert(
  condition: boolean,
  message: string,
  first?: AssertedValue,
  second?: AssertedValue,
  third?: AssertedValue,
): asserts condition {
  if (!condition) throw new AssertionError(filledIn(message, [first, second, third]));
}

/**
 * Returns `value`, which the caller knows to be present; throws AssertionError if it is not. The
 * message is that of `assert`.
 */
export function must<T>(
  value: T | null | undefined,
  message: string,
  first?: AssertedValue,
  second?: AssertedValue,
  third?: AssertedValue,
): T {
  if (value === null || value === undefined) {
    throw new AssertionError(filledIn(message, [first, second, third]));
  }
  return value;
}

/** The default branch of an exhaustive switch: compiles only when every case is handled. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`);
}

function filledIn(message: string, values: readonly AssertedValue[]): string {
  let used = 0;
  return message.replaceAll('%', placeholder => {
    const value = values[used++];
    return value === undefined ? placeholder : String(value);
  });
}
