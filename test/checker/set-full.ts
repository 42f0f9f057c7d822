/**
 * A set to which unique elements are added and which is read as a whole. No acknowledged element
 * may be missing from a read that began later, none that was read may vanish, none may come from
 * nowhere, and any two reads saw states of one growing set. Knows nothing of the program.
 */

export interface SetAdd {
  readonly element: string;
  /** Positions in one total order of all calls and returns. */
  readonly calledAt: number;
  /** Infinity: the outcome is unknown. Adds that certainly failed are left out. */
  readonly returnedAt: number;
}

export interface SetRead {
  readonly elements: ReadonlySet<string>;
  readonly calledAt: number;
  readonly returnedAt: number;
  readonly label?: string;
}

/** Null: all is well; otherwise the first thing that is not. */
export function findSetAnomaly(adds: readonly SetAdd[], reads: readonly SetRead[]): string | null {
  const byReturn = [...reads].sort((a, b) => a.returnedAt - b.returnedAt);
  const addedAt = new Map(adds.map(({element, calledAt}) => [element, calledAt]));
  /** From when on every read must see the element, and why. */
  const due = new Map<string, {readonly at: number; readonly why: string}>();
  for (const {element, returnedAt} of adds) {
    if (returnedAt !== Infinity) due.set(element, {at: returnedAt, why: 'was acknowledged'});
  }
  for (const read of byReturn) {
    for (const element of read.elements) {
      const calledAt = addedAt.get(element);
      if (calledAt === undefined) return `${element} was never added, but ${describe(read)} saw it`;
      if (calledAt > read.returnedAt) {
        return `${element} was added at ${calledAt}, after ${describe(read)} saw it`;
      }
      const known = due.get(element);
      if (known === undefined || known.at > read.returnedAt) {
        due.set(element, {at: read.returnedAt, why: `was seen by ${describe(read)}`});
      }
    }
  }
  return findMissing(reads, due) ?? findDisagreement(reads);
}

function findMissing(
  reads: readonly SetRead[],
  due: ReadonlyMap<string, {readonly at: number; readonly why: string}>,
): string | null {
  const ascending = [...due].sort(([, a], [, b]) => a.at - b.at);
  for (const read of reads) {
    for (const [element, {at, why}] of ascending) {
      if (at > read.calledAt) break;
      if (read.elements.has(element)) continue;
      return `${element} ${why} at ${at}, and is missing from ${describe(read)}`;
    }
  }
  return null;
}

/** States of one growing set contain each other. */
function findDisagreement(reads: readonly SetRead[]): string | null {
  const bySize = [...reads].sort((a, b) => a.elements.size - b.elements.size);
  for (const [i, read] of bySize.entries()) {
    const next = bySize[i + 1];
    if (next === undefined) continue;
    for (const element of read.elements) {
      if (next.elements.has(element)) continue;
      return `${describe(read)} saw ${element}, ${describe(next)} saw others and not this one`;
    }
  }
  return null;
}

function describe({calledAt, returnedAt, elements, label}: SetRead): string {
  const where = label === undefined ? '' : ` ${label}`;
  return `the read ${calledAt}..${returnedAt}${where} of ${elements.size} elements`;
}
