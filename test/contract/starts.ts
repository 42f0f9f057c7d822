/** Starts of a data directory that has always been the same one. */
import type {Start, StartHistory} from '../../src/storage/start-history.ts';
import {startMarkCountMax} from '../../src/storage/start-history.ts';

export function startsOf(count: number): StartHistory {
  const length = Math.min(count, startMarkCountMax);
  return {count, marks: Array.from({length}, (_, i) => markOf(count - length + 1 + i))};
}

export function startOf(count: number): Start {
  return {count, mark: markOf(count)};
}

function markOf(count: number): string {
  return count.toString(16).padStart(8, '0');
}
