/** All verbs, and what happens when one is called. */
import {UsageError} from '../flags.ts';
import {recoverVerb, restoreVerb, verifyVerb} from './directory-verbs.ts';
import {snapshotSaveVerb, snapshotStatusVerb} from './snapshot-verbs.ts';
import type {Verb, VerbInput} from './verb.ts';
import {parseVerbWords, verbHelp} from './verb.ts';

const verbs: readonly Verb[] = [
  snapshotSaveVerb,
  snapshotStatusVerb,
  restoreVerb,
  recoverVerb,
  verifyVerb,
];

/** Named by the contract and not there yet. */
const laterVerbs = [
  'get',
  'put',
  'del',
  'ls',
  'watch',
  'txn',
  'lease',
  'members',
  'status',
  'bench',
];

export interface FoundVerb {
  readonly verb: Verb;
  /** What follows its name. */
  readonly words: readonly string[];
}

/** Null: the words do not begin with a verb, they are a server's. Throws UsageError. */
export function findVerb(args: readonly string[]): FoundVerb | null {
  const [first = '', second = ''] = args;
  if (laterVerbs.includes(first)) {
    throw new UsageError(
      `"${first}" is not available yet; ./rosetta -id=… runs a server, ` +
        'and curl reads and writes it',
    );
  }
  for (const verb of verbs) {
    const [word, subword] = verb.name.split(' ');
    if (word !== first) continue;
    if (subword === undefined) return {verb, words: args.slice(1)};
    if (subword === second) return {verb, words: args.slice(2)};
  }
  const siblings = verbs.filter(verb => verb.name.startsWith(`${first} `));
  if (siblings.length === 0 || first === '') return null;
  const names = siblings.map(verb => `./rosetta ${verb.name}`).join(' or ');
  throw new UsageError(`"${first}" needs a second word: ${names}`);
}

/** Resolves with the exit code. Throws UsageError, and rejects with what the verb cannot do. */
export async function runVerb(
  found: FoundVerb,
  surroundings: Pick<VerbInput, 'env' | 'output'>,
): Promise<number> {
  const {verb, words} = found;
  if (words.some(word => word === '-help' || word === '--help')) {
    surroundings.output.print(verbHelp(verb));
    return 0;
  }
  return verb.run({...parseVerbWords(verb, words), ...surroundings});
}

/** For the help of the program. */
export function verbsHelp(): string {
  const lines = verbs.map(verb => {
    const left = [verb.name, ...verb.operands].join(' ');
    return `  ${left.padEnd(32)} ${verb.summary}`;
  });
  return ['', 'Verbs; ./rosetta VERB -help says more:', '', ...lines, ''].join('\n');
}
