/** JSON in both directions: what a client sends, against JSON.parse, and what an answer holds. */
import fc from 'fast-check';
import {bytesField, integerField, requestObject} from '../../src/api/http/json-fields.ts';
import type {JsonValue} from '../../src/api/http/json-parser.ts';
import {parseJson} from '../../src/api/http/json-parser.ts';
import {recordJson} from '../../src/api/http/record-json.ts';
import {assert} from '../../src/base/assert.ts';
import {RosettaError} from '../../src/base/errors.ts';
import {mustBeRefusal} from './codec-target.ts';
import type {Damage} from './damage.ts';
import {damaged, maybeDamages} from './damage.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {pureTarget} from './fuzz-target.ts';
import {isClientError, refusedOr} from './http-text-targets.ts';
import {values} from './kv-targets.ts';
import {mustBeSame} from './same-value.ts';

interface JsonInput {
  readonly value: unknown;
  readonly indent: number;
  /** The first member of an object is given a second time. */
  readonly isDoubled: boolean;
  readonly damage: Damage;
}

const jsonInputs: fc.Arbitrary<JsonInput> = fc.record({
  value: fc.oneof(
    fc.jsonValue({maxDepth: 4}),
    fc.record(
      {
        key: fc.oneof(fc.string({unit: 'grapheme'}), fc.base64String()),
        value: fc.oneof(fc.string({unit: 'binary'}), fc.base64String()),
        keyEncoding: fc.constantFrom('utf8', 'base64', 'hex'),
        encoding: fc.constantFrom('utf8', 'base64'),
        revision: fc.oneof(fc.maxSafeNat(), fc.double()),
      },
      {requiredKeys: []},
    ),
  ),
  indent: fc.nat(2),
  isDoubled: fc.integer({min: 0, max: 7}).map(each => each === 0),
  damage: maybeDamages,
});

function jsonBytes({value, indent, isDoubled, damage}: JsonInput): Buffer {
  const text = JSON.stringify(value, null, indent);
  const first = firstMember(value);
  const isObject = isDoubled && first !== null;
  return damaged(Buffer.from(isObject ? `${text.slice(0, -1)},${first}}` : text), damage);
}

function firstMember(value: unknown): string | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const [entry] = Object.entries(value);
  return entry === undefined ? null : `${JSON.stringify(entry[0])}:${JSON.stringify(entry[1])}`;
}

/** Maps as objects; a name that occurs twice has been refused. */
function plainJson(value: JsonValue): unknown {
  if (value instanceof Map) {
    const entries = [...(value as ReadonlyMap<string, JsonValue>)];
    return Object.fromEntries(entries.map(([name, each]) => [name, plainJson(each)]));
  }
  return Array.isArray(value) ? value.map(plainJson) : value;
}

function nativeJson(bytes: Buffer): {readonly value: unknown} | null {
  try {
    const text = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true}).decode(bytes);
    return {value: JSON.parse(text)};
  } catch {
    return null;
  }
}

/** Nothing that JSON.parse refuses is accepted, and what is accepted means the same. */
function checkJson(input: JsonInput): Verdict {
  const bytes = jsonBytes(input);
  const native = nativeJson(bytes);
  let value: JsonValue;
  try {
    value = parseJson(bytes);
  } catch (error) {
    mustBeRefusal(error, isClientError);
    const code = error instanceof RosettaError ? error.code : '';
    assert(code !== 'INVALID_JSON' || native === null, 'JSON.parse accepts what is called no JSON');
    return 'refused';
  }
  assert(native !== null, 'JSON.parse refuses what was accepted');
  const isTwice = input.isDoubled && firstMember(input.value) !== null;
  assert(!isTwice || input.damage.length > 0, 'a name that is given twice is accepted');
  mustBeSame(plainJson(value), native.value, 'the value');
  const knownFields = new Set(['key', 'value', 'keyEncoding', 'encoding', 'revision']);
  refusedOr(() => {
    const object = requestObject(value, knownFields);
    const key = bytesField(object, 'key', 'keyEncoding');
    const text = object.get('key');
    const encoding = object.get('keyEncoding') === 'base64' ? 'base64' : 'utf8';
    assert(key.toString(encoding) === text, 'the bytes of a field are its text');
    bytesField(object, 'value', 'encoding');
    assert(integerField(object, 'revision', 1) >= 1, 'a revision');
  });
  return 'accepted';
}

interface RecordInput {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

function fieldBytes(object: Readonly<Record<string, unknown>>, name: string, by: string): Buffer {
  return Buffer.from(String(object[name]), object[by] === 'base64' ? 'base64' : 'utf8');
}

/** The text of an answer is JSON and holds the bytes. */
function checkRecord({key, value}: RecordInput): Verdict {
  const numbers = {createRevision: 1, modRevision: 2, version: 3, leaseId: 4};
  const text = recordJson({key, value, ...numbers}, {keysOnly: false});
  const object = JSON.parse(text) as Readonly<Record<string, unknown>>;
  mustBeSame(fieldBytes(object, 'key', 'keyEncoding'), key, 'the key');
  mustBeSame(fieldBytes(object, 'value', 'encoding'), value, 'the value');
  assert(object['modRevision'] === 2 && object['lease'] === '4', 'the numbers');
  // Only bytes that are no text are encoded.
  return object['encoding'] === undefined ? 'accepted' : 'refused';
}

const textBytes = fc.string({unit: 'binary'}).map(text => new TextEncoder().encode(text));

export const httpJsonTargets: readonly FuzzTarget[] = [
  pureTarget<JsonInput>(
    {name: 'http-json', share: 8},
    {inputs: jsonInputs, bytesOf: jsonBytes, check: checkJson},
  ),
  pureTarget<RecordInput>(
    {name: 'record-json', share: 4},
    {
      inputs: fc.record({
        key: fc.oneof(values, textBytes),
        value: fc.oneof(values, textBytes),
      }),
      bytesOf: ({key, value}) => Buffer.concat([key, value]),
      check: checkRecord,
    },
  ),
];
