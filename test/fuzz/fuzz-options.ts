/** What `npm run fuzz -- …` was asked for. Throws an Error with one clear line. */
export interface FuzzOptions {
  /** Over all targets that run. */
  readonly caseCount: number;
  /** Null: all. */
  readonly target: string | null;
  /** Null: drawn. */
  readonly seed: number | null;
  readonly path: string | null;
}

export const fuzzHelpText = `npm run fuzz -- [options]

  --cases N      cases, shared out among the targets by what they cost (100000)
  --target NAME  this target alone; --list names them
  --seed S       a 32-bit integer: the same cases again
  --path P       of a failure: the one case that failed
  --list         the targets
`;

export type ParsedFuzzOptions =
  {readonly type: 'help'} | {readonly type: 'list'} | {readonly type: 'run'; options: FuzzOptions};

const caseCountDefault = 100_000;
const caseCountMax = 1_000_000_000;

export function parseFuzzOptions(args: readonly string[]): ParsedFuzzOptions {
  const given = new Map<string, string>();
  const words = args.flatMap(word => {
    const equals = word.indexOf('=');
    return equals < 0 ? [word] : [word.slice(0, equals), word.slice(equals + 1)];
  });
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (word === '--help') return {type: 'help'};
    if (word === '--list') return {type: 'list'};
    if (!['--cases', '--target', '--seed', '--path'].includes(word)) {
      throw new Error(`${word} is unknown; npm run fuzz -- --help lists the options`);
    }
    const value = words[++i];
    if (value === undefined) throw new Error(`${word} needs a value`);
    given.set(word, value);
  }
  const seed = given.get('--seed');
  return {
    type: 'run',
    options: {
      caseCount: toInteger('--cases', given.get('--cases') ?? String(caseCountDefault), {
        min: 1,
        max: caseCountMax,
      }),
      target: given.get('--target') ?? null,
      seed: seed === undefined ? null : toInteger('--seed', seed, {min: -(2 ** 31), max: 2 ** 32}),
      path: given.get('--path') ?? null,
    },
  };
}

function toInteger(
  name: string,
  text: string,
  range: {readonly min: number; readonly max: number},
): number {
  const value = /^-?[0-9]{1,10}$/.test(text) ? Number(text) : NaN;
  if (!(value >= range.min && value <= range.max)) {
    throw new Error(`${name} must be a whole number from ${range.min} to ${range.max}`);
  }
  return value;
}
