/** A program of examples/ as a user runs it: its lines as they come, its end. */
import assert from 'node:assert/strict';
import {spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {createInterface} from 'node:readline';
import type {TestContext} from 'node:test';
import {atEnd} from './at-end.ts';

const timeout = 60_000;

export class ExampleProcess {
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown[]>;
  #errors = '';
  #onLine: () => void = () => undefined;

  /** Killed when the test ends, if it runs then. */
  constructor(t: TestContext, name: string, ...args: readonly string[]) {
    const child = spawn(process.execPath, [`dist/examples/${name}.js`, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout,
    });
    this.#child = child;
    this.#closed = once(child, 'close');
    child.stderr.on('data', (text: Buffer) => (this.#errors += text.toString()));
    createInterface({input: child.stdout}).on('line', line => {
      this.lines.push(line);
      this.#onLine();
    });
    atEnd(t, () => this.kill());
    void this.#closed.then(() => this.#onLine());
  }

  /** The first line that matches, of those that came and those that will. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = this.lines.find(line => pattern.test(line));
      if (found !== undefined) return found;
      assert.equal(this.#child.exitCode, null, `no ${pattern.source}: ${this.#errors}`);
      await new Promise<void>(resolve => (this.#onLine = resolve));
    }
  }

  /** The lines of a program that ends by itself, well. */
  async end(): Promise<readonly string[]> {
    await this.#closed;
    assert.equal(this.#errors, '');
    assert.equal(this.#child.exitCode, 0);
    return this.lines;
  }

  /** Ctrl-C, after which it ends well. */
  interrupt(): Promise<readonly string[]> {
    this.#child.kill('SIGINT');
    return this.end();
  }

  /** kill -9 */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#closed;
  }
}
