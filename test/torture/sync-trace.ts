/**
 * Lets strace fail or delay the fdatasync of a running node, and tells from what strace writes
 * down whether that happened: a fault that no sync met proves nothing.
 */
import {spawn} from 'node:child_process';
import type {ChildProcess} from 'node:child_process';
import {existsSync, readFileSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {pause} from '../cluster/eventually.ts';
import {killAtExit} from '../cluster/node-process.ts';

/** How strace marks a call whose result it made, or that it held up. */
const mark = /\((?:INJECTED|DELAYED)\)$/m;
/** The same of a file of the log, as `-y` names it. */
const markOfLog = /\/wal\/[^>\n]*>.*\((?:INJECTED|DELAYED)\)$/m;
const lookIntervalMs = 20;
const attachMsMax = 5_000;

let traceCount = 0;

/** Which sync met the fault, the log's before any other. */
export type Met = 'log' | 'other' | 'none';

interface Traced {
  readonly id: string;
  readonly pid: number;
  readonly isRunning: boolean;
}

export class SyncTrace {
  readonly #node: Traced;
  readonly #path: string;
  readonly #strace: ChildProcess;

  /** `injection` as strace's `-e inject` takes it; `directory` holds what it writes down. */
  constructor(node: Traced, directory: string, injection: string) {
    this.#node = node;
    this.#path = join(directory, `${node.id}-${++traceCount}.strace`);
    const what = ['-e', `inject=fdatasync:${injection}`];
    this.#strace = startStrace(node.pid, this.#path, what);
  }

  /** Until it has met a sync of the log, the node has ended, or the time is up. */
  async metOrEnded(msMax: number): Promise<void> {
    const endMs = performance.now() + msMax;
    while (this.#met() !== 'log' && this.#node.isRunning && performance.now() < endMs) {
      await pause(lookIntervalMs);
    }
  }

  /** No more of it. */
  async end(): Promise<Met> {
    await ended(this.#strace);
    const met = this.#met();
    rmSync(this.#path, {force: true});
    return met;
  }

  #met(): Met {
    const text = existsSync(this.#path) ? readFileSync(this.#path, 'utf8') : '';
    if (markOfLog.test(text)) return 'log';
    return mark.test(text) ? 'other' : 'none';
  }
}

/**
 * Whether this process may let strace attach to another child of its own, as it will to a node:
 * where only descendants may be traced, strace works and that does not.
 */
export async function canTrace(): Promise<boolean> {
  const child = spawn('cat', {stdio: ['pipe', 'ignore', 'ignore']});
  killAtExit(child);
  const {pid} = child;
  if (pid === undefined) return false;
  const strace = startStrace(pid, '/dev/null', []);
  const endMs = performance.now() + attachMsMax;
  let isTraced = false;
  while (!isTraced && isRunning(strace) && performance.now() < endMs) {
    await pause(lookIntervalMs);
    isTraced = !readFileSync(`/proc/${pid}/status`, 'utf8').includes('TracerPid:\t0\n');
  }
  await ended(strace);
  await ended(child);
  return isTraced;
}

function startStrace(pid: number, path: string, more: readonly string[]): ChildProcess {
  const only = ['-e', 'trace=fdatasync', ...more];
  const args = ['-f', '-y', '-qq', '-o', path, ...only, '-p', String(pid)];
  const strace = spawn('strace', args, {stdio: 'ignore'});
  // That it is not there shows in what it does not write.
  strace.on('error', () => undefined);
  killAtExit(strace);
  return strace;
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function ended(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  const exit = new Promise(resolve => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 2_000);
  await exit;
  clearTimeout(timer);
}
