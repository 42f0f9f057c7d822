/** The exit code of a process that a signal has ended, as shells have it. */
import os from 'node:os';

export function exitCodeOf(signal: NodeJS.Signals): number {
  return 128 + os.constants.signals[signal];
}
