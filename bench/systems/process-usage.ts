/** What the kernel says a process has used, from /proc. Null where there is no /proc. */
import {readFileSync} from 'node:fs';

/** Linux reports times in ticks of 10 ms to programs, whatever its own resolution. */
const ticksPerSecond = 100;

/** Seconds of CPU in user and kernel mode, all threads, of all processes together. */
export function cpuSeconds(pids: readonly number[]): number | null {
  let ticks = 0;
  for (const pid of pids) {
    const text = readProc(pid, 'stat');
    if (text === null) return null;
    // The second field is a name in parentheses that may hold spaces; utime is field 14.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / ticksPerSecond;
}

/** Memory that only this process holds: heap, stacks, buffers; not the mapped data file. */
export function rssAnonBytes(pid: number): number | null {
  const match = /^RssAnon:\s+(\d+) kB$/m.exec(readProc(pid, 'status') ?? '');
  return match === null ? null : Number(match[1]) * 1024;
}

function readProc(pid: number, name: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return null;
  }
}
