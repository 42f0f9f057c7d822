/**
 * Runs one target for a number of cases, in portions that fast-check makes from consecutive seeds:
 * any portion, and any failure in it, is run again from its seed alone. Beside the property itself
 * every case is held to a bound of memory and of time.
 */
import fc from 'fast-check';
import {AssertionError} from '../../src/base/assert.ts';
import {AllocationMeter} from './allocation-meter.ts';
import type {FuzzTarget, OpenedTarget, Verdict} from './fuzz-target.ts';
import {findKnownFault} from './known-faults.ts';

export interface CasePlace {
  readonly seed: number;
  readonly index: number;
  /** Of the input, for one that brings the whole process down. */
  readonly hex: () => string;
}

export interface FuzzPlan {
  readonly seed: number;
  readonly caseCount: number;
  /** Of a failure seen before: this one case, or the shrinking that led to it. */
  readonly path: string | null;
  /** Before every case; what a watchdog needs to name one that never ends. */
  readonly onCase?: (place: CasePlace) => void;
  readonly onPortion?: (figures: FuzzFigures) => void;
}

export interface FuzzFigures {
  readonly caseCount: number;
  readonly acceptedCount: number;
  readonly refusedCount: number;
  /** Failures that known-faults.ts describes. */
  readonly knownFaultCount: number;
  readonly slowestMs: number;
  readonly allocatedSizeBytesMax: number;
  readonly seconds: number;
}

export interface FuzzFailure {
  readonly seed: number;
  readonly path: string;
  readonly error: string;
  /** The smallest input found that fails, as the target describes it and as bytes. */
  readonly input: string;
  readonly hex: string;
}

export interface FuzzReport {
  readonly figures: FuzzFigures;
  readonly failure: FuzzFailure | null;
}

const portionCaseCount = 1_000;
const caseTimeMsMax = 5_000;
/**
 * What any parser may take at once, whatever the input: a frame, a block, a header to be looked at.
 * A length in 32 bits that is believed goes far beyond it.
 */
const allocationBaseSizeBytes = 2 * 1024 * 1024;
const allocationFactor = 32;

export function fuzz(target: FuzzTarget, plan: FuzzPlan): Promise<FuzzReport> {
  return target.open(opened => new FuzzRun(target.name, opened, plan).run());
}

class FuzzRun<T> {
  readonly #name: string;
  readonly #target: OpenedTarget<T>;
  readonly #plan: FuzzPlan;
  readonly #meter = new AllocationMeter();
  readonly #startedAtMs = performance.now();
  readonly #verdicts: Record<Verdict | 'known', number> = {
    accepted: 0,
    refused: 0,
    known: 0,
  };
  #caseCount = 0;
  #slowestMs = 0;
  #allocatedSizeBytesMax = 0;
  #portion = {seed: 0, index: 0};

  constructor(name: string, target: OpenedTarget<T>, plan: FuzzPlan) {
    this.#name = name;
    this.#target = target;
    this.#plan = plan;
  }

  async run(): Promise<FuzzReport> {
    const {seed, caseCount, path} = this.#plan;
    for (let done = 0; done < caseCount; done += portionCaseCount) {
      const portionSeed = (seed + done / portionCaseCount) | 0;
      const numRuns = Math.min(portionCaseCount, caseCount - done);
      this.#portion = {seed: portionSeed, index: 0};
      const failure = await this.#runPortion({
        seed: portionSeed,
        numRuns,
        ...(path === null ? {} : {path}),
      });
      if (failure !== null) return {figures: this.figures(), failure};
      this.#plan.onPortion?.(this.figures());
    }
    return {figures: this.figures(), failure: null};
  }

  figures(): FuzzFigures {
    return {
      caseCount: this.#caseCount,
      acceptedCount: this.#verdicts.accepted,
      refusedCount: this.#verdicts.refused,
      knownFaultCount: this.#verdicts.known,
      slowestMs: this.#slowestMs,
      allocatedSizeBytesMax: this.#allocatedSizeBytesMax,
      seconds: (performance.now() - this.#startedAtMs) / 1000,
    };
  }

  async #runPortion(parameters: fc.Parameters<[T]>): Promise<FuzzFailure | null> {
    const property = fc.asyncProperty(this.#target.inputs, input => this.#runCase(input));
    this.#meter.start();
    let details: fc.RunDetails<[T]>;
    try {
      details = await fc.check(property, parameters);
    } finally {
      this.#meter.stop();
    }
    if (!details.failed) return null;
    const [input] = details.counterexample ?? [];
    const {errorInstance} = details;
    return {
      seed: details.seed,
      path: details.counterexamplePath ?? '0',
      error: errorInstance instanceof Error ? String(errorInstance.stack) : String(errorInstance),
      input: fc.stringify(input),
      hex: input === undefined ? '' : this.#hexOf(input),
    };
  }

  async #runCase(input: T): Promise<void> {
    this.#plan.onCase?.({...this.#portion, hex: () => this.#hexOf(input)});
    this.#portion = {...this.#portion, index: this.#portion.index + 1};
    this.#meter.reset();
    const startedAtMs = performance.now();
    const verdict = await this.#check(input);
    const elapsedMs = performance.now() - startedAtMs;
    const allocatedSizeBytes = this.#meter.sizeBytes;
    this.#caseCount += 1;
    this.#verdicts[verdict] += 1;
    this.#slowestMs = Math.max(this.#slowestMs, elapsedMs);
    this.#allocatedSizeBytesMax = Math.max(this.#allocatedSizeBytesMax, allocatedSizeBytes);
    if (elapsedMs > caseTimeMsMax) throw new AssertionError(`it took ${elapsedMs} ms`);
    // Most cases are far below; only for the others is the size of the input worth computing.
    if (allocatedSizeBytes <= allocationBaseSizeBytes) return;
    const sizeBytes = this.#target.bytesOf(input).length;
    if (allocatedSizeBytes <= allocationBaseSizeBytes + allocationFactor * sizeBytes) return;
    throw new AssertionError(`${allocatedSizeBytes} bytes taken for an input of ${sizeBytes}`);
  }

  async #check(input: T): Promise<Verdict | 'known'> {
    try {
      return await this.#target.check(input);
    } catch (error) {
      // Of a failure that is looked at again, everything is told.
      if (this.#plan.path === null && findKnownFault(this.#name, error) !== null) return 'known';
      throw error;
    }
  }

  #hexOf(input: T): string {
    return Buffer.from(this.#target.bytesOf(input)).toString('hex');
  }
}
