/**
 * A thread that watches the number of the case that runs. A parser that never comes back cannot be
 * stopped from its own thread; this one says which case it was and ends the process.
 */
import fs from 'node:fs';
import {Worker, isMainThread, parentPort, workerData} from 'node:worker_threads';

const stallMs = 20_000;

/** Shared words: number of the case, seed of its portion, its index there, number of the target. */
type Words = Int32Array<SharedArrayBuffer>;

interface WatchdogData {
  readonly words: Words;
  readonly names: readonly string[];
}

export class Watchdog {
  readonly #words: Words = new Int32Array(new SharedArrayBuffer(16));
  readonly #worker: Worker;

  constructor(names: readonly string[]) {
    const workerData: WatchdogData = {words: this.#words, names};
    this.#worker = new Worker(new URL(import.meta.url), {workerData});
    this.#worker.unref();
  }

  beginCase(place: {readonly seed: number; readonly index: number; readonly target: number}): void {
    this.#words[1] = place.seed;
    this.#words[2] = place.index;
    this.#words[3] = place.target;
    Atomics.add(this.#words, 0, 1);
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}

function watch({words, names}: WatchdogData): void {
  let seen = Atomics.load(words, 0);
  setInterval(() => {
    const number = Atomics.load(words, 0);
    if (number !== seen || number === 0) {
      seen = number;
      return;
    }
    const [, seed = 0, index = 0, target = 0] = words;
    fs.writeSync(
      2,
      `\n✖ ${names[target] ?? ''}: a case does not end\n` +
        `  npm run fuzz -- --target ${names[target] ?? ''} --seed ${seed} --path ${index}\n`,
    );
    process.kill(process.pid, 'SIGKILL');
  }, stallMs);
}

if (!isMainThread && parentPort !== null) watch(workerData as WatchdogData);
