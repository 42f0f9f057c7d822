/**
 * What one seed's run is like. Each class of faults is on or off by the toss of a coin, so that
 * about half of them are absent from a run: a fault that is always there hides what the others
 * would show (swarm testing, Groce et al.). Everything follows from the seed and the overrides.
 */
import {assert, must} from '../../src/base/assert.ts';
import {Prng} from '../../src/base/prng.ts';
import type {Weather} from './sim-network.ts';
import type {SmallLimits} from './small-limits.ts';
import {drawHistoryLimits, drawLimits, drawSessionLimits} from './small-limits.ts';

export const faultClasses = [
  'loss',
  'duplicate',
  'reorder',
  'replay',
  'clog',
  'narrow',
  'partition',
  'leader-cut',
  'one-way',
  'silent-cut',
  'power-cut',
  'kill',
  'graceful-stop',
  'all-down',
  'pause',
  'drift',
  'wall-jump',
  'slow-disk',
  'eio',
  'enospc',
  'bit-rot',
  'checkpoint-loss',
  'wipe',
  'membership',
  'members',
  'rejoin',
  'transfer',
  'early-faults',
  'older-copy',
] as const;

export type FaultClass = (typeof faultClasses)[number];

/** Kinds of clients beside those of plain operations, likewise on or off. */
export const clientKinds = ['transactions', 'leases', 'sessions'] as const;

export type ClientKind = (typeof clientKinds)[number];

export interface SwarmConfig {
  readonly seed: number;
  readonly size: number;
  readonly faults: ReadonlySet<FaultClass>;
  readonly clientKinds: ReadonlySet<ClientKind>;
  readonly chaosMs: number;
  /** Mean time from one fault of a class to the next. */
  readonly faultIntervalMs: number;
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly turnMs: number;
  readonly lookMs: number;
  readonly weather: Weather;
  readonly limits: SmallLimits;
  readonly diskDelayMinMs: number;
  readonly diskDelayMeanMs: number;
  readonly segmentSizeBytes: number;
  /** Zeros written at once ahead of the log. */
  readonly fillStepSizeBytes: number;
  readonly retentionSizeBytesMax: number;
  readonly tailSizeBytesMax: number;
  readonly historyAgeMs: number;
  readonly historySizeBytesMax: number;
  readonly clientCount: number;
  /** Of all clients together. */
  readonly operationsPerSecond: number;
  readonly keyCount: number;
  readonly valueSizeBytesMax: number;
  readonly timeoutMs: number;
  /** Of the blocks of snapshots, those before which the stream breaks. */
  readonly streamBreakRate: number;
}

export interface Overrides {
  /** Classes and kinds that stay off. */
  readonly without?: readonly (FaultClass | ClientKind)[];
  readonly chaosMs?: number;
  readonly size?: number;
  readonly clientCount?: number;
}

/** These change who counts as a voter, or take members away for ever; together they could halt. */
const lost: readonly FaultClass[] = ['bit-rot', 'wipe'];
const losing: readonly FaultClass[] = [...lost, 'checkpoint-loss'];
const coming: readonly FaultClass[] = ['members', 'rejoin'];

export function drawSwarm(seed: number, overrides: Overrides = {}): SwarmConfig {
  assert(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32, `no seed: ${seed}`);
  const prng = new Prng(seed);
  const pick = <T>(from: readonly T[]): T =>
    must(from[prng.integer({min: 0, max: from.length - 1})], 'something to pick');
  const between = (min: number, max: number): number => prng.integer({min, max});
  const size = pick([1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7]);
  const drawn = faultClasses.filter(name => name !== 'older-copy' && between(0, 1) === 1);
  const electionTimeoutMs = pick([100, 150, 150, 300, 500, 1_000]);
  const faults = new Set(drawn);
  const losesMembers = between(0, 1) === 0;
  for (const name of losesMembers ? (['checkpoint-loss'] as const) : lost) faults.delete(name);
  // Voters that become learners by a fault, or members that come and go by the way of operators.
  if (between(0, 1) === 0) faults.delete('membership');
  else for (const name of coming) faults.delete(name);
  if (['membership', ...coming].some(name => faults.has(name as FaultClass))) {
    for (const name of losing) faults.delete(name);
  }
  // From a stream of its own, and where nothing else is lost: the other draws stay what they were.
  const goesBack = streamOf(seed, 'older copies').integer({min: 0, max: 1}) === 1;
  const isOtherwiseLost = [...losing, 'membership'].some(name => faults.has(name as FaultClass));
  if (goesBack && !isOtherwiseLost) faults.add('older-copy');
  const isCalm = between(1, 10) === 1;
  if (isCalm) faults.clear();
  const delayMeanMs = electionTimeoutMs / pick([4, 10, 30, 100]);
  const weather: Weather = {
    delayMinMs: pick([0, 0.2, 1, delayMeanMs / 2]),
    delayMeanMs,
    lossRate: pick([0.01, 0.05, 0.3]),
    duplicateRate: pick([0.05, 0.5]),
    reorderRate: pick([0.05, 0.5]),
    capacity: pick([2, 5, 20]),
  };
  const operationsPerSecond = pick([10, 30, 30, 100, 300]);
  const kindPrng = streamOf(seed, 'client kinds');
  const config: SwarmConfig = {
    seed,
    size,
    faults,
    clientKinds: new Set(clientKinds.filter(() => kindPrng.integer({min: 0, max: 1}) === 1)),
    chaosMs: pick(operationsPerSecond > 100 ? [5_000, 10_000] : [10_000, 20_000, 30_000, 60_000]),
    faultIntervalMs: pick([1_500, 4_000, 12_000]),
    electionTimeoutMs,
    heartbeatMs: Math.max(10, Math.round(electionTimeoutMs / pick([3, 5, 8]) / 10) * 10),
    turnMs: pick([0, 0, 0.05, 1]),
    lookMs: pick([0, 0, 0, 0.5]),
    weather,
    diskDelayMinMs: pick([0, 0.1, 1]),
    diskDelayMeanMs: pick([0.1, 1, 5]),
    segmentSizeBytes: pick([32_768, 32_768, 65_536, 262_144]),
    retentionSizeBytesMax: pick([0, 0, 100_000, 4_000_000]),
    tailSizeBytesMax: pick([4_000, 100_000, 4_000_000]),
    historyAgeMs: pick([0, 0, 5_000, 20_000]),
    historySizeBytesMax: pick([0, 20_000, 200_000]),
    clientCount: pick([1, 2, 4, 8, 16]),
    operationsPerSecond,
    keyCount: pick([1, 3, 10, 100]),
    valueSizeBytesMax: pick([20, 200, 2_000, 2_000]),
    timeoutMs: pick([200, 1_000, 5_000]),
    fillStepSizeBytes: pick([4_096, 8_192, 1_048_576]),
    limits: {
      ...drawLimits(prng),
      ...drawSessionLimits(kindPrng),
      ...drawHistoryLimits(streamOf(seed, 'history')),
    },
    streamBreakRate: pick([0, 0.03, 0.2]),
  };
  return overridden(config, overrides);
}

function overridden(config: SwarmConfig, overrides: Overrides): SwarmConfig {
  const faults = new Set(config.faults);
  const kinds = new Set(config.clientKinds);
  for (const name of overrides.without ?? []) {
    faults.delete(name as FaultClass);
    kinds.delete(name as ClientKind);
  }
  return {
    ...config,
    faults,
    clientKinds: kinds,
    chaosMs: overrides.chaosMs ?? config.chaosMs,
    size: overrides.size ?? config.size,
    clientCount: overrides.clientCount ?? config.clientCount,
  };
}

/** A stream of its own for each purpose: to leave one out does not change what others draw. */
export function streamOf(seed: number, purpose: string): Prng {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < purpose.length; i++) {
    hash = Math.imul(hash ^ purpose.charCodeAt(i), 0x01000193);
    hash ^= hash >>> 13;
  }
  return new Prng((Math.imul(hash, 0x85ebca6b) ^ seed) >>> 0);
}
