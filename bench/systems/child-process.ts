/**
 * Programs that a benchmark starts: servers that run until they are ended, and load generators that
 * run to their end. Only processes started here are ever signalled, each by its own handle, and
 * none outlives the benchmark.
 */
import {spawn} from 'node:child_process';
import type {ChildProcess} from 'node:child_process';
import {closeSync, openSync, readFileSync} from 'node:fs';
import {must} from '../../src/base/assert.ts';

const stopTimeoutMs = 10_000;
const outputSizeBytesMax = 16 * 1024 * 1024;
const children = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(1));
}

function startChild(...[program, args, options]: Parameters<typeof spawn>): ChildProcess {
  const child = spawn(program, args, options);
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #logPath: string;
  readonly #exited: Promise<void>;

  /** Its output is appended to the file, because the next start of a server goes on there. */
  constructor(
    program: string,
    args: readonly string[],
    place: {readonly logPath: string; readonly env?: NodeJS.ProcessEnv},
  ) {
    const log = openSync(place.logPath, 'a');
    this.#logPath = place.logPath;
    this.#child = startChild(program, args, {
      stdio: ['ignore', log, log],
      env: place.env ?? process.env,
    });
    closeSync(log);
    this.#exited = new Promise(resolve => {
      this.#child.once('error', () => resolve());
      this.#child.once('exit', () => resolve());
    });
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return must(this.#child.pid, 'the program was started');
  }

  lastLines(): string {
    return readFileSync(this.#logPath, 'utf8').split('\n').slice(-15).join('\n');
  }

  async kill9(): Promise<void> {
    this.#child.kill('SIGKILL');
    if (this.isRunning) await this.#exited;
  }

  /** In order, and by force when that takes too long. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const force = setTimeout(() => this.#child.kill('SIGKILL'), stopTimeoutMs);
    if (this.isRunning) await this.#exited;
    clearTimeout(force);
  }
}

/** Resolves to what the program printed; rejects when it fails or takes longer than allowed. */
export function runToEnd(
  program: string,
  args: readonly string[],
  options: {readonly timeoutMs: number},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = startChild(program, args, {stdio: ['ignore', 'pipe', 'pipe']});
    let output = '';
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, options.timeoutMs);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8');
      stream?.on('data', (text: string) => {
        if (output.length < outputSizeBytesMax) output += text;
      });
    }
    child.once('error', reject);
    child.once('close', code => {
      clearTimeout(timer);
      if (code === 0) resolve(output);
      else if (isLate) reject(new Error(`${program} took more than ${options.timeoutMs} ms`));
      else reject(new Error(`${program} failed (${code ?? 'killed'}): ${output.slice(-2000)}`));
    });
  });
}
