/**
 * Strikes for as long as it is told, never two faults at one process, two at once at most; then
 * undoes what is left. One seed, one order of faults; their moments are those of the real clock.
 */
import {must} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import {pause} from '../cluster/eventually.ts';
import type {NodeProcess} from '../cluster/node-process.ts';
import type {FaultName, Strike} from './faults.ts';
import {faults, shuffled} from './faults.ts';
import type {TortureCluster} from './torture-cluster.ts';

const strikesAtOnceMax = 2;

interface Load {
  /** Operations answered so far. */
  readonly okCount: () => number;
  /** No strike before so many more. */
  readonly okBetweenStrikes: number;
}

interface Active {
  readonly name: FaultName;
  readonly strike: Strike;
  readonly undoAtMs: number;
}

export class Nemesis {
  /** How often each fault struck and was undone. */
  readonly counts = new Map<FaultName, number>();
  readonly #cluster: TortureCluster;
  readonly #prng: Prng;
  readonly #names: readonly FaultName[];
  readonly #load: Load;
  readonly #say: (line: string) => void;
  #active: Active[] = [];
  /** Answers before the last strike. */
  #okCount = 0;

  constructor(
    cluster: TortureCluster,
    prng: Prng,
    names: readonly FaultName[],
    load: Load,
    say: (line: string) => void,
  ) {
    this.#cluster = cluster;
    this.#prng = prng;
    this.#names = names;
    this.#load = load;
    this.#say = say;
  }

  async run(durationMs: number): Promise<void> {
    const endMs = performance.now() + durationMs;
    while (performance.now() < endMs) {
      await this.#undoDue(performance.now());
      if (this.#mayStrike()) await this.#strike();
      await pause(this.#prng.integer({min: 300, max: 2_000}));
    }
  }

  /** Everything works again, or is on its way. */
  heal(): Promise<void> {
    return this.#undoDue(Infinity);
  }

  #mayStrike(): boolean {
    if (this.#names.length === 0 || this.#active.length >= strikesAtOnceMax) return false;
    const {okCount, okBetweenStrikes} = this.#load;
    return okCount() - this.#okCount >= okBetweenStrikes;
  }

  async #strike(): Promise<void> {
    const prng = this.#prng;
    this.#okCount = this.#load.okCount();
    const name = must(this.#names[prng.integer({min: 0, max: this.#names.length - 1})], 'a fault');
    const strike = await faults[name]({cluster: this.#cluster, prng, free: await this.#free()});
    if (strike === null) return;
    const lastsMs = prng.integer({min: 300, max: 4_000});
    this.#say(`${strike.what}, for ${(lastsMs / 1000).toFixed(1)} s`);
    this.#active.push({name, strike, undoAtMs: performance.now() + lastsMs});
  }

  async #undoDue(nowMs: number): Promise<void> {
    const due = this.#active.filter(({undoAtMs}) => undoAtMs <= nowMs);
    this.#active = this.#active.filter(({undoAtMs}) => undoAtMs > nowMs);
    for (const {name, strike} of due) {
      await strike.undo();
      if (strike.hasStruck?.() === false) this.#say(`came to nothing: ${strike.what}`);
      else this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    }
  }

  async #free(): Promise<NodeProcess[]> {
    const busy = new Set(this.#active.flatMap(({strike}) => strike.victims));
    const free = this.#cluster.nodes.filter(node => node.isRunning && !busy.has(node));
    const order = shuffled(free, this.#prng);
    if (this.#prng.float() < 0.5) return order;
    const leader = await this.#cluster.leader(free);
    return leader === null ? order : [leader, ...order.filter(node => node !== leader)];
  }
}
