/**
 * A seeded pseudo-random generator (sfc32 by Chris Doty-Humphrey, public domain). The core takes
 * its randomness from an instance of this, never from the platform, so that a seed replays a run.
 */
import {assert} from './assert.ts';

export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** `seed`: any 32-bit unsigned integer. Equal seeds give equal sequences. */
  constructor(seed: number) {
    assert(Number.isInteger(seed) && seed >= 0 && seed <= 0xffffffff, 'bad seed %', seed);
    this.#a = 0x9e3779b9;
    this.#b = 0x243f6a88;
    this.#c = seed >>> 0;
    for (let i = 0; i < 12; i++) this.uint32();
  }

  /** A uniform integer in [0, 2^32). */
  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) >>> 0;
    this.#c = (this.#c + sum) >>> 0;
    return sum;
  }

  /** A uniform number in [0, 1). */
  float(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  /** A uniform integer in [min, max], both inclusive. */
  integer(range: {readonly min: number; readonly max: number}): number {
    assert(range.min <= range.max, 'empty range %..%', range.min, range.max);
    return range.min + Math.floor(this.float() * (range.max - range.min + 1));
  }
}
