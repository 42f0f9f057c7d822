/**
 * Ids of forwards and reads begin elsewhere in every life. The leader may still hold a request of
 * an earlier life, and its answer, sent to this one, must not pass for the answer to another: a
 * write would be acknowledged that nobody proposed.
 */
const idCount = 2 ** 52;
const idsOfLife = 2 ** 32;
const digitsOfIncarnation = 13;

/**
 * Lives of one directory are 2^32 ids apart. Where the first one begins is as random as the
 * incarnation, 16 hex digits: another directory under the same name counts its starts from 1 again,
 * and two would have to begin within some thousands of 2^52 to meet. A safe integer, at least 1.
 */
export function firstIdOf(incarnation: string, startCount: number): number {
  const origin = Number.parseInt(incarnation.slice(-digitsOfIncarnation), 16);
  const life = startCount % (idCount / idsOfLife);
  return ((origin + life * idsOfLife) % idCount) + 1;
}
