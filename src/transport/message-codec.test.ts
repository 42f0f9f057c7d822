import assert from 'node:assert/strict';
import {test} from 'node:test';
import {MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import {Prng} from '../base/prng.ts';
import {entries, oneOfEach, plain} from '../../test/contract/transport-contract.ts';
import {logIndex, nodeId, term} from '../raft/ids.ts';
import type {AppendMessage} from '../raft/message.ts';
import type {EncodableMessage} from './message-codec.ts';
import {decodeMessage, encodeMessage, findDamagedEntry} from './message-codec.ts';

const route = {from: nodeId('node1'), to: nodeId('node2')};

function append(changes: Partial<AppendMessage> = {}): AppendMessage {
  const previous = {term: term(3), index: logIndex(10)};
  const commit = logIndex(4);
  return {
    type: 'append',
    ...route,
    term: term(5),
    previous,
    entries: entries(3, 20),
    commit,
    ...changes,
  };
}

function assertMalformed(bytes: Uint8Array): void {
  assert.throws(() => decodeMessage(bytes, route), MalformedBytesError);
}

test('every kind of message is read as it was written', () => {
  for (const message of oneOfEach(route.from, route.to) as EncodableMessage[]) {
    assert.deepEqual(plain(decodeMessage(encodeMessage(message), route)), plain(message));
  }
});

test('sender and addressee are those of the connection, whatever the sender wrote', () => {
  const other = {from: nodeId('evil'), to: nodeId('node2')};
  const decoded = decodeMessage(encodeMessage(append()), other);
  assert.ok(decoded.type === 'append');
  assert.equal(decoded.from, 'evil');
});

test('every message cut short or lengthened is malformed, unless its tail is free-form', () => {
  const freeForm = ['forward', 'forward-response', 'state-hash'];
  for (const message of oneOfEach(route.from, route.to) as EncodableMessage[]) {
    if (freeForm.includes(message.type)) continue;
    const bytes = encodeMessage(message);
    for (let size = 0; size < bytes.length; size++) assertMalformed(bytes.subarray(0, size));
    assertMalformed(Buffer.concat([bytes, Buffer.alloc(1)]));
  }
});

test('a number above 2^53 - 1 is malformed', () => {
  const bytes = encodeMessage({type: 'timeout-now', ...route, term: term(1)});
  bytes[7] = 0x20;
  assertMalformed(bytes);
});

test('entries of a term before the previous one or after the leader’s are malformed', () => {
  assertMalformed(encodeMessage(append({previous: {term: term(4), index: logIndex(10)}})));
  assertMalformed(encodeMessage(append({term: term(2)})));
  const [first, second, third] = entries(3, 5);
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const later = {...first, term: term(5)};
  assertMalformed(encodeMessage(append({entries: [later, second, third]})));
});

test('a term before the log, flags above 1 and unknown types are malformed', () => {
  assertMalformed(
    encodeMessage(append({entries: [], previous: {term: term(1), index: logIndex(0)}})),
  );
  const granted = encodeMessage({type: 'vote-response', ...route, term: term(1), granted: true});
  granted[9] = 2;
  assertMalformed(granted);
  for (const code of [0, 16, 255]) assertMalformed(Buffer.from([code, ...new Uint8Array(40)]));
});

test('an announced number of entries costs nothing before it is believed', () => {
  const bytes = encodeMessage(append({entries: []}));
  bytes.writeUInt32LE(0xffff_ffff, bytes.length - 4);
  assertMalformed(bytes);
});

test('an index that would leave the safe integers is malformed', () => {
  const bytes = encodeMessage(append());
  const previousIndexAt = 1 + 8 + 8;
  bytes.writeUInt32LE(0xffff_fffe, previousIndexAt);
  bytes.writeUInt32LE(0x1f_ffff, previousIndexAt + 4);
  assertMalformed(bytes);
});

test('a damaged entry is found', () => {
  const bytes = encodeMessage(append());
  assert.equal(findDamagedEntry(decodeMessage(bytes, route)), undefined);
  bytes[bytes.length - 1] = 0;
  assert.equal(findDamagedEntry(decodeMessage(bytes, route))?.index, 13);
});

test('an error code of a later version reads as INTERNAL, whose outcome is unknown', () => {
  const error = {code: 'OVERLOADED', detail: 'x'} as const;
  const bytes = encodeMessage({type: 'forward-response', requestId: 1, result: null, error});
  bytes.write('Q', 11);
  const decoded = decodeMessage(bytes, route);
  assert.ok(decoded.type === 'forward-response');
  assert.equal(decoded.error?.code, 'INTERNAL');
});

test('the time-out of a forward is rounded up and bounded', () => {
  const command = new Uint8Array(0);
  const timeoutOf = (timeoutMs: number): number => {
    const bytes = encodeMessage({type: 'forward', requestId: 1, timeoutMs, command});
    const decoded = decodeMessage(bytes, route);
    assert.ok(decoded.type === 'forward');
    return decoded.timeoutMs;
  };
  assert.equal(timeoutOf(0.5), 1);
  assert.equal(timeoutOf(-3), 0);
  assert.equal(timeoutOf(1e12), limits.requestTimeoutMsMax);
});

test('random bytes are a message or malformed, never anything else', () => {
  const prng = new Prng(1);
  const samples = (oneOfEach(route.from, route.to) as EncodableMessage[]).map(encodeMessage);
  for (let i = 0; i < 20_000; i++) {
    const sample = samples[prng.integer({min: 0, max: samples.length - 1})];
    assert.ok(sample !== undefined);
    const bytes = Buffer.from(sample.subarray(0, prng.integer({min: 1, max: sample.length})));
    for (let n = prng.integer({min: 0, max: 3}); n > 0; n--) {
      bytes[prng.integer({min: 0, max: bytes.length - 1})] = prng.integer({min: 0, max: 255});
    }
    try {
      decodeMessage(bytes, route);
    } catch (error) {
      assert.ok(error instanceof MalformedBytesError, String(error));
    }
  }
});
