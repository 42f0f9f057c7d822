/** Figures as people read them: three digits or so, always with their unit. */
import type {LoadFigures} from '../load/load-figures.ts';

export function rate(perSecond: number): string {
  return `${Math.round(perSecond).toLocaleString('en')}/s`;
}

export function milliseconds(us: number): string {
  const ms = us / 1000;
  return `${ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0)} ms`;
}

/** Not where requests failed: the generators count refusals, which are quick, among the answers. */
export function latency({errorCount}: Pick<LoadFigures, 'errorCount'>, us: number): string {
  return errorCount === 0 ? milliseconds(us) : '-';
}

export function ratio(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ×`;
}

export function megabytes(bytes: number | null): string {
  return bytes === null ? '-' : `${Math.round(bytes / 1e6)} MB`;
}

export function seconds(value: number | null): string {
  return value === null ? '-' : `${value.toFixed(2)} s`;
}
