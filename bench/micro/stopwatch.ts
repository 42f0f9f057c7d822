/** Times small pieces of work: repeats each for a while and keeps the best of a few passes. */
import type {MicroRow} from '../report/results.ts';

const passCount = 5;

export class Stopwatch {
  readonly rows: MicroRow[] = [];
  readonly #passMs: number;
  readonly #say: (line: string) => void;

  constructor(options: {readonly passMs: number; readonly say: (line: string) => void}) {
    this.#passMs = options.passMs;
    this.#say = options.say;
  }

  /** `work` does `operationCount` operations per call. */
  measure(name: string, operationCount: number, work: () => void): void {
    let best = Infinity;
    for (let pass = 0; pass < passCount; pass++) {
      const startedAtMs = performance.now();
      let callCount = 0;
      let elapsedMs = 0;
      do {
        work();
        callCount += 1;
        elapsedMs = performance.now() - startedAtMs;
      } while (elapsedMs < this.#passMs);
      best = Math.min(best, (elapsedMs * 1e6) / (callCount * operationCount));
    }
    this.#note(name, best);
  }

  /** For work that waits: `work` resolves when its `operationCount` operations are done. */
  async measureAsync(
    name: string,
    operationCount: number,
    work: () => Promise<void>,
  ): Promise<void> {
    let best = Infinity;
    for (let pass = 0; pass < passCount; pass++) {
      const startedAtMs = performance.now();
      let callCount = 0;
      let elapsedMs = 0;
      do {
        await work();
        callCount += 1;
        elapsedMs = performance.now() - startedAtMs;
      } while (elapsedMs < this.#passMs);
      best = Math.min(best, (elapsedMs * 1e6) / (callCount * operationCount));
    }
    this.#note(name, best);
  }

  #note(name: string, nanoseconds: number): void {
    const row = {name, nanoseconds, operationsPerSecond: 1e9 / nanoseconds};
    this.rows.push(row);
    const rate = Math.round(row.operationsPerSecond).toLocaleString('en');
    this.#say(
      `${name.padEnd(56)} ${rate.padStart(12)}/s ${nanoseconds.toFixed(0).padStart(10)} ns`,
    );
  }
}
