/** All verbs, and what happens when one is called. */
import {UsageError} from '../usage-error.ts';
import {benchVerb} from './bench-verb.ts';
import {completionVerb} from './completion.ts';
import {delVerb} from './del-verb.ts';
import {recoverVerb, restoreVerb, verifyVerb} from './directory-verbs.ts';
import {getVerb} from './get-verb.ts';
import {
  leaseGetVerb,
  leaseGrantVerb,
  leaseKeepaliveVerb,
  leaseListVerb,
  leaseRevokeVerb,
} from './lease-verbs.ts';
import {lockVerb} from './lock-verb.ts';
import {lsVerb} from './ls-verb.ts';
import {leaderMoveVerb, membersAddVerb, membersRemoveVerb, membersVerb} from './members-verbs.ts';
import {putVerb} from './put-verb.ts';
import {snapshotSaveVerb, snapshotStatusVerb} from './snapshot-verbs.ts';
import {statusVerb} from './status-verb.ts';
import {txnVerb} from './txn-verb.ts';
import type {Verb, VerbSurroundings} from './verb.ts';
import {isOn, parseVerbWords, VerbError, verbHelp} from './verb.ts';
import {watchVerb} from './watch-verb.ts';

/** In the order of the help. */
export const verbs: readonly Verb[] = [
  getVerb,
  putVerb,
  delVerb,
  lsVerb,
  watchVerb,
  txnVerb,
  leaseGrantVerb,
  leaseKeepaliveVerb,
  leaseRevokeVerb,
  leaseGetVerb,
  leaseListVerb,
  lockVerb,
  statusVerb,
  membersVerb,
  membersAddVerb,
  membersRemoveVerb,
  leaderMoveVerb,
  benchVerb,
  snapshotSaveVerb,
  snapshotStatusVerb,
  restoreVerb,
  recoverVerb,
  verifyVerb,
  completionVerb(() => verbs),
];

export interface FoundVerb {
  readonly verb: Verb;
  /** What follows its name. */
  readonly words: readonly string[];
}

/** Null: the words do not begin with a verb, they are a server's. Throws UsageError. */
export function findVerb(args: readonly string[]): FoundVerb | null {
  const [first = '', second = ''] = args;
  const long = verbs.find(({name}) => name === `${first} ${second}`);
  if (long !== undefined) return {verb: long, words: args.slice(2)};
  const short = verbs.find(({name}) => name === first);
  if (short !== undefined) return {verb: short, words: args.slice(1)};
  if (first === '' || first.startsWith('-')) return null;
  const siblings = verbs.filter(verb => verb.name.startsWith(`${first} `));
  if (siblings.length === 0) {
    throw new UsageError(`there is no verb ${JSON.stringify(first)}; ./rosetta -help lists them`);
  }
  if (isHelp(second)) return {verb: groupHelp(first, siblings), words: []};
  const names = siblings.map(verb => `./rosetta ${verb.name}`).join(' or ');
  throw new UsageError(`"${first}" needs a second word: ${names}`);
}

/** Resolves with the exit code. Rejects with UsageError, and with what the verb cannot do. */
export async function runVerb(found: FoundVerb, surroundings: VerbSurroundings): Promise<number> {
  const {verb, words} = found;
  const end = words.indexOf('--');
  const own = end < 0 ? words : words.slice(0, end);
  if (own.some(isHelp)) {
    surroundings.output.print(verbHelp(verb));
    return 0;
  }
  const input = {...parseVerbWords(verb, words), ...surroundings};
  try {
    return await verb.run(input);
  } catch (error) {
    if (error instanceof VerbError && isOn(input, 'json')) {
      const {code, outcome, message: detail} = error;
      input.output.print(`${JSON.stringify({error: {code, detail, outcome}})}\n`);
    }
    throw error;
  }
}

/** For the help of the program. */
export function verbsHelp(some: readonly Verb[] = verbs): string {
  const lines = some.map(verb => {
    const left = [verb.name, ...verb.operands].join(' ');
    return `  ${left.padEnd(32)} ${verb.summary}`;
  });
  return ['', 'Verbs; ./rosetta VERB -help says more:', '', ...lines, ''].join('\n');
}

function isHelp(word: string): boolean {
  return word === '-help' || word === '--help';
}

/** For the first word of verbs that all have two. */
function groupHelp(name: string, group: readonly Verb[]): Verb {
  return {
    name,
    operands: [],
    summary: `Lists the verbs that begin with ${name}`,
    flags: {},
    run: ({output}) => {
      output.print(verbsHelp(group));
      return Promise.resolve(0);
    },
  };
}
