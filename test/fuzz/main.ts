/** `npm run fuzz`: all targets or one, with progress, figures, and how to see a failure again. */
import {randomInt} from 'node:crypto';
import {assert} from '../../src/base/assert.ts';
import {fuzzHelpText, parseFuzzOptions} from './fuzz-options.ts';
import type {FuzzOptions} from './fuzz-options.ts';
import type {CasePlace, FuzzFailure, FuzzFigures, FuzzReport} from './fuzz-run.ts';
import {fuzz} from './fuzz-run.ts';
import type {FuzzTarget} from './fuzz-target.ts';
import {targets} from './targets.ts';
import {Watchdog} from './watchdog.ts';

const progressIntervalMs = 5_000;
const hexLengthMax = 8_192;
const inputLengthMax = 4_096;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main(): Promise<void> {
  const parsed = parseFuzzOptions(process.argv.slice(2));
  if (parsed.type === 'help') {
    process.stdout.write(fuzzHelpText);
  } else if (parsed.type === 'list') {
    for (const {name} of targets) say(name);
  } else {
    const isGood = await run(parsed.options);
    process.exitCode = isGood ? 0 : 1;
  }
}

async function run(options: FuzzOptions): Promise<boolean> {
  const seed = (options.seed ?? randomInt(2 ** 31)) | 0;
  const {target: only, path} = options;
  const chosen = targets.filter(({name}) => only === null || name === only);
  if (chosen.length === 0) throw new Error(`--target: there is no ${only ?? ''}; see --list`);
  if (path !== null && only === null) throw new Error('--path needs --target and --seed');
  say(`seed ${seed}`);
  say(
    `${'target'.padEnd(20)}      cases   accepted    refused  known  slowest     memory  cases/s`,
  );
  const shares = chosen.reduce((sum, {share}) => sum + share, 0);
  const watchdog = new Watchdog(chosen.map(({name}) => name));
  let current: (() => string) | null = null;
  // A throw outside of the property, in a callback of a socket: the case is still known.
  process.once('uncaughtException', error => {
    say(`✖ thrown outside of the case: ${String(error.stack)}\n  ${current?.() ?? ''}`);
    process.exit(1);
  });
  let total = 0;
  let isGood = true;
  for (const [number, target] of chosen.entries()) {
    const caseCount = path === null ? Math.ceil((options.caseCount * target.share) / shares) : 1;
    let place: CasePlace = {seed, index: 0, hex: () => ''};
    current = () =>
      `hex    ${place.hex()}\n  again  ${replayCommand(target, place.seed, path ?? String(place.index))}`;
    let shownAtMs = performance.now();
    const report = await fuzz(target, {
      seed,
      caseCount,
      path,
      onCase: each => {
        place = each;
        watchdog.beginCase({seed: each.seed, index: each.index, target: number});
      },
      onPortion: figures => {
        if (performance.now() - shownAtMs < progressIntervalMs) return;
        shownAtMs = performance.now();
        say(`… ${figureLine(target, figures)} of ${caseCount}`);
      },
    });
    total += report.figures.caseCount;
    say(`${report.failure === null ? '✔' : '✖'} ${figureLine(target, report.figures)}`);
    if (report.failure !== null) {
      sayFailure(target, report);
      isGood = false;
    }
  }
  await watchdog.stop();
  say(`${total} cases`);
  return isGood;
}

function figureLine({name}: FuzzTarget, figures: FuzzFigures): string {
  const {caseCount, acceptedCount, refusedCount, slowestMs, seconds} = figures;
  const column = (value: number, width: number): string => String(value).padStart(width);
  return (
    name.padEnd(18) +
    column(caseCount, 11) +
    column(acceptedCount, 11) +
    column(refusedCount, 11) +
    column(figures.knownFaultCount, 7) +
    `${column(Math.round(slowestMs), 6)} ms` +
    `${column(Math.ceil(figures.allocatedSizeBytesMax / 1024), 7)} KiB` +
    column(Math.round(caseCount / Math.max(0.001, seconds)), 9)
  );
}

function replayCommand({name}: FuzzTarget, seed: number, path: string): string {
  return `npm run fuzz -- --target ${name} --seed ${seed} --path ${path}`;
}

function sayFailure(target: FuzzTarget, {failure}: FuzzReport): void {
  assert(failure !== null, 'a failure to be told');
  const {error, input, hex, seed, path}: FuzzFailure = failure;
  say(`  ${error.split('\n').slice(0, 8).join('\n  ')}`);
  say(`  input  ${shortened(input, inputLengthMax)}`);
  say(`  hex    ${shortened(hex, hexLengthMax)}`);
  say(`  again  ${replayCommand(target, seed, path)}`);
}

function shortened(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? text : `${text.slice(0, lengthMax)}… (${text.length})`;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`rosetta: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
