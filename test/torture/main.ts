/** `npm run torture`: a run from the command line, told as it goes, with a table at the end. */
import {parseTortureOptions, tortureHelp} from './options.ts';
import type {TortureOptions} from './options.ts';
import {readHistory} from './history.ts';
import type {Judgement} from './judge.ts';
import {judgeHistory} from './judge.ts';
import type {TortureResult} from './run.ts';
import {runTorture} from './run.ts';

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) {
    process.stdout.write(tortureHelp);
    return 0;
  }
  let options: TortureOptions;
  try {
    options = parseTortureOptions(args, Math.floor(Math.random() * 0xffff_ffff));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
  if (options.check !== null) return checkHistory(options.check);
  say(`seed ${options.seed}`);
  const result = await runTorture(options, say);
  printResult(result);
  return result.problems.length === 0 ? 0 : 1;
}

function checkHistory(path: string): number {
  const judgements = judgeHistory(readHistory(path));
  printJudgements(judgements);
  for (const {text} of judgements) if (text !== '') say(`\n${text}`);
  return judgements.every(({verdict}) => verdict === 'ok') ? 0 : 1;
}

function printJudgements(judgements: readonly Judgement[]): void {
  const head = ['workload', 'operations', 'unknown', 'keys', 'verdict'];
  const rows = judgements.map(row =>
    [row.workload, row.operationCount, row.unknownCount, row.keyCount, row.verdict].map(String),
  );
  for (const row of [head, ...rows])
    say(
      row
        .map(cell => cell.padEnd(11))
        .join(' ')
        .trimEnd(),
    );
}

function printResult(result: TortureResult): void {
  say('');
  printJudgements(result.judgements);
  say('');
  say(`faults      ${describeCounts(result.faultCounts)}`);
  say(`answers     ${describeCounts(result.outcomes)}`);
  say(`under fault ${Math.round(result.okPerSecond)} operations a second`);
  say(`recovery    ${Math.round(result.recoveryMs)} ms after the last fault`);
  say(
    `a node used ${result.residentSizeMiBMax} MiB and ` +
      `${result.descriptorCountMax} descriptors at most`,
  );
  for (const problem of result.problems) say(`\nPROBLEM ${problem}`);
  if (result.problems.length === 0) {
    say('\ngreen');
    return;
  }
  const where = result.directory ?? '';
  say(`\nRED: ${result.problems.length} problems`);
  say(`history: ${where}/history.jsonl (npm run torture -- --check ${where}/history.jsonl)`);
}

function describeCounts(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${name} ${count}`).join(', ');
}

process.exitCode = await main(process.argv.slice(2));
