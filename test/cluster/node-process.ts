/**
 * One member as a real process: started with flags, killed, paused, and read from outside. Its
 * output goes to a file, so that a kill -9 loses none of it.
 */
import {spawn} from 'node:child_process';
import type {ChildProcess} from 'node:child_process';
import {closeSync, openSync, readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {nodeProcessEnvironment, nodeProcessFlags} from '../../src/cli/node-process-settings.ts';
import {Client} from './client.ts';
import type {Status} from './client.ts';
import {eventually} from './eventually.ts';

export const mainPath = fileURLToPath(new URL('../../program/main.js', import.meta.url));

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface NodeAddresses {
  readonly id: string;
  readonly raftPort: number;
  readonly httpPort: number;
}

/** Words that only a bug of the program writes; a stack is none of the user's business either. */
const bugPattern = /uncaught|unhandled|assertion|RangeError|TypeError|^\s+at /i;
/** LMDB's native code, when it meets a damaged page. */
const foreignPattern = /liblmdb/;

const children = new Set<ChildProcess>();

// A test that ends in whatever way leaves no process behind.
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

/** Registers a child process of a test to be killed with it. */
export function killAtExit(child: ChildProcess): void {
  children.add(child);
  child.once('exit', () => children.delete(child));
}

export class NodeProcess {
  readonly id: string;
  readonly raftPort: number;
  readonly httpPort: number;
  readonly data: string;
  readonly logPath: string;
  readonly client: Client;
  /** Command to run in front of node, with its arguments. */
  readonly #wrapper: readonly string[];
  #child: ChildProcess | null = null;
  #exit: Promise<Exit> = Promise.resolve({code: null, signal: null});
  /** Length of the log when the present process started. */
  #logStart = 0;

  constructor(
    addresses: NodeAddresses,
    place: {readonly data: string; readonly logPath: string; readonly wrapper?: readonly string[]},
  ) {
    this.id = addresses.id;
    this.raftPort = addresses.raftPort;
    this.httpPort = addresses.httpPort;
    this.data = place.data;
    this.logPath = place.logPath;
    this.#wrapper = place.wrapper ?? [];
    this.client = new Client(this.httpPort);
  }

  get isRunning(): boolean {
    return this.#child !== null;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.id} is not running`);
    return pid;
  }

  /** Resolves when the process has ended. */
  get exited(): Promise<Exit> {
    return this.#exit;
  }

  start(flags: readonly string[]): void {
    if (this.#child !== null) throw new Error(`${this.id} runs already`);
    const log = openSync(this.logPath, 'a');
    this.#logStart = this.#readLog().length;
    const [command = process.execPath, ...rest] = [
      ...this.#wrapper,
      process.execPath,
      ...nodeProcessFlags,
      mainPath,
      ...flags,
    ];
    const child = spawn(command, rest, {
      stdio: ['ignore', log, log],
      env: {...nodeProcessEnvironment, ...process.env, NO_COLOR: '1'},
    });
    closeSync(log);
    killAtExit(child);
    this.#child = child;
    this.#exit = new Promise(resolve => {
      child.once('error', () => resolve({code: null, signal: null}));
      child.once('exit', (code, signal) => {
        this.#child = null;
        resolve({code, signal});
      });
    });
  }

  /** Runs it to its end, which must come by itself. */
  async runToExit(flags: readonly string[], deadlineMs = 30_000): Promise<Exit> {
    this.start(flags);
    const deadline = setTimeout(() => this.#child?.kill('SIGKILL'), deadlineMs);
    const exit = await this.#exit;
    clearTimeout(deadline);
    return exit;
  }

  async kill9(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exit;
  }

  async sigterm(): Promise<Exit> {
    this.#child?.kill('SIGTERM');
    return this.#exit;
  }

  pause(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  status(): Promise<Status> {
    return this.client.status();
  }

  waitReady(deadlineMs = 20_000): Promise<void> {
    return this.#await(`${this.id} to be ready`, deadlineMs, async () => {
      const reply = await this.client.request('GET', '/readyz', {timeoutMs: 2_000});
      return reply.status === 200;
    });
  }

  /** Its API answers, though perhaps only that it is not ready. */
  waitAlive(deadlineMs = 20_000): Promise<void> {
    return this.#await(`${this.id} to answer`, deadlineMs, async () => {
      const reply = await this.client.request('GET', '/livez', {timeoutMs: 2_000});
      return reply.status === 200;
    });
  }

  /** A line of the present process's output. */
  waitLog(pattern: RegExp, deadlineMs = 10_000): Promise<void> {
    const what = `${this.id} to say ${String(pattern)}`;
    return this.#await(what, deadlineMs, () => Promise.resolve(pattern.test(this.output())));
  }

  /** What the present or last process has written. */
  output(): string {
    return this.#readLog().subarray(this.#logStart).toString();
  }

  /** What it said on leaving: lines for the person who started it. */
  complaints(): string[] {
    // LMDB tells of a failed write without ending its line.
    return this.output()
      .split(/\n|(?<=^Write error: .*)(?=rosetta: )/m)
      .filter(line => line.startsWith('rosetta: '));
  }

  /** Lines that tell of a bug, in all its processes. */
  bugLines(): string[] {
    const lines = this.#readLog().toString().split('\n');
    return lines.filter(line => bugPattern.test(line) && !foreignPattern.test(line));
  }

  close(): Promise<void> {
    this.client.close();
    return this.kill9();
  }

  #readLog(): Buffer {
    try {
      return readFileSync(this.logPath);
    } catch {
      return Buffer.alloc(0);
    }
  }

  async #await(what: string, deadlineMs: number, look: () => Promise<boolean>): Promise<void> {
    try {
      await eventually(what, deadlineMs, async () => {
        if (this.#child === null) return 'ended';
        return (await look()) ? 'yes' : null;
      });
    } catch (error) {
      throw new Error(`${String(error)}\n${this.#lastLines()}`, {cause: error});
    }
    if (this.#child === null && !(await look().catch(() => false))) {
      throw new Error(`${this.id} ended while waited for ${what}\n${this.#lastLines()}`);
    }
  }

  #lastLines(): string {
    return this.output().split('\n').slice(-30).join('\n');
  }
}
