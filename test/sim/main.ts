/**
 * `npm run simulate`: runs seeds and says what came of them. See docs/simulation.md.
 */
import os from 'node:os';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {measureReferenceLoad} from './reference-load.ts';
import {runMutants} from './mutants/run-mutants.ts';
import {runSeeds} from './seed-pool.ts';
import {shrink} from './shrink.ts';
import {replayCommand, tellStory} from './story.ts';
import type {ClientKind, FaultClass, Overrides} from './swarm.ts';
import {clientKinds, faultClasses} from './swarm.ts';
import {runOnce} from './shrink.ts';
import {Tally} from './tally.ts';

const usage = `npm run simulate -- [options]

  --seeds N        run N seeds (default 100)
  --from S         the first one (default 1)
  --seed S         run this one and tell its story if it fails
  --minutes M      run until the time is up instead of --seeds
  --jobs J         processes at once (default: one a core, at most 8)
  --keep-going     do not stop at the first failure
  --without A,B    leave these classes of faults, or kinds of clients, out
  --chaos-ms T     length of the time of faults
  --size N         members; --clients N: clients
  --no-shrink      tell the story of a failing seed as it is
  --reference      measure how fast runs are, by a load that is always the same
  --mutant NAME    run with this bug put in; --mutants: with each of them, one by one
`;

const workerFile = fileURLToPath(new URL('./worker.js', import.meta.url));
const progressIntervalMs = 5_000;

async function main(): Promise<void> {
  const {values} = parseArgs({
    options: {
      seeds: {type: 'string'},
      from: {type: 'string'},
      seed: {type: 'string'},
      minutes: {type: 'string'},
      jobs: {type: 'string'},
      'keep-going': {type: 'boolean'},
      without: {type: 'string'},
      'chaos-ms': {type: 'string'},
      size: {type: 'string'},
      clients: {type: 'string'},
      'no-shrink': {type: 'boolean'},
      reference: {type: 'boolean'},
      mutant: {type: 'string'},
      mutants: {type: 'boolean'},
      help: {type: 'boolean'},
    },
  });
  if (values.help === true) {
    say(usage);
    return;
  }
  const overrides = overridesOf(values);
  const jobCount = number(values.jobs) ?? Math.min(8, os.availableParallelism());
  const first = number(values.seed) ?? number(values.from) ?? 1;
  if (values.mutants === true || values.mutant !== undefined) {
    const name = values.mutant ?? null;
    const seedCountMax = number(values.seeds) ?? 2_000;
    const isGood = await runMutants({name, first, seedCountMax, jobCount, overrides, say});
    process.exitCode = isGood ? 0 : 1;
    return;
  }
  if (values.reference === true) {
    say(`${measureReferenceLoad(first)}\n`);
    return;
  }
  say(`seed ${first}${values.seed === undefined ? ' and those after it' : ''}\n`);
  const mustShrink = values['no-shrink'] !== true;
  if (values.seed !== undefined) {
    replay(first, overrides, {mustShrink: false});
    return;
  }
  const minutes = number(values.minutes);
  await runMany({
    first,
    seedCount: minutes === null ? (number(values.seeds) ?? 100) : Infinity,
    untilMs: minutes === null ? Infinity : Date.now() + minutes * 60_000,
    jobCount,
    overrides,
    keepsGoing: values['keep-going'] === true,
    mustShrink,
  });
}

async function runMany(plan: {
  readonly first: number;
  readonly seedCount: number;
  readonly untilMs: number;
  readonly jobCount: number;
  readonly overrides: Overrides;
  readonly keepsGoing: boolean;
  readonly mustShrink: boolean;
}): Promise<void> {
  const tally = new Tally();
  let seed = plan.first;
  const mayGoOn = (): boolean =>
    seed - plan.first < plan.seedCount &&
    Date.now() < plan.untilMs &&
    (plan.keepsGoing || tally.failures.length === 0);
  const timer = setInterval(() => say(`${tally.progressLine()}\n`), progressIntervalMs);
  await runSeeds({
    workerFile,
    jobCount: plan.jobCount,
    overrides: plan.overrides,
    next: () => (mayGoOn() ? seed++ : null),
    onReport: report => {
      tally.add(report);
      const {violation} = report;
      if (violation === null) return;
      say(`FAILED seed ${report.seed}: ${violation.message.slice(0, 400)}\n`);
      say(`  ${replayCommand(report.seed, plan.overrides)}\n`);
    },
  });
  clearInterval(timer);
  say(`\n${tally.progressLine()}\n\n${tally.coverageTable()}\n`);
  const [failure] = tally.failures;
  if (failure !== undefined) replay(failure.seed, plan.overrides, plan);
  const gaps = tally.gaps();
  for (const gap of gaps) say(`${gap}\n`);
  if (gaps.length > 0) process.exitCode = 1;
}

/** Runs one seed here; a failure is told, made smaller first when wanted. */
function replay(
  seed: number,
  overrides: Overrides,
  {mustShrink}: {readonly mustShrink: boolean},
): void {
  const outcome = runOnce(seed, overrides);
  if (outcome.violation === null) {
    const {eventCount, simulatedMs, traceHash} = outcome;
    say(`seed ${seed} holds: ${eventCount} events, ${simulatedMs.toFixed(0)} ms, ${traceHash}\n`);
    return;
  }
  process.exitCode = 1;
  if (!mustShrink) {
    say(`\n${tellStory(seed, overrides)}\n`);
    return;
  }
  say('\nmaking it smaller …\n');
  const shrunk = shrink(seed, overrides, outcome);
  say(`after ${shrunk.runCount} runs:\n\n${tellStory(seed, shrunk.overrides)}\n`);
}

function overridesOf(values: {
  readonly without?: string | undefined;
  readonly 'chaos-ms'?: string | undefined;
  readonly size?: string | undefined;
  readonly clients?: string | undefined;
}): Overrides {
  const without = (values.without ?? '').split(',').filter(name => name !== '');
  for (const name of without) {
    if (!isKnown(name))
      throw new Error(`--without: ${name} is none of ${[...faultClasses, ...clientKinds].join()}`);
  }
  const chaosMs = number(values['chaos-ms']);
  const size = number(values.size);
  const clientCount = number(values.clients);
  return {
    without: without.filter(isKnown),
    ...(chaosMs === null ? {} : {chaosMs}),
    ...(size === null ? {} : {size}),
    ...(clientCount === null ? {} : {clientCount}),
  };
}

function isKnown(name: string): name is FaultClass | ClientKind {
  return [...faultClasses, ...clientKinds].some(known => known === name);
}

function number(text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (!(value >= 0)) throw new Error(`not a number: ${text}`);
  return value;
}

function say(text: string): void {
  process.stdout.write(text);
}

await main();
