/** What a torture run is told: `npm run torture -- --minutes 5 --faults kill,pause`. */
import type {FaultName} from './faults.ts';
import {faultNames} from './faults.ts';
import type {WorkloadName} from './workloads.ts';
import {workloadNames} from './workloads.ts';

export interface TortureOptions {
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly seed: number;
  readonly workloads: readonly WorkloadName[];
  readonly faults: readonly FaultName[];
  readonly nodeCount: number;
  readonly clientsPerWorkload: number;
  /** Operations a second that the warm-up must reach: faults under no load show nothing. */
  readonly rateMin: number;
  readonly network: 'proxy' | 'namespaces';
  /** The servers' disks lie: the run must fail. */
  readonly hasLyingDisks: boolean;
  /** Reads ask a node for its own state: the run must fail. */
  readonly hasStaleReads: boolean;
  /** Repeats forget their idempotency key: the run must fail. */
  readonly mayRepeatKeyless: boolean;
  readonly mustKeep: boolean;
  /** Judge this history and run nothing. */
  readonly check: string | null;
}

export const tortureDefaults: TortureOptions = {
  seconds: 60,
  warmUpSeconds: 3,
  seed: 1,
  workloads: workloadNames,
  faults: faultNames,
  nodeCount: 3,
  clientsPerWorkload: 4,
  rateMin: 20,
  network: 'proxy',
  hasLyingDisks: false,
  hasStaleReads: false,
  mayRepeatKeyless: false,
  mustKeep: false,
  check: null,
};

export const tortureHelp = `Usage: npm run torture -- [flags]

  --minutes N | --seconds N   time under faults (1 minute)
  --seed N                    what is done to which node (drawn anew each time)
  --workload A,B              of ${workloadNames.join(', ')} (all)
  --faults A,B                of ${faultNames.join(', ')} (all)
  --nodes N                   members of the cluster (3)
  --clients N                 clients of each workload (4)
  --network proxy|namespaces  how links are cut (proxy; namespaces need root)
  --check FILE                judges a history and runs nothing
  --keep                      keeps the directory of a run that went well
  --unsafe-no-fsync           servers whose disks lie; must fail
  --stale-reads               local reads passed off as linearizable; must fail
  --no-idempotency            repeats without their idempotency key; must fail
`;

/** Throws an Error of one line. `drawnSeed` counts when none is given. */
export function parseTortureOptions(args: readonly string[], drawnSeed: number): TortureOptions {
  let options: TortureOptions = {...tortureDefaults, seed: drawnSeed};
  const rest = args.flatMap(arg => {
    const at = arg.startsWith('--') ? arg.indexOf('=') : -1;
    return at < 0 ? [arg] : [arg.slice(0, at), arg.slice(at + 1)];
  });
  for (let flag = rest.shift(); flag !== undefined; flag = rest.shift()) {
    const alone = switches[flag];
    if (alone !== undefined) {
      options = {...options, ...alone};
      continue;
    }
    const read = readers[flag];
    if (read === undefined) throw new Error(`unknown flag ${flag}`);
    const value = rest.shift();
    if (value === undefined) throw new Error(`${flag} needs a value`);
    options = {...options, ...read(value, flag)};
  }
  return options;
}

const switches: Readonly<Record<string, Partial<TortureOptions>>> = {
  '--keep': {mustKeep: true},
  '--unsafe-no-fsync': {hasLyingDisks: true},
  '--stale-reads': {hasStaleReads: true},
  '--no-idempotency': {mayRepeatKeyless: true},
};

const readers: Readonly<Record<string, (value: string, flag: string) => Partial<TortureOptions>>> =
  {
    '--minutes': (value, flag) => ({seconds: 60 * number(value, flag, 0.01, 10_000)}),
    '--seconds': (value, flag) => ({seconds: number(value, flag, 1, 1_000_000)}),
    '--seed': (value, flag) => ({seed: whole(value, flag, 0, 0xffff_ffff)}),
    '--nodes': (value, flag) => ({nodeCount: whole(value, flag, 1, 7)}),
    '--clients': (value, flag) => ({clientsPerWorkload: whole(value, flag, 1, 100)}),
    '--workload': (value, flag) => ({workloads: names(value, flag, workloadNames)}),
    '--faults': (value, flag) => ({faults: value === '' ? [] : names(value, flag, faultNames)}),
    '--check': value => ({check: value}),
    '--network': (value, flag) => {
      const [network] = names(value, flag, ['proxy', 'namespaces'] as const);
      return network === undefined ? {} : {network};
    },
  };

function number(text: string, flag: string, min: number, max: number): number {
  const value = Number(text);
  if (text === '' || !(value >= min && value <= max)) {
    throw new Error(`${flag} must be ${min} to ${max}, not "${text}"`);
  }
  return value;
}

function whole(text: string, flag: string, min: number, max: number): number {
  const value = number(text, flag, min, max);
  if (!Number.isInteger(value)) throw new Error(`${flag} must be a whole number`);
  return value;
}

function names<T extends string>(text: string, flag: string, known: readonly T[]): T[] {
  return text.split(',').map(name => {
    const found = known.find(candidate => candidate === name);
    if (found === undefined) throw new Error(`${flag} takes ${known.join(', ')}; not "${name}"`);
    return found;
  });
}
