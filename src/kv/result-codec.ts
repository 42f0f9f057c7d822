/**
 * Results as bytes: docs/formats.md, "Results". Used for answers to forwarded commands and for the
 * answers that the idempotency table keeps. Decoded records are copies.
 */
import {unreachable} from '../base/assert.ts';
import {ByteReader, ByteWriter, MalformedBytesError, copyBytes} from '../base/bytes.ts';
import {isErrorCode} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {CommandResult, KeyRecord, OperationResult} from './result.ts';

const version = 1;
const resultCodes = {
  transaction: 1,
  compact: 2,
  refused: 3,
  lease: 4,
  'lease-revoke': 5,
  session: 16,
} as const satisfies Record<CommandResult['type'], number>;
const operationCodes = {
  put: 1,
  get: 2,
  range: 3,
  delete: 4,
  transaction: 5,
} as const satisfies Record<OperationResult['type'], number>;

const writer = new ByteWriter(4096);

export function encodeResult(result: CommandResult): Uint8Array {
  writer.reset();
  writer.u8(version);
  writer.u8(resultCodes[result.type]);
  writer.varint(result.revision);
  switch (result.type) {
    case 'transaction':
      writer.u8(result.succeeded ? 1 : 0);
      writeResults(result.results);
      break;
    case 'compact':
      writer.varint(result.compactedRevision);
      break;
    case 'session':
      break;
    case 'lease':
      writer.varint(result.id);
      writer.varint(result.ttlMs);
      writer.varint(result.remainingMs);
      break;
    case 'lease-revoke':
      writer.varint(result.deletedCount);
      break;
    case 'refused':
      writer.string(result.code);
      writer.string(result.detail);
      break;
    default:
      unreachable(result);
  }
  return writer.finish();
}

export function decodeResult(bytes: Uint8Array): CommandResult {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== version) throw new MalformedBytesError('unknown version of a result');
  const code = reader.u8();
  const revision = reader.varint();
  let result: CommandResult;
  switch (code) {
    case resultCodes.transaction: {
      const succeeded = readFlag(reader);
      result = {type: 'transaction', revision, succeeded, results: readResults(reader, 1)};
      break;
    }
    case resultCodes.compact:
      result = {type: 'compact', revision, compactedRevision: reader.varint()};
      break;
    case resultCodes.session:
      result = {type: 'session', revision};
      break;
    case resultCodes.lease: {
      const [id, ttlMs, remainingMs] = [reader.varint(), reader.varint(), reader.varint()];
      result = {type: 'lease', revision, id, ttlMs, remainingMs};
      break;
    }
    case resultCodes['lease-revoke']:
      result = {type: 'lease-revoke', revision, deletedCount: reader.varint()};
      break;
    case resultCodes.refused: {
      const errorCode = reader.string();
      if (!isErrorCode(errorCode)) throw new MalformedBytesError('unknown error code');
      result = {type: 'refused', revision, code: errorCode, detail: reader.string()};
      break;
    }
    default:
      throw new MalformedBytesError(`unknown result ${code}`);
  }
  reader.end();
  return result;
}

function writeResults(results: readonly OperationResult[]): void {
  writer.varint(results.length);
  for (const result of results) writeOperationResult(result);
}

function writeOperationResult(result: OperationResult): void {
  writer.u8(operationCodes[result.type]);
  switch (result.type) {
    case 'put':
      writer.varint(result.version);
      writeOptionalRecord(result.previous);
      break;
    case 'get':
      writeOptionalRecord(result.record);
      break;
    case 'range':
      writer.u8(result.hasMore ? 1 : 0);
      writer.varint(result.count);
      writeRecords(result.records);
      break;
    case 'delete':
      writer.varint(result.deletedCount);
      writeRecords(result.previous);
      break;
    case 'transaction':
      writer.u8(result.succeeded ? 1 : 0);
      writeResults(result.results);
      break;
    default:
      unreachable(result);
  }
}

function writeOptionalRecord(record: KeyRecord | null): void {
  writer.u8(record === null ? 0 : 1);
  if (record !== null) writeRecord(record);
}

function writeRecords(records: readonly KeyRecord[]): void {
  writer.varint(records.length);
  for (const record of records) writeRecord(record);
}

function writeRecord(record: KeyRecord): void {
  writer.bytes(record.key);
  writer.bytes(record.value);
  writer.varint(record.createRevision);
  writer.varint(record.modRevision);
  writer.varint(record.version);
  writer.varint(record.leaseId);
}

function readResults(reader: ByteReader, depth: number): readonly OperationResult[] {
  if (depth > limits.transactionDepthMax) throw new MalformedBytesError('nested too deep');
  const count = reader.varint();
  if (count > limits.operationCountMax) throw new MalformedBytesError(`a list of ${count}`);
  const results: OperationResult[] = [];
  for (let i = 0; i < count; i++) results.push(readOperationResult(reader, depth));
  return results;
}

function readOperationResult(reader: ByteReader, depth: number): OperationResult {
  const code = reader.u8();
  switch (code) {
    case operationCodes.put:
      return {type: 'put', version: reader.varint(), previous: readOptionalRecord(reader)};
    case operationCodes.get:
      return {type: 'get', record: readOptionalRecord(reader)};
    case operationCodes.range: {
      const hasMore = readFlag(reader);
      const count = reader.varint();
      return {type: 'range', records: readRecords(reader), count, hasMore};
    }
    case operationCodes.delete:
      return {
        type: 'delete',
        deletedCount: reader.varint(),
        previous: readRecords(reader),
      };
    case operationCodes.transaction: {
      const succeeded = readFlag(reader);
      return {type: 'transaction', succeeded, results: readResults(reader, depth + 1)};
    }
    default:
      throw new MalformedBytesError(`unknown operation result ${code}`);
  }
}

function readOptionalRecord(reader: ByteReader): KeyRecord | null {
  return readFlag(reader) ? readRecord(reader) : null;
}

function readRecords(reader: ByteReader): readonly KeyRecord[] {
  const count = reader.varint();
  if (count > reader.remaining) throw new MalformedBytesError(`${count} records announced`);
  const records: KeyRecord[] = [];
  for (let i = 0; i < count; i++) records.push(readRecord(reader));
  return records;
}

function readRecord(reader: ByteReader): KeyRecord {
  return {
    key: copyBytes(reader.bytesView()),
    value: copyBytes(reader.bytesView()),
    createRevision: reader.varint(),
    modRevision: reader.varint(),
    version: reader.varint(),
    leaseId: reader.varint(),
  };
}

function readFlag(reader: ByteReader): boolean {
  const flag = reader.u8();
  if (flag > 1) throw new MalformedBytesError(`flag ${flag}`);
  return flag === 1;
}
