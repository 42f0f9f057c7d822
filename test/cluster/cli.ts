/** The command line as a user runs it: one process a call, its output and its exit code. */
import {spawn} from 'node:child_process';
import type {ChildProcess} from 'node:child_process';
import {nodeProcessEnvironment, nodeProcessFlags} from '../../src/cli/node-process-settings.ts';
import {eventually} from './eventually.ts';
import {killAtExit, mainPath} from './node-process.ts';

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `./rosetta <words>`, while it runs. */
export class CliProcess {
  readonly #child: ChildProcess;
  readonly ended: Promise<CliResult>;
  #stdout = '';
  #stderr = '';

  constructor(words: readonly string[], input: string | Uint8Array = '') {
    const child = spawn(process.execPath, [...nodeProcessFlags, mainPath, ...words], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {...nodeProcessEnvironment, ...process.env, NO_COLOR: '1'},
    });
    this.#child = child;
    killAtExit(child);
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.#stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', code => resolve({code, stdout: this.#stdout, stderr: this.#stderr}));
    });
    // Who ends without reading is no failure of the test.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  }

  /** Resolves when standard output matches. */
  async told(pattern: RegExp, deadlineMs = 20_000): Promise<void> {
    await eventually(`the command to say ${String(pattern)}`, deadlineMs, () => {
      if (pattern.test(this.#stdout)) return Promise.resolve(true);
      if (this.#child.exitCode !== null) throw new Error(`it ended: ${this.#stderr}`);
      return Promise.resolve(null);
    });
  }

  interrupt(): Promise<CliResult> {
    this.#child.kill('SIGINT');
    return this.ended;
  }
}

export function runCli(
  words: readonly string[],
  input: string | Uint8Array = '',
): Promise<CliResult> {
  return new CliProcess(words, input).ended;
}
