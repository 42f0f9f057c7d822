/** `del KEY`, or all keys with a prefix. */
import {UsageError} from '../usage-error.ts';
import {clientFlags, withClient} from './cluster-client.ts';
import {keyNotFound, revisionRange} from './get-verb.ts';
import {keyFlags, keyOperand} from './key-operand.ts';
import {keysText} from './tables.ts';
import type {Verb, VerbInput} from './verb.ts';
import {isOn, jsonFlag, optionalInteger, text} from './verb.ts';

export const delVerb: Verb = {
  name: 'del',
  operands: ['[KEY]'],
  summary: 'delete a key, or with -prefix many at one revision',
  flags: {
    prefix: text('PREFIX', 'all keys that begin so, at most 10,000'),
    all: {kind: 'switch', value: '', help: 'every key there is, at most 10,000'},
    'if-revision': text('N', 'only if the last change of the key was revision N'),
    ...keyFlags,
    ...clientFlags,
    ...jsonFlag,
  },
  run: del,
};

async function del(input: VerbInput): Promise<number> {
  const [operand] = input.operands;
  const prefix = input.flags.get('prefix');
  const isAll = isOn(input, 'all');
  const wayCount = Number(operand !== undefined) + Number(prefix !== undefined) + Number(isAll);
  if (wayCount !== 1) throw new UsageError('del needs one of: KEY, -prefix=PREFIX, -all');
  if (prefix === '') throw new UsageError('-prefix= would delete every key; say -all for that');
  return operand === undefined ? delRange(input, prefix ?? '') : delKey(input);
}

async function delKey(input: VerbInput): Promise<number> {
  const key = keyOperand(input);
  const ifModRevision = optionalInteger(input, 'if-revision', revisionRange);
  const {deleted, revision} = await withClient(input, client => {
    return client.delete(key, {ifModRevision});
  });
  if (deleted === 0) throw keyNotFound(key);
  const fields = {deleted, revision};
  input.output.print(
    isOn(input, 'json') ? `${JSON.stringify(fields)}\n` : `revision ${revision}\n`,
  );
  return 0;
}

async function delRange(input: VerbInput, prefix: string): Promise<number> {
  for (const name of ['if-revision', 'key-base64']) {
    if (input.flags.has(name)) throw new UsageError(`-${name} is for a single KEY`);
  }
  const {deleted, revision} = await withClient(input, client => client.deleteRange({prefix}));
  const shown = isOn(input, 'json')
    ? JSON.stringify({deleted, revision})
    : `deleted ${keysText(deleted)}, revision ${revision}`;
  input.output.print(`${shown}\n`);
  return 0;
}
