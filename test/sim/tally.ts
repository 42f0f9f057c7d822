/** The sum of many runs, and how it is printed. */
import {Coverage, mandatory, undecided} from './coverage.ts';
import type {SeedReport} from './worker.ts';

/** From so many seeds on, everything that must be met has to have been met. */
export const coverageSeedCount = 2_000;
/** Of the seeds. 4.5 % have such a history; where many have, the search proves little. */
const undecidedShareMax = 0.1;

export class Tally {
  readonly coverage = new Coverage();
  readonly failures: SeedReport[] = [];
  readonly #startedAtMs = performance.now();
  seedCount = 0;
  eventCount = 0;
  simulatedMs = 0;
  operationCount = 0;

  add(report: SeedReport): void {
    this.seedCount++;
    this.eventCount += report.eventCount;
    this.simulatedMs += report.simulatedMs;
    this.operationCount += report.operationCount;
    this.coverage.add(report.coverage);
    if (report.violation !== null) this.failures.push(report);
  }

  progressLine(): string {
    const seconds = Math.max(0.001, (performance.now() - this.#startedAtMs) / 1000);
    return [
      `seeds ${this.seedCount}`,
      `events ${count(this.eventCount)}`,
      `simulated ${(this.simulatedMs / 3_600_000).toFixed(1)} h`,
      `${count(this.eventCount / seconds)} events/s`,
      `${((this.seedCount / seconds) * 60).toFixed(0)} seeds/min`,
      `${(this.simulatedMs / 1000 / seconds).toFixed(0)} x real time`,
      `failures ${this.failures.length}`,
    ].join('  ');
  }

  coverageTable(): string {
    const counts = this.coverage.toJSON();
    const names = [...mandatory, ...Object.keys(counts).filter(isOptional)];
    return names
      .map(name => `  ${String(this.coverage.of(name)).padStart(12)}  ${name}`)
      .join('\n');
  }

  /** What the range does not show although it should, once that means something. */
  gaps(): string[] {
    if (this.seedCount < coverageSeedCount) return [];
    const gaps = this.coverage.missing().map(name => `never met: ${name}`);
    const count = this.coverage.of(undecided);
    if (count > undecidedShareMax * this.seedCount) {
      gaps.push(`too many: ${undecided}, ${count} in ${this.seedCount} seeds`);
    }
    return gaps;
  }
}

function isOptional(name: string): boolean {
  return !mandatory.some(other => other === name);
}

function count(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  return value >= 1e3 ? `${(value / 1e3).toFixed(0)} k` : value.toFixed(0);
}
