/**
 * Bounds that production never meets in a run of a minute, drawn small for one run: batches of a
 * few entries, windows of one append, a checkpoint several times a second. The table of limits is
 * one object; it is put back when the run is over.
 */
import type {Prng} from '../../src/base/prng.ts';
import {limits} from '../../src/base/limits.ts';

export type SmallLimits = Readonly<Partial<Record<keyof typeof limits, number>>>;

function pickerOf(prng: Prng): (...from: readonly [number, ...number[]]) => number {
  return (...from) => from[prng.integer({min: 0, max: from.length - 1})] ?? from[0];
}

export function drawLimits(prng: Prng): SmallLimits {
  const pick = pickerOf(prng);
  return {
    appendSizeBytesMax: pick(limits.appendSizeBytesMax, limits.appendSizeBytesMax, 300, 4_000),
    inflightCountMax: pick(limits.inflightCountMax, limits.inflightCountMax, 1, 4),
    committedSizeBytesMax: pick(limits.committedSizeBytesMax, limits.committedSizeBytesMax, 500),
    walBatchSizeBytesMax: pick(limits.walBatchSizeBytesMax, limits.walBatchSizeBytesMax, 8_192),
    checkpointIntervalMs: pick(limits.checkpointIntervalMs, 300),
    uncommittedSizeBytesMax: pick(limits.uncommittedSizeBytesMax, 20_000),
    pendingProposalCountMax: pick(limits.pendingProposalCountMax, 20),
    snapshotBlockSizeBytesMax: pick(limits.snapshotBlockSizeBytesMax, 1_500, 4_000),
    snapshotResumeTimeoutMs: pick(limits.snapshotResumeTimeoutMs, 500),
  };
}

/** From a stream of its own. */
export function drawSessionLimits(prng: Prng): SmallLimits {
  const isShort = prng.integer({min: 0, max: 1}) === 1;
  const isNarrow = prng.integer({min: 0, max: 1}) === 1;
  return {
    sessionAgeMs: isShort ? 3_000 : limits.sessionAgeMs,
    sessionWindow: isNarrow ? 4 : limits.sessionWindow,
  };
}

/** From a stream of its own. So that history goes in pieces, and is far soon, within a run. */
export function drawHistoryLimits(prng: Prng): SmallLimits {
  const pick = pickerOf(prng);
  return {
    historySampleSizeBytes: pick(limits.historySampleSizeBytes, 2_000),
    nearRevisionCount: pick(limits.nearRevisionCount, 0, 4, 30),
    beforeImageSizeBytesMax: pick(limits.beforeImageSizeBytesMax, 0, 15),
    pruneRowCountMax: pick(limits.pruneRowCountMax, 7),
  };
}

/** Returns what puts the old ones back. */
export function setLimits(changes: SmallLimits): () => void {
  const table: Record<string, number> = limits;
  const before = {...table};
  Object.assign(table, changes);
  return () => {
    Object.assign(table, before);
  };
}
