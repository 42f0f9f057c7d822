/** `get KEY`: the value, its bytes as they are. */
import {VerbError} from './verb.ts';
import type {Verb, VerbInput} from './verb.ts';
import {isOn, jsonFlag, optionalInteger, text} from './verb.ts';
import {clientFlags, withClient} from './cluster-client.ts';
import {consistencyFlag, consistencyOf} from './consistency.ts';
import {keyFlags, keyOperand} from './key-operand.ts';
import {recordFields} from './record-json.ts';
import {shownText} from './shown-text.ts';

export const getVerb: Verb = {
  name: 'get',
  operands: ['KEY'],
  summary: 'print the value of a key',
  flags: {
    revision: text('N', 'as it was at revision N'),
    ...consistencyFlag,
    ...keyFlags,
    ...clientFlags,
    ...jsonFlag,
  },
  run: get,
};

async function get(input: VerbInput): Promise<number> {
  const key = keyOperand(input);
  const revision = optionalInteger(input, 'revision', revisionRange);
  const consistency = consistencyOf(input);
  const record = await withClient(input, client => client.get(key, {revision, consistency}));
  if (record === null) throw keyNotFound(key, revision);
  if (isOn(input, 'json')) {
    input.output.print(`${JSON.stringify(recordFields(record))}\n`);
    return 0;
  }
  const {valueBytes} = record;
  input.output.print(valueBytes);
  // The prompt goes on a line of its own; a pipe gets the value alone.
  if (input.output.isTerminal && valueBytes.at(-1) !== newline) input.output.print('\n');
  return 0;
}

export const revisionRange = {min: 1, max: Number.MAX_SAFE_INTEGER};
const newline = 0x0a;

export function keyNotFound(key: Uint8Array, revision?: number): VerbError {
  const then = revision === undefined ? '' : ` at revision ${revision}`;
  return new VerbError(`there is no key "${shownText(key)}"${then} (KEY_NOT_FOUND)`, {
    code: 'KEY_NOT_FOUND',
  });
}
