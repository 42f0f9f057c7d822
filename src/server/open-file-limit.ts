/**
 * How many connections the API may have within the files that the process may open: a client must
 * not take the descriptor that the disk needs next.
 */
import fs from 'node:fs';
import {limits} from '../base/limits.ts';

export interface ConnectionAllowance {
  readonly connectionCountMax: number;
  /** One line for the log; null: there is room for all. */
  readonly warning: string | null;
}

/** `limitsText`: /proc/self/limits, where it is readable; Node has raised soft limits to hard. */
export function connectionAllowance(limitsText: string | null): ConnectionAllowance {
  const wanted = limits.httpConnectionCountMax;
  const openFileCountMax = readOpenFileLimit(limitsText ?? '');
  if (openFileCountMax === null) return {connectionCountMax: wanted, warning: null};
  const needed = wanted + limits.ownOpenFileCountMax;
  if (openFileCountMax >= needed) return {connectionCountMax: wanted, warning: null};
  const room = openFileCountMax - limits.ownOpenFileCountMax;
  const connectionCountMax = Math.max(room, Math.floor(openFileCountMax / 2));
  const warning =
    `this process may open ${openFileCountMax} files: the API takes ${connectionCountMax} ` +
    `connections instead of ${wanted}; for all of them raise the hard limit to ${needed} ` +
    '(ulimit -n, or LimitNOFILE= in a systemd unit)';
  return {connectionCountMax, warning};
}

export function readProcessLimits(): string | null {
  try {
    return fs.readFileSync('/proc/self/limits', 'latin1');
  } catch {
    return null;
  }
}

/** The soft limit; null: not stated, or none. */
function readOpenFileLimit(text: string): number | null {
  const match = /^Max open files\s+([0-9]{1,15})\s/m.exec(text);
  return match === null ? null : Number(match[1]);
}
