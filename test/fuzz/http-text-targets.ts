/** What a request is made of: targets, queries, cursors, headers. No sockets here. */
import fc from 'fast-check';
import {wantsRawBytes} from '../../src/api/http/accept.ts';
import {isMatch, isNotModified, writeConditions} from '../../src/api/http/conditions.ts';
import type {Cursor} from '../../src/api/http/cursor.ts';
import {decodeCursor, encodeCursor} from '../../src/api/http/cursor.ts';
import {checkIdempotencyKey} from '../../src/api/http/idempotency-header.ts';
import {checkOrigin} from '../../src/api/http/origin-check.ts';
import {parseQuery} from '../../src/api/http/query-parameters.ts';
import {rangeRequest} from '../../src/api/http/range-request.ts';
import {readRequestHeaders} from '../../src/api/http/request-headers.ts';
import {parseTarget, percentDecode} from '../../src/api/http/request-target.ts';
import {findRoute} from '../../src/api/http/router.ts';
import {assert} from '../../src/base/assert.ts';
import {checksum} from '../../src/base/checksum.ts';
import {RosettaError, errorTable} from '../../src/base/errors.ts';
import {limits} from '../../src/base/limits.ts';
import {codecTarget, mustBeRefusal} from './codec-target.ts';
import type {Damage} from './damage.ts';
import {damaged, maybeDamages} from './damage.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {pureTarget} from './fuzz-target.ts';
import {keyRanges} from './kv-targets.ts';
import {mustBeSame, textOf} from './same-value.ts';
import {characterOf} from './text-values.ts';

/** Everything a client can get wrong is told in a status of the fours. */
export function isClientError(error: unknown): boolean {
  if (!(error instanceof RosettaError)) return false;
  const {status} = errorTable[error.code];
  return status >= 400 && status < 500 && error.outcome === 'definite';
}

export function refusedOr(check: () => void): Verdict {
  try {
    check();
    return 'accepted';
  } catch (error) {
    mustBeRefusal(error, isClientError);
    return 'refused';
  }
}

interface TargetInput {
  readonly bytes: Uint8Array;
  /** Bytes that are written as themselves where that is allowed. */
  readonly isSparing: boolean;
  readonly damage: Damage;
}

function percentEncoded(bytes: Uint8Array, isSparing: boolean): string {
  let text = '';
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    const isPlain = /[A-Za-z0-9_.~/-]/.test(character);
    const digits = byte.toString(16).padStart(2, '0');
    text += isPlain && isSparing ? character : `%${byte % 2 === 0 ? digits : digits.toUpperCase()}`;
  }
  return text;
}

function targetBytes({bytes, isSparing, damage}: TargetInput): Buffer {
  return damaged(Buffer.from(`/kv/${percentEncoded(bytes, isSparing)}?a=b`), damage);
}

function checkTarget(input: TargetInput): Verdict {
  const text = targetBytes(input).toString('latin1');
  return refusedOr(() => {
    const {path, query} = parseTarget(text);
    assert(text === path || text === `${path}?${query}`, 'path and query are the target');
    const rest = findRoute(path)?.rest;
    if (input.damage.length === 0) {
      mustBeSame(percentDecode(rest ?? '', {isQuery: false}), input.bytes, 'the key');
      assert(query === 'a=b', 'the query');
    }
    for (const isQuery of [true, false]) {
      const decoded = percentDecode(isQuery ? query : path, {isQuery});
      const again = percentDecode(percentEncoded(decoded, input.isSparing), {isQuery});
      mustBeSame(again, decoded, 'decoded, encoded and decoded again');
    }
  });
}

const cursors: fc.Arbitrary<Cursor> = fc.record({
  rest: keyRanges,
  revision: fc.integer({min: 1, max: Number.MAX_SAFE_INTEGER}),
  limit: fc.integer({min: 1, max: limits.rangeLimitMax}),
  isReverse: fc.boolean(),
  keysOnly: fc.boolean(),
  rangeHash: fc.uint8Array({minLength: 16, maxLength: 16}),
});

/** Ways to write the same base64url that a lenient decoder lets through. */
const respellings: readonly ((text: string) => string)[] = [
  text => text,
  text => `${text}=`,
  text => `${text}==`,
  text => `${text}\n`,
  text => ` ${text}`,
  text => text.replaceAll('-', '+').replaceAll('_', '/'),
  text => text.slice(0, 8) + '.' + text.slice(8),
  // The last character may hold bits that belong to no byte.
  text => text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1),
];

const cursorTexts = fc.oneof(
  fc.string({maxLength: 60}),
  fc
    .tuple(cursors, fc.constantFrom(...respellings))
    .map(([cursor, respell]) => respell(encodeCursor(cursor))),
  fc
    .tuple(cursors, maybeDamages)
    .map(([cursor, damage]) =>
      damaged(Buffer.from(encodeCursor(cursor)), damage).toString('latin1'),
    ),
);

function sealCursor(bytes: Buffer): void {
  if (bytes.length < 4) return;
  const end = bytes.length - 4;
  bytes.writeUInt32LE(checksum(bytes.subarray(0, end)), end);
}

const parameterNames = [
  'prefix',
  'start',
  'end',
  'limit',
  'revision',
  'reverse',
  'keysOnly',
  'countOnly',
  'cursor',
  'consistency',
  'timeout',
];
const known: ReadonlySet<string> = new Set(parameterNames);

interface QueryInput {
  readonly pairs: readonly (readonly [string, string])[];
  readonly damage: Damage;
}

const parameterValues = fc.oneof(
  fc.string({maxLength: 12}),
  fc.constantFrom('true', 'false', '0', '1', '', '10000', '9007199254740991', '1e3', '-1', 'local'),
  fc.nat().map(String),
  cursors.map(encodeCursor),
);

const queryInputs: fc.Arbitrary<QueryInput> = fc.record({
  pairs: fc.array(
    fc.tuple(
      fc.oneof(
        {weight: 12, arbitrary: fc.constantFrom(...parameterNames)},
        {weight: 1, arbitrary: fc.constantFrom('__proto__', 'constructor', 'nope')},
      ),
      parameterValues,
    ),
    {maxLength: 4},
  ),
  damage: fc.oneof(
    {weight: 3, arbitrary: fc.constant<Damage>([])},
    {weight: 1, arbitrary: maybeDamages},
  ),
});

function queryBytes({pairs, damage}: QueryInput): Buffer {
  const text = pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return damaged(Buffer.from(text), damage);
}

function checkQuery(input: QueryInput): Verdict {
  const text = queryBytes(input).toString('latin1');
  return refusedOr(() => {
    const parameters = parseQuery(text, known);
    if (input.damage.length === 0) {
      for (const [name, value] of input.pairs) {
        assert(parameters.text(name) === value, `the parameter ${name}`);
      }
    }
    parameters.consistency();
    const timeoutMs = parameters.timeoutMs();
    assert(timeoutMs >= 1 && timeoutMs <= limits.requestTimeoutMsMax, `timeout ${timeoutMs}`);
    const {limit, revision, rangeHash, range} = rangeRequest(parameters);
    assert(limit >= 1 && limit <= limits.rangeLimitMax, `limit ${limit}`);
    assert(Number.isSafeInteger(revision) && revision >= 0, `revision ${revision}`);
    assert(rangeHash.length === 16, 'the hash of a range');
    assert(range.start.length <= limits.keySizeBytesMax + 1, 'a bound within its bound');
  });
}

interface HeaderInput {
  readonly headers: readonly (readonly [string, string])[];
  readonly mustHaveHost: boolean;
}

const headerNames = [
  'Host',
  'host',
  'Accept',
  'Origin',
  'If-Match',
  'If-None-Match',
  'Content-Length',
  'Sec-Fetch-Site',
  'Idempotency-Key',
  'Transfer-Encoding',
  'Access-Control-Request-Method',
  'X-Other',
];
const headerValues = fc.oneof(
  fc.constantFrom(
    '*',
    '"1"',
    '"7-raw", W/"8"',
    '"9007199254740993"',
    'localhost:9080',
    'http://localhost:9080',
    'http://a.b',
    '[::1]',
    'cross-site',
    'application/json;q=0.1, application/octet-stream',
    '*/*;q=0',
    'text/*, application/*;q=1.5',
    'chunked',
    'gzip, chunked',
    '12',
  ),
  fc.string({maxLength: 30}),
  fc.string({unit: characterOf('",;=*/W q0.1-raw\\'), maxLength: 30}),
);

const headerInputs: fc.Arbitrary<HeaderInput> = fc.record({
  headers: fc.array(fc.tuple(fc.constantFrom(...headerNames), headerValues), {maxLength: 6}),
  mustHaveHost: fc.boolean(),
});

function checkHeaders(input: HeaderInput): Verdict {
  const rules = {corsOrigins: new Set(['http://a.b']), hostNames: new Set(['own.name'])};
  return refusedOr(() => {
    const headers = readRequestHeaders(input.headers.flat(), input);
    const names = input.headers.map(([name]) => name.toLowerCase());
    assert(headers.host !== undefined || !input.mustHaveHost, 'a request has a Host');
    for (const name of ['host', 'if-match', 'idempotency-key']) {
      assert(names.filter(each => each === name).length <= 1, `${name} twice`);
    }
    wantsRawBytes(headers.accept ?? '');
    checkOrigin(headers, rules);
    checkIdempotencyKey(headers.idempotencyKey);
    const compares = writeConditions(headers, Uint8Array.of(1));
    const isConditional = headers.ifMatch !== undefined || headers.ifNoneMatch !== undefined;
    assert(compares.length > 0 === isConditional, 'a condition is never dropped');
    isMatch(headers.ifMatch, 7);
    isNotModified(headers.ifNoneMatch, 7);
  });
}

export const httpTextTargets: readonly FuzzTarget[] = [
  pureTarget<TargetInput>(
    {name: 'http-target', share: 6},
    {
      inputs: fc.record({
        bytes: fc.uint8Array({maxLength: 40}),
        isSparing: fc.boolean(),
        damage: maybeDamages,
      }),
      bytesOf: targetBytes,
      check: checkTarget,
    },
  ),
  pureTarget<QueryInput>(
    {name: 'http-query', share: 6},
    {inputs: queryInputs, bytesOf: queryBytes, check: checkQuery},
  ),
  codecTarget<Cursor>({
    name: 'cursor',
    share: 5,
    values: cursors,
    encode: cursor => Buffer.from(encodeCursor(cursor), 'base64url'),
    decode: bytes => decodeCursor(bytes.toString('base64url')),
    seal: sealCursor,
    isRefusal: error => error instanceof RosettaError && error.code === 'INVALID_CURSOR',
  }),
  pureTarget<{readonly text: string}>(
    {name: 'cursor-text', share: 3},
    {
      inputs: fc.record({text: cursorTexts}),
      bytesOf: ({text}) => Buffer.from(text),
      check: ({text}) =>
        refusedOr(() => {
          assert(encodeCursor(decodeCursor(text)) === text, 'one text for one cursor');
        }),
    },
  ),
  pureTarget<HeaderInput>(
    {name: 'http-headers', share: 6},
    {
      inputs: headerInputs,
      bytesOf: input => Buffer.from(textOf(input.headers)),
      check: checkHeaders,
    },
  ),
];
