/** Waiting for something that only asking reveals. */

/** Asks again every few milliseconds until the answer is not null; rejects after the deadline. */
export async function pollFor<T>(
  what: string,
  options: {readonly intervalMs: number; readonly deadlineMs: number},
  ask: () => Promise<T | null>,
): Promise<T> {
  const deadline = performance.now() + options.deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null) return answer;
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await delay(options.intervalMs);
  }
}

export function delay(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
