/**
 * Commands as bytes: docs/formats.md, "Commands". A command is encoded once, at the door that
 * received the request; the same bytes go to the log, to the peers and to apply.
 *
 * decodeCommand returns views into the bytes it was given and refuses everything that
 * encodeCommand cannot have written with MalformedBytesError.
 */
import {assert, must, unreachable} from '../base/assert.ts';
import {ByteReader, ByteWriter, MalformedBytesError} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import type {
  Command,
  CommandBody,
  Compare,
  CompareOperator,
  CompareTarget,
  KeyRange,
  Operation,
  PutOperation,
  Transaction,
} from './command.ts';
import {readIdempotency, readSession, writeIdempotency, writeSession} from './idempotency-codec.ts';
import {
  readLeaseGrant,
  readLeaseQuery,
  readLeaseRevoke,
  writeLeaseGrant,
  writeLeaseQuery,
  writeLeaseRevoke,
} from './lease-codec.ts';

const version = 1;
/** A range may begin or end at the successor of the longest key. */
export const rangeBoundSizeBytesMax = limits.keySizeBytesMax + 1;

const bodyCodes = {
  transaction: 1,
  compact: 2,
  operation: 3,
  leaseGrant: 4,
  leaseRevoke: 5,
  leaseQuery: 6,
  session: 16,
} as const;
const operationCodes = {
  put: 1,
  get: 2,
  range: 3,
  delete: 4,
  'delete-range': 5,
  transaction: 6,
} as const satisfies Record<Operation['type'], number>;
const putFlags = {ignoreValue: 1, ignoreLease: 2, wantsPrevious: 4, lease: 8, ttl: 16} as const;
const rangeFlags = {isReverse: 1, keysOnly: 2, countOnly: 4} as const;
const wantsPreviousFlag = 4;
const compareRangeFlag = 16;
const hasEndFlag = 32;
const targetTypes: readonly CompareTarget['type'][] = [
  'value',
  'version',
  'createRevision',
  'modRevision',
  'lease',
];
const operators: readonly CompareOperator[] = ['=', '!=', '<', '>'];

const writer = new ByteWriter(4096);

export function encodeCommand(command: Command): Uint8Array {
  writer.reset();
  writer.u8(version);
  const {idempotency, body} = command;
  writeIdempotency(writer, idempotency);
  switch (body.type) {
    case 'compact':
      writer.u8(bodyCodes.compact);
      writer.varint(body.revision);
      break;
    case 'lease-grant':
      writer.u8(bodyCodes.leaseGrant);
      writeLeaseGrant(writer, body);
      break;
    case 'lease-revoke':
      writer.u8(bodyCodes.leaseRevoke);
      writeLeaseRevoke(writer, body);
      break;
    case 'lease-query':
      writer.u8(bodyCodes.leaseQuery);
      writeLeaseQuery(writer, body);
      break;
    case 'session':
      writer.u8(bodyCodes.session);
      writeSession(writer, body);
      break;
    case 'transaction':
      writeTransactionBody(body);
      break;
    default:
      unreachable(body);
  }
  const size = writer.length;
  assert(size <= limits.entryDataSizeBytesMax, 'a command of % bytes', size);
  return writer.finish();
}

export function decodeCommand(bytes: Uint8Array): Command {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== version) throw new MalformedBytesError('unknown version of a command');
  const idempotency = readIdempotency(reader);
  const body = readBody(reader);
  reader.end();
  return {idempotency, body};
}

function readBody(reader: ByteReader): CommandBody {
  const code = reader.u8();
  switch (code) {
    case bodyCodes.transaction:
      return readTransaction(reader, 1);
    case bodyCodes.compact:
      return {type: 'compact', revision: reader.varint()};
    case bodyCodes.operation: {
      const success = [readOperation(reader, 1)];
      return {type: 'transaction', compare: none, success, failure: none};
    }
    case bodyCodes.leaseGrant:
      return readLeaseGrant(reader);
    case bodyCodes.leaseRevoke:
      return readLeaseRevoke(reader);
    case bodyCodes.leaseQuery:
      return readLeaseQuery(reader);
    case bodyCodes.session:
      return readSession(reader);
    default:
      throw new MalformedBytesError(`unknown body ${code}`);
  }
}

/** The leader answers it by itself; see LeaseQuery. Looks at no more than three bytes. */
export function isLeaseQuery(bytes: Uint8Array): boolean {
  return bytes[2] === bodyCodes.leaseQuery && bytes[1] === 0;
}

const none: readonly never[] = [];

/**
 * Key and value of the most frequent command, a put without conditions and options, read without
 * building the command; null for every other. Views.
 */
export function decodePlainPut(
  bytes: Uint8Array,
): {readonly key: Uint8Array; readonly value: Uint8Array} | null {
  const isPlainPut =
    bytes[0] === version &&
    bytes[1] === 0 &&
    bytes[2] === bodyCodes.operation &&
    bytes[3] === operationCodes.put &&
    bytes[4] === 0;
  if (!isPlainPut) return null;
  const reader = new ByteReader(bytes, 5);
  const key = readKey(reader);
  const value = readValue(reader);
  reader.end();
  return {key, value};
}

function writeTransactionBody(transaction: Transaction): void {
  const {compare, success, failure} = transaction;
  if (compare.length === 0 && failure.length === 0 && success.length === 1) {
    const [operation] = success;
    writer.u8(bodyCodes.operation);
    writeOperation(must(operation, 'a list of one has a first'), 1);
  } else {
    writer.u8(bodyCodes.transaction);
    writeTransaction(transaction, 1);
  }
}

function writeTransaction(transaction: Transaction, depth: number): void {
  assert(depth <= limits.transactionDepthMax, 'a transaction nested % deep', depth);
  writeCount(transaction.compare.length);
  for (const compare of transaction.compare) writeCompare(compare);
  writeCount(transaction.success.length);
  for (const operation of transaction.success) writeOperation(operation, depth);
  writeCount(transaction.failure.length);
  for (const operation of transaction.failure) writeOperation(operation, depth);
}

function writeOperation(operation: Operation, depth: number): void {
  writer.u8(operationCodes[operation.type]);
  switch (operation.type) {
    case 'put':
      writePut(operation);
      break;
    case 'get':
      writer.bytes(operation.key);
      break;
    case 'range': {
      const flags =
        (operation.isReverse ? rangeFlags.isReverse : 0) |
        (operation.keysOnly ? rangeFlags.keysOnly : 0) |
        (operation.countOnly ? rangeFlags.countOnly : 0);
      writeRange(operation.range, flags);
      writer.varint(operation.limit);
      break;
    }
    case 'delete':
      writer.u8(operation.wantsPrevious ? wantsPreviousFlag : 0);
      writer.bytes(operation.key);
      break;
    case 'delete-range':
      writeRange(operation.range, operation.wantsPrevious ? wantsPreviousFlag : 0);
      break;
    case 'transaction':
      writeTransaction(operation, depth + 1);
      break;
    default:
      unreachable(operation);
  }
}

function writePut(put: PutOperation): void {
  writer.u8(
    (put.ignoreValue ? putFlags.ignoreValue : 0) |
      (put.ignoreLease ? putFlags.ignoreLease : 0) |
      (put.wantsPrevious ? putFlags.wantsPrevious : 0) |
      (put.leaseId === 0 ? 0 : putFlags.lease) |
      (put.ttlMs === 0 ? 0 : putFlags.ttl),
  );
  writer.bytes(put.key);
  if (put.leaseId !== 0) writer.varint(put.leaseId);
  if (put.ttlMs !== 0) writer.varint(put.ttlMs);
  writer.bytes(put.value);
}

function writeCompare(compare: Compare): void {
  const {keys, target} = compare;
  writer.u8(targetTypes.indexOf(target.type) + 1);
  const operator = operators.indexOf(compare.operator);
  assert(operator >= 0, 'unknown operator %', compare.operator);
  if ('range' in keys) {
    writeRange(keys.range, operator | compareRangeFlag);
  } else {
    writer.u8(operator);
    writer.bytes(keys.key);
  }
  if (target.type === 'value') writer.bytes(target.value);
  else writer.varint(target.value);
}

function writeRange(range: KeyRange, flags: number): void {
  writer.u8(range.end === null ? flags : flags | hasEndFlag);
  writer.bytes(range.start);
  if (range.end !== null) writer.bytes(range.end);
}

function writeCount(count: number): void {
  assert(count <= limits.operationCountMax, 'a list of %', count);
  writer.varint(count);
}

function readTransaction(reader: ByteReader, depth: number): Transaction {
  if (depth > limits.transactionDepthMax) throw new MalformedBytesError('nested too deep');
  const compare = readList(reader, () => readCompare(reader));
  const success = readList(reader, () => readOperation(reader, depth));
  const failure = readList(reader, () => readOperation(reader, depth));
  return {type: 'transaction', compare, success, failure};
}

function readList<T>(reader: ByteReader, readItem: () => T): readonly T[] {
  const count = reader.varint();
  if (count > limits.operationCountMax) throw new MalformedBytesError(`a list of ${count}`);
  const items: T[] = [];
  for (let i = 0; i < count; i++) items.push(readItem());
  return items;
}

function readOperation(reader: ByteReader, depth: number): Operation {
  const code = reader.u8();
  switch (code) {
    case operationCodes.put:
      return readPut(reader);
    case operationCodes.get:
      return {type: 'get', key: readKey(reader)};
    case operationCodes.range: {
      const flags = reader.u8();
      expectFlags(flags, 7 | hasEndFlag);
      return {
        type: 'range',
        range: readRange(reader, flags),
        limit: reader.varint(),
        isReverse: (flags & rangeFlags.isReverse) !== 0,
        keysOnly: (flags & rangeFlags.keysOnly) !== 0,
        countOnly: (flags & rangeFlags.countOnly) !== 0,
      };
    }
    case operationCodes.delete: {
      const flags = reader.u8();
      expectFlags(flags, wantsPreviousFlag);
      return {type: 'delete', key: readKey(reader), wantsPrevious: flags !== 0};
    }
    case operationCodes['delete-range']: {
      const flags = reader.u8();
      expectFlags(flags, wantsPreviousFlag | hasEndFlag);
      const range = readRange(reader, flags);
      return {type: 'delete-range', range, wantsPrevious: (flags & wantsPreviousFlag) !== 0};
    }
    case operationCodes.transaction:
      return readTransaction(reader, depth + 1);
    default:
      throw new MalformedBytesError(`unknown operation ${code}`);
  }
}

function readPut(reader: ByteReader): PutOperation {
  const flags = reader.u8();
  expectFlags(flags, 31);
  const key = readKey(reader);
  const leaseId = (flags & putFlags.lease) === 0 ? 0 : readPositive(reader);
  const ttlMs = (flags & putFlags.ttl) === 0 ? 0 : readPositive(reader);
  return {
    type: 'put',
    key,
    value: readValue(reader),
    leaseId,
    ttlMs,
    ignoreValue: (flags & putFlags.ignoreValue) !== 0,
    ignoreLease: (flags & putFlags.ignoreLease) !== 0,
    wantsPrevious: (flags & putFlags.wantsPrevious) !== 0,
  };
}

function readCompare(reader: ByteReader): Compare {
  const targetCode = reader.u8();
  const type = targetTypes[targetCode - 1];
  if (type === undefined) throw new MalformedBytesError(`unknown compare target ${targetCode}`);
  const flags = reader.u8();
  const isRange = (flags & compareRangeFlag) !== 0;
  expectFlags(flags, isRange ? 3 | compareRangeFlag | hasEndFlag : 3);
  const operator = must(operators[flags & 3], 'two bits name an operator');
  const keys = isRange ? {range: readRange(reader, flags)} : {key: readKey(reader)};
  const target: CompareTarget =
    type === 'value' ? {type, value: readValue(reader)} : {type, value: reader.varint()};
  return {keys, operator, target};
}

function readRange(reader: ByteReader, flags: number): KeyRange {
  const start = readBound(reader);
  return {start, end: (flags & hasEndFlag) === 0 ? null : readBound(reader)};
}

function readKey(reader: ByteReader): Uint8Array {
  const key = reader.bytesView();
  if (key.length === 0 || key.length > limits.keySizeBytesMax) {
    throw new MalformedBytesError(`a key of ${key.length} bytes`);
  }
  return key;
}

function readBound(reader: ByteReader): Uint8Array {
  const bound = reader.bytesView();
  if (bound.length > rangeBoundSizeBytesMax) {
    throw new MalformedBytesError(`a range bound of ${bound.length} bytes`);
  }
  return bound;
}

function readValue(reader: ByteReader): Uint8Array {
  const value = reader.bytesView();
  if (value.length > limits.valueSizeBytesMax) {
    throw new MalformedBytesError(`a value of ${value.length} bytes`);
  }
  return value;
}

function readPositive(reader: ByteReader): number {
  const value = reader.varint();
  if (value === 0) throw new MalformedBytesError('a zero that should have been left out');
  return value;
}

function expectFlags(flags: number, known: number): void {
  if ((flags & ~known) !== 0) throw new MalformedBytesError(`unknown flags ${flags}`);
}
