import {deepEqual, equal, throws} from 'node:assert/strict';
import {test} from 'node:test';
import fc from 'fast-check';
import {
  bytes,
  compare,
  encode,
  list,
  put,
  range,
  transaction,
} from '../../test/contract/commands.ts';
import {MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import {decodeCommand, decodePlainPut, encodeCommand} from './command-codec.ts';
import type {Command, Compare, KeyRange, Operation, Transaction} from './command.ts';

const runs = {seed: 7, numRuns: 200};
const key = fc.uint8Array({minLength: 1, maxLength: 40}).map(plain);
const value = fc.uint8Array({maxLength: 60}).map(plain);
const number = fc.maxSafeNat();
const keys: fc.Arbitrary<KeyRange> = fc.record({
  start: fc.uint8Array({maxLength: 40}).map(plain),
  end: fc.option(key),
});
const operator = fc.constantFrom('=', '!=', '<', '>');
const compares: fc.Arbitrary<Compare> = fc.record({
  keys: fc.oneof(fc.record({key}), fc.record({range: keys})),
  operator,
  target: fc.oneof(
    fc.record({type: fc.constant('value'), value}),
    fc.record({
      type: fc.constantFrom('version', 'createRevision', 'modRevision', 'lease'),
      value: number,
    }),
  ),
});
const flag = fc.boolean();

function operations(depth: number): fc.Arbitrary<readonly Operation[]> {
  const plainOperation: fc.Arbitrary<Operation> = fc.oneof(
    fc.record({
      type: fc.constant('put'),
      key,
      value,
      leaseId: number,
      ttlMs: number,
      ignoreValue: flag,
      ignoreLease: flag,
      wantsPrevious: flag,
    }),
    fc.record({type: fc.constant('get'), key}),
    fc.record({
      type: fc.constant('range'),
      range: keys,
      limit: number,
      isReverse: flag,
      keysOnly: flag,
      countOnly: flag,
    }),
    fc.record({type: fc.constant('delete'), key, wantsPrevious: flag}),
    fc.record({type: fc.constant('delete-range'), range: keys, wantsPrevious: flag}),
  );
  const isDeepest = depth === limits.transactionDepthMax;
  const operation = isDeepest ? plainOperation : fc.oneof(plainOperation, nested(depth + 1));
  return fc.array(operation, {maxLength: 3});
}

function nested(depth: number): fc.Arbitrary<Transaction> {
  return fc.record({
    type: fc.constant('transaction'),
    compare: fc.array(compares, {maxLength: 2}),
    success: operations(depth),
    failure: operations(depth),
  });
}

const commands: fc.Arbitrary<Command> = fc.record({
  idempotency: fc.option(
    fc.record({
      key: fc.stringMatching(/^[ -~]{1,128}$/),
      fingerprint: fc.uint8Array({minLength: 16, maxLength: 16}).map(plain),
      acknowledged: fc.oneof(fc.constant(0), number),
    }),
  ),
  body: fc.oneof(
    nested(1),
    fc.record({type: fc.constant('compact'), revision: number}),
    fc.record({
      type: fc.constant('session'),
      action: fc.constantFrom('open', 'close'),
      id: fc.stringMatching(/^[ -.0-~]{1,64}$/),
    }),
  ),
});

test('every command comes back as it was', () => {
  // A clone turns views and objects without prototype into plain ones, which deepEqual minds.
  fc.assert(
    fc.property(commands, command => {
      deepEqual(structuredClone(decodeCommand(encodeCommand(command))), structuredClone(command));
    }),
    runs,
  );
});

test('cut or longer bytes are malformed', () => {
  fc.assert(
    fc.property(commands, fc.nat(), (command, at) => {
      const encoded = encodeCommand(command);
      const cut = encoded.subarray(0, at % encoded.length);
      throws(() => decodeCommand(cut), MalformedBytesError);
      throws(() => decodeCommand(Buffer.concat([encoded, Buffer.of(0)])), MalformedBytesError);
    }),
    runs,
  );
});

test('damaged bytes decode or are malformed, nothing else', () => {
  const damages = fc.array(fc.tuple(fc.nat(), fc.nat(255)), {minLength: 1, maxLength: 4});
  fc.assert(
    fc.property(commands, damages, (command, places) => {
      const encoded = encodeCommand(command);
      for (const [at, byte] of places) encoded[at % encoded.length] = byte;
      try {
        decodeCommand(encoded);
        decodePlainPut(encoded);
      } catch (error) {
        equal(error instanceof MalformedBytesError, true);
      }
    }),
    {...runs, numRuns: 1000},
  );
});

test('a plain put is read without the command around it, and only a plain put', () => {
  const plainPut = decodePlainPut(encode(transaction({success: [put('k', 'v')]})));
  deepEqual(plainPut && {key: plain(plainPut.key), value: plain(plainPut.value)}, {
    key: bytes('k'),
    value: bytes('v'),
  });
  const others = [
    encode(transaction({success: [put('k', 'v', {wantsPrevious: true})]})),
    encode(transaction({success: [put('k', 'v')]}), {key: 'a', request: 1}),
    encode(transaction({success: [put('k', 'v'), put('l', 'v')]})),
    encode(transaction({success: [list(range('', null))]})),
    encode({type: 'compact', revision: 5}),
  ];
  for (const other of others) equal(decodePlainPut(other), null);
});

test('the encoding of docs/formats.md is kept', () => {
  const hex = (body: Parameters<typeof encode>[0]): string =>
    Buffer.from(encode(body)).toString('hex');
  equal(hex(transaction({success: [put('k', 'vv')]})), '0100030100016b027676');
  equal(hex({type: 'compact', revision: 300}), '010002ac02');
  const conditional = transaction({
    compare: [compare('k', '=', {type: 'modRevision', value: 7})],
    success: [put('k', 'v')],
  });
  equal(hex(conditional), '010001010400016b07010100016b017600');
});

test('empty and too long keys, deep nesting and unknown versions are malformed', () => {
  const emptyKey = Buffer.from('010003010000', 'hex');
  throws(() => decodeCommand(emptyKey), MalformedBytesError);
  const version = Buffer.from('0200030100016b0176', 'hex');
  throws(() => decodeCommand(version), MalformedBytesError);
  const nesting = Buffer.from('010003' + '060001'.repeat(limits.transactionDepthMax), 'hex');
  throws(() => decodeCommand(nesting), {name: 'MalformedBytesError', message: 'nested too deep'});
});

function plain(item: Uint8Array): Uint8Array {
  return new Uint8Array(item);
}
