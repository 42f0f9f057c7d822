/**
 * A counter that is only ever raised by one, with retries that must not count twice. Every
 * acknowledged increment is told the value it made. Knows nothing of the program under test.
 */

export interface Increment {
  /** The value it made; null: the outcome is unknown. Those that certainly failed are left out. */
  readonly value: number | null;
  /** The value it makes if it takes effect; left out: not known. */
  readonly asked?: number;
  /** Positions in one total order of all calls and returns. */
  readonly calledAt: number;
  /** Infinity: the outcome is unknown. */
  readonly returnedAt: number;
  readonly label?: string;
}

export interface CounterRead {
  readonly value: number;
  readonly calledAt: number;
  readonly returnedAt: number;
  readonly label?: string;
}

/** Null: every increment counted once, if at all; otherwise the first thing that is wrong. */
export function findCounterAnomaly(
  increments: readonly Increment[],
  reads: readonly CounterRead[],
): string | null {
  const made = new Map<number, Increment>();
  for (const increment of increments) {
    if (increment.value === null) continue;
    const other = made.get(increment.value);
    if (other !== undefined) {
      return `two increments made ${increment.value}: ${describe(other)} and ${describe(increment)}`;
    }
    made.set(increment.value, increment);
  }
  const bounds = boundsOf(increments);
  for (const read of reads) {
    const problem = outOfBounds(read.value, read, bounds);
    if (problem !== null) return `the read ${problem}`;
  }
  for (const increment of made.values()) {
    // It counts itself, which had not returned when it was called.
    const problem = outOfBounds((increment.value ?? 0) - 1, increment, bounds, {isItself: true});
    if (problem !== null) return `the increment ${problem}`;
  }
  return findHidden(increments, reads) ?? findStep([...reads, ...made.values()]);
}

/** A value that no increment can have made, but one of those that are said to have failed. */
function findHidden(
  increments: readonly Increment[],
  reads: readonly CounterRead[],
): string | null {
  const calledAt = new Map<number, number>();
  for (const increment of increments) {
    const {asked} = increment;
    if (asked === undefined) return null;
    calledAt.set(asked, Math.min(calledAt.get(asked) ?? Infinity, increment.calledAt));
  }
  for (const read of reads) {
    if (read.value === 0 || (calledAt.get(read.value) ?? Infinity) < read.returnedAt) continue;
    return `the read ${describe(read)} found ${read.value}, which nobody had made`;
  }
  return null;
}

interface Bounds {
  /** Returns of acknowledged increments, ascending. */
  readonly returns: readonly number[];
  /** Calls of all increments, ascending. */
  readonly calls: readonly number[];
}

function boundsOf(increments: readonly Increment[]): Bounds {
  const ascending = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);
  return {
    returns: ascending(increments.filter(row => row.value !== null).map(row => row.returnedAt)),
    calls: ascending(increments.map(row => row.calledAt)),
  };
}

function outOfBounds(
  value: number,
  span: {readonly calledAt: number; readonly returnedAt: number; readonly label?: string},
  bounds: Bounds,
  {isItself} = {isItself: false},
): string | null {
  const least = countBelow(bounds.returns, span.calledAt);
  const most = countBelow(bounds.calls, span.returnedAt) - (isItself ? 1 : 0);
  if (value < least) {
    return `${describe(span)} found ${value}, but ${least} increments were acknowledged before it`;
  }
  if (value > most) {
    return `${describe(span)} found ${value}, but only ${most} increments had been asked for`;
  }
  return null;
}

/** In real time the values seen never go back. */
function findStep(
  seen: readonly {
    readonly value: number | null;
    readonly calledAt: number;
    readonly returnedAt: number;
    readonly label?: string;
  }[],
): string | null {
  const byReturn = [...seen].sort((a, b) => a.returnedAt - b.returnedAt);
  let highest = -1;
  let next = 0;
  for (const later of [...seen].sort((a, b) => a.calledAt - b.calledAt)) {
    for (let done = byReturn[next]; done !== undefined && done.returnedAt < later.calledAt;) {
      highest = Math.max(highest, done.value ?? 0);
      done = byReturn[++next];
    }
    if ((later.value ?? 0) < highest) {
      return `${describe(later)} saw ${later.value ?? 0} after ${highest} had been seen`;
    }
  }
  return null;
}

function countBelow(ascending: readonly number[], limit: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] ?? Infinity) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

function describe(span: {
  readonly calledAt: number;
  readonly returnedAt: number;
  readonly label?: string;
}): string {
  return `${span.calledAt}..${span.returnedAt} ${span.label ?? ''}`.trimEnd();
}
