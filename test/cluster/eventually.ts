/** Waiting for what another process does: looked at often, with a deadline that names the thing. */

const intervalMs = 15;

/**
 * The first result of `look` that is not null. Errors of `look` count as "not yet"; the last one
 * is told when the deadline passes.
 */
export async function eventually<T>(
  what: string,
  deadlineMs: number,
  look: () => T | null | Promise<T | null>,
): Promise<T> {
  const startedAt = performance.now();
  let lastError: unknown;
  for (;;) {
    try {
      const result = await look();
      if (result !== null) return result;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() - startedAt > deadlineMs) {
      const reason = lastError instanceof Error ? `: ${lastError.message}` : '';
      throw new Error(`waited ${deadlineMs} ms in vain for ${what}${reason}`);
    }
    await pause(intervalMs);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
