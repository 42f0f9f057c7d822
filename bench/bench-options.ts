/** What `npm run bench -- …` was asked to measure. Throws an Error with one clear line. */
import {workloadNames} from './report/results.ts';

export const measurementNames = [
  'limits',
  'micro',
  ...workloadNames,
  'equal-load',
  'failover',
  'restart',
  'catch-up',
  'watch',
  'leases',
  'client',
  'growth-keys',
  'growth-values',
  'growth-members',
  'growth-history',
  'soak',
] as const;

export type MeasurementName = (typeof measurementNames)[number];

export interface BenchOptions {
  readonly selected: ReadonlySet<MeasurementName>;
  /** Everything but the soak, which may come on top. */
  readonly isWhole: boolean;
  /** Short rounds and small stores: shows that it works and roughly where things are. */
  readonly isQuick: boolean;
  readonly mustProfile: boolean;
  readonly mustWriteDocuments: boolean;
  /** A file of results to write the documents from, instead of measuring. */
  readonly from: string | null;
  /** Where the scratch directory goes; null: the first usual place on a disk. */
  readonly directory: string | null;
  readonly roundCount: number;
  readonly secondsPerRound: number;
}

const isWorkload = (name: string): boolean => workloadNames.some(workload => workload === name);

export const helpText = `npm run bench -- [options]

  --only A,B     measure only these (a word that is no name takes all that begin with it):
                 ${workloadNames.join(', ')},
                 ${measurementNames.filter(name => !isWorkload(name)).join(', ')}
  --soak         add the soak: ten minutes of saturating writes
  --quick        short rounds, small stores
  --rounds N     rounds of each throughput load; the medians are reported
  --seconds N    seconds of each throughput round
  --profile      the nodes leave CPU profiles under bench/results/profiles
  --dir DIR      scratch directory on the disk to measure
  --write-readme put the tables into README.md and docs/performance.md
  --from FILE    take the results of an earlier run, measure nothing
`;

export type ParsedOptions = {readonly type: 'help'} | {readonly type: 'run'; options: BenchOptions};

export function parseBenchOptions(args: readonly string[]): ParsedOptions {
  const given = new Map<string, string>();
  const words = args.flatMap(word => {
    const equals = word.indexOf('=');
    return equals < 0 ? [word] : [word.slice(0, equals), word.slice(equals + 1)];
  });
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (['--soak', '--quick', '--profile', '--write-readme', '--help'].includes(word)) {
      given.set(word, '');
    } else if (['--only', '--rounds', '--seconds', '--dir', '--from'].includes(word)) {
      const value = words[++i];
      if (value === undefined) throw new Error(`${word} needs a value`);
      given.set(word, value);
    } else throw new Error(`${word} is unknown; npm run bench -- --help lists the options`);
  }
  if (given.has('--help')) return {type: 'help'};
  const isQuick = given.has('--quick');
  return {
    type: 'run',
    options: {
      selected: select(given.get('--only') ?? null, given.has('--soak')),
      isWhole: !given.has('--only'),
      isQuick,
      mustProfile: given.has('--profile'),
      mustWriteDocuments: given.has('--write-readme'),
      from: given.get('--from') ?? null,
      directory: given.get('--dir') ?? null,
      roundCount: toCount(given.get('--rounds'), isQuick ? 1 : 3),
      secondsPerRound: toCount(given.get('--seconds'), isQuick ? 2 : 5),
    },
  };
}

function select(only: string | null, mustSoak: boolean): ReadonlySet<MeasurementName> {
  if (only === null) {
    return new Set(measurementNames.filter(name => name !== 'soak' || mustSoak));
  }
  const selected = new Set<MeasurementName>(mustSoak ? ['soak'] : []);
  for (const word of only.split(',')) {
    const exact = measurementNames.filter(name => name === word);
    const found = exact.length > 0 ? exact : measurementNames.filter(n => n.startsWith(`${word}-`));
    if (found.length === 0) throw new Error(`--only: there is no measurement ${word}`);
    for (const name of found) selected.add(name);
  }
  return selected;
}

function toCount(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const value = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (value < 1) throw new Error(`${text} must be a whole number from 1 to 99999`);
  return value;
}
