/** `put KEY VALUE`: sets a key, under a condition if one is given. */
import {limits} from '../../base/limits.ts';
import {UsageError} from '../usage-error.ts';
import {clientFlags, withClient} from './cluster-client.ts';
import {revisionRange} from './get-verb.ts';
import {keyFlags, keyOperand} from './key-operand.ts';
import {keyFields} from './record-json.ts';
import {readValue} from './value-source.ts';
import type {Verb, VerbInput} from './verb.ts';
import {isOn, jsonFlag, optionalInteger, secondsFlag, text} from './verb.ts';

export const putVerb: Verb = {
  name: 'put',
  operands: ['KEY', '[VALUE]'],
  summary: 'set a key; the value "-" is read from standard input',
  flags: {
    file: text('PATH', 'read the value from a file'),
    ttl: text('SECONDS', 'the key goes by itself after so long'),
    lease: text('ID', 'the key goes with this lease'),
    'if-absent': {kind: 'switch', value: '', help: 'only if there is no such key'},
    'if-exists': {kind: 'switch', value: '', help: 'only if there is such a key'},
    'if-revision': text('N', 'only if the last change of the key was revision N'),
    ...keyFlags,
    ...clientFlags,
    ...jsonFlag,
  },
  run: put,
};

export const ttlRange = {min: 0.1, max: 1e9};

async function put(input: VerbInput): Promise<number> {
  const key = keyOperand(input);
  const conditions = conditionsOf(input);
  const ttl = secondsFlag(input, 'ttl', ttlRange);
  const lease = input.flags.get('lease');
  if (ttl !== undefined && lease !== undefined) {
    throw new UsageError('-ttl and -lease exclude each other');
  }
  const value = await readValue(input, input.operands[1], limits.valueSizeBytesMax);
  const {revision, version} = await withClient(input, client => {
    return client.put(key, value, {...conditions, ttl, lease});
  });
  const fields = {...keyFields(key), revision, version};
  const shown = isOn(input, 'json')
    ? JSON.stringify(fields)
    : `revision ${revision}, ${version === 1 ? 'created' : `version ${version}`}`;
  input.output.print(`${shown}\n`);
  return 0;
}

interface Conditions {
  readonly ifAbsent: boolean;
  readonly ifExists: boolean;
  readonly ifModRevision: number | undefined;
}

/** Of -if-absent, -if-exists and -if-revision at most one. Throws UsageError. */
function conditionsOf(input: VerbInput): Conditions {
  const ifAbsent = isOn(input, 'if-absent');
  const ifExists = isOn(input, 'if-exists');
  const ifModRevision = optionalInteger(input, 'if-revision', revisionRange);
  if (Number(ifAbsent) + Number(ifExists) + Number(ifModRevision !== undefined) > 1) {
    throw new UsageError('a write has at most one condition; txn takes more');
  }
  return {ifAbsent, ifExists, ifModRevision};
}
