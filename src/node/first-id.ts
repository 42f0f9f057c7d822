/**
 * Ids of forwards and reads begin elsewhere in every life. The leader may still hold a request of
 * an earlier life, and its answer, sent to this one, must not pass for the answer to another: a
 * write would be acknowledged that nobody proposed.
 */
export function firstIdOf(startCount: number): number {
  return (startCount % 2 ** 20) * 2 ** 32 + 1;
}
