/**
 * PeerMessage ⇄ bytes. Format: docs/formats.md, "Peer frames". Encoding writes straight into the
 * outgoing buffer, after `messageSizeBytes` said how much room to make. Decoding checks everything
 * that raft takes for granted: ranges, consecutive entries, terms that never decrease.
 */
import {Buffer} from 'node:buffer';
import {assert, unreachable} from '../base/assert.ts';
import {
  ByteReader,
  MalformedBytesError,
  asBuffer,
  emptyBytes,
  writeU32,
  writeU64,
} from '../base/bytes.ts';
import {isErrorCode} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import type {Entry, EntryId} from '../raft/entry.ts';
import {entryTypeCode, entryTypeFromCode, isEntryIntact} from '../raft/entry.ts';
import type {LogIndex, NodeId, Term} from '../raft/ids.ts';
import type {AppendMessage} from '../raft/message.ts';
import type {ForwardMessage, ForwardResponseMessage, PeerMessage} from './transport.ts';

/** Sender and addressee are those of the connection, not part of the bytes. */
export interface MessageRoute {
  readonly from: NodeId;
  readonly to: NodeId;
}

/** Everything but snapshots, which travel as streams of their own. */
export type EncodableMessage = Exclude<PeerMessage, {type: 'snapshot'}>;

const typeCodes = {
  'pre-vote': 1,
  'pre-vote-response': 2,
  vote: 3,
  'vote-response': 4,
  append: 5,
  'append-accepted': 6,
  'append-rejected': 7,
  heartbeat: 8,
  'heartbeat-response': 9,
  'timeout-now': 10,
  'read-index': 11,
  'read-index-response': 12,
  forward: 13,
  'forward-response': 14,
  'state-hash': 15,
} as const satisfies Record<EncodableMessage['type'], number>;

const appendHeaderSizeBytes = 1 + 4 * 8 + 4;
const entryHeaderSizeBytes = 8 + 8 + 1 + 4 + 4;
const hashSizeBytesMax = 64;
const statusResult = 0;
const statusError = 1;

export function messageSizeBytes(message: EncodableMessage): number {
  switch (message.type) {
    case 'timeout-now':
      return 1 + 8;
    case 'pre-vote-response':
    case 'vote-response':
      return 1 + 8 + 1;
    case 'append-accepted':
    case 'heartbeat-response':
    case 'read-index':
      return 1 + 2 * 8;
    case 'pre-vote':
    case 'heartbeat':
    case 'read-index-response':
      return 1 + 3 * 8;
    case 'vote':
      return 1 + 3 * 8 + 1;
    case 'append-rejected':
      return 1 + 4 * 8;
    case 'append': {
      let size = appendHeaderSizeBytes;
      for (const entry of message.entries) size += entryHeaderSizeBytes + entry.data.length;
      return size;
    }
    case 'forward':
      return 1 + 8 + 4 + message.command.length;
    case 'forward-response':
      return 1 + 8 + 1 + forwardResponseBodySizeBytes(message);
    case 'state-hash':
      return 1 + 8 + message.hash.length;
    default:
      return unreachable(message);
  }
}

/** Writes at `at`, where there must be room, and returns the offset after the message. */
export function writeMessage(buffer: Buffer, at: number, message: EncodableMessage): number {
  buffer[at] = typeCodes[message.type];
  at += 1;
  switch (message.type) {
    case 'timeout-now':
      return writeU64(buffer, message.term, at);
    case 'pre-vote':
      return putEntryId(buffer, message.last, writeU64(buffer, message.term, at));
    case 'vote':
      at = putEntryId(buffer, message.last, writeU64(buffer, message.term, at));
      return putFlag(buffer, message.isTransfer, at);
    case 'pre-vote-response':
    case 'vote-response':
      return putFlag(buffer, message.granted, writeU64(buffer, message.term, at));
    case 'append':
      return writeAppend(buffer, at, message);
    case 'append-accepted':
      return writeU64(buffer, message.matchIndex, writeU64(buffer, message.term, at));
    case 'append-rejected':
      at = writeU64(buffer, message.rejected, writeU64(buffer, message.term, at));
      return putEntryId(buffer, message.hint, at);
    case 'heartbeat':
      at = writeU64(buffer, message.commit, writeU64(buffer, message.term, at));
      return writeU64(buffer, message.readRound, at);
    case 'heartbeat-response':
      return writeU64(buffer, message.readRound, writeU64(buffer, message.term, at));
    case 'read-index':
      return writeU64(buffer, message.context, writeU64(buffer, message.term, at));
    case 'read-index-response':
      at = writeU64(buffer, message.context, writeU64(buffer, message.term, at));
      return writeU64(buffer, message.index, at);
    case 'forward':
      return writeForward(buffer, at, message);
    case 'forward-response':
      return writeForwardResponse(buffer, at, message);
    case 'state-hash':
      at = writeU64(buffer, message.index, at);
      return at + buffer.write(message.hash, at, 'latin1');
    default:
      return unreachable(message);
  }
}

export function encodeMessage(message: EncodableMessage): Buffer {
  const buffer = Buffer.allocUnsafe(messageSizeBytes(message));
  const end = writeMessage(buffer, 0, message);
  assert(end === buffer.length, 'a message has the announced size');
  return buffer;
}

/**
 * The bytes of a message in pieces: entry data and commands are not copied but handed out as they
 * are, which pays when they are large.
 */
export function messagePieces(message: EncodableMessage): readonly Uint8Array[] {
  switch (message.type) {
    case 'append': {
      const head = Buffer.allocUnsafe(appendHeaderSizeBytes);
      head[0] = typeCodes.append;
      writeAppendHeader(head, 1, message);
      const pieces: Uint8Array[] = [head];
      for (const entry of message.entries) {
        const header = Buffer.allocUnsafe(entryHeaderSizeBytes);
        writeEntryHeader(header, 0, entry);
        pieces.push(header, entry.data);
      }
      return pieces;
    }
    case 'forward':
      return [encodeMessage({...message, command: emptyBytes}), message.command];
    default:
      return [encodeMessage(message)];
  }
}

/**
 * Throws MalformedBytesError. Data of entries and commands are views of `bytes`, which must
 * therefore never be written again.
 */
export function decodeMessage(bytes: Uint8Array, route: MessageRoute): EncodableMessage {
  const reader = new ByteReader(bytes);
  const message = readMessage(reader, route);
  reader.end();
  return message;
}

/** The first entry whose checksum does not match its bytes. */
export function findDamagedEntry(message: EncodableMessage): Entry | undefined {
  if (message.type !== 'append') return undefined;
  for (const entry of message.entries) if (!isEntryIntact(entry)) return entry;
  return undefined;
}

function readMessage(reader: ByteReader, route: MessageRoute): EncodableMessage {
  const {from, to} = route;
  const code = reader.u8();
  if (code === typeCodes.append) return readAppend(reader, route);
  if (code === typeCodes.forward) return readForward(reader);
  if (code === typeCodes['forward-response']) return readForwardResponse(reader);
  if (code === typeCodes['state-hash']) return readStateHash(reader);
  const term = readTerm(reader);
  switch (code) {
    case typeCodes['pre-vote']:
      return {type: 'pre-vote', from, to, term, last: readEntryId(reader)};
    case typeCodes['pre-vote-response']:
      return {type: 'pre-vote-response', from, to, term, granted: readFlag(reader)};
    case typeCodes.vote: {
      const last = readEntryId(reader);
      return {type: 'vote', from, to, term, last, isTransfer: readFlag(reader)};
    }
    case typeCodes['vote-response']:
      return {type: 'vote-response', from, to, term, granted: readFlag(reader)};
    case typeCodes['append-accepted']:
      return {type: 'append-accepted', from, to, term, matchIndex: readIndex(reader)};
    case typeCodes['append-rejected']: {
      const rejected = readIndex(reader);
      return {type: 'append-rejected', from, to, term, rejected, hint: readEntryId(reader)};
    }
    case typeCodes.heartbeat: {
      const commit = readIndex(reader);
      return {type: 'heartbeat', from, to, term, commit, readRound: reader.u64()};
    }
    case typeCodes['heartbeat-response']:
      return {type: 'heartbeat-response', from, to, term, readRound: reader.u64()};
    case typeCodes['timeout-now']:
      return {type: 'timeout-now', from, to, term};
    case typeCodes['read-index']:
      return {type: 'read-index', from, to, term, context: reader.u64()};
    case typeCodes['read-index-response']: {
      const context = reader.u64();
      return {type: 'read-index-response', from, to, term, context, index: readIndex(reader)};
    }
    default:
      throw new MalformedBytesError(`message type ${code}`);
  }
}

function writeAppend(buffer: Buffer, at: number, message: AppendMessage): number {
  at = writeAppendHeader(buffer, at, message);
  for (const entry of message.entries) {
    at = writeEntryHeader(buffer, at, entry);
    buffer.set(entry.data, at);
    at += entry.data.length;
  }
  return at;
}

function writeAppendHeader(buffer: Buffer, at: number, message: AppendMessage): number {
  const {term, previous, commit, entries} = message;
  let index: number = previous.index;
  for (const entry of entries) {
    index += 1;
    assert(entry.index === index, 'entries of an append are consecutive');
  }
  at = writeU64(buffer, term, at);
  at = putEntryId(buffer, previous, at);
  at = writeU64(buffer, commit, at);
  return writeU32(buffer, entries.length, at);
}

function writeEntryHeader(buffer: Buffer, at: number, entry: Entry): number {
  at = writeU64(buffer, entry.term, at);
  at = writeU64(buffer, entry.proposedAtMs, at);
  buffer[at] = entryTypeCode(entry.type);
  at = writeU32(buffer, entry.checksum, at + 1);
  return writeU32(buffer, entry.data.length, at);
}

function readAppend(reader: ByteReader, route: MessageRoute): AppendMessage {
  const term = readTerm(reader);
  const previous = readEntryId(reader);
  const commit = readIndex(reader);
  const count = reader.u32();
  // Checked before anything is allocated for the entries.
  if (count * entryHeaderSizeBytes > reader.remaining) {
    throw new MalformedBytesError(`${count} entries announced`);
  }
  if (previous.term > term) throw new MalformedBytesError('previous entry of a later term');
  if (!Number.isSafeInteger(previous.index + count)) {
    throw new MalformedBytesError('entry index out of range');
  }
  const entries: Entry[] = [];
  let termMin: Term = previous.term;
  for (let i = 1; i <= count; i++) {
    // In range: between two safe integers, checked above.
    const entry = readEntry(reader, (previous.index + i) as LogIndex);
    if (entry.term < termMin || entry.term > term) {
      throw new MalformedBytesError(`entry term ${entry.term} out of order`);
    }
    termMin = entry.term;
    entries.push(entry);
  }
  return {type: 'append', from: route.from, to: route.to, term, previous, entries, commit};
}

function readEntry(reader: ByteReader, index: LogIndex): Entry {
  const term = readTerm(reader);
  const proposedAtMs = reader.u64();
  const typeCode = reader.u8();
  const type = entryTypeFromCode(typeCode);
  if (type === undefined) throw new MalformedBytesError(`entry type ${typeCode}`);
  const checksum = reader.u32();
  const size = reader.u32();
  if (size > limits.entryDataSizeBytesMax) throw new MalformedBytesError(`entry of ${size} bytes`);
  return {term, index, type, proposedAtMs, data: reader.rawView(size), checksum};
}

function writeForward(buffer: Buffer, at: number, message: ForwardMessage): number {
  at = writeU64(buffer, message.requestId, at);
  const timeoutMs = Math.min(Math.max(0, Math.ceil(message.timeoutMs)), limits.requestTimeoutMsMax);
  at = writeU32(buffer, timeoutMs, at);
  buffer.set(message.command, at);
  return at + message.command.length;
}

function readForward(reader: ByteReader): ForwardMessage {
  const requestId = reader.u64();
  const timeoutMs = reader.u32();
  if (timeoutMs > limits.requestTimeoutMsMax) throw new MalformedBytesError('forward timeout');
  if (reader.remaining > limits.entryDataSizeBytesMax) throw new MalformedBytesError('command');
  return {type: 'forward', requestId, timeoutMs, command: reader.rawView(reader.remaining)};
}

function forwardResponseBodySizeBytes(message: ForwardResponseMessage): number {
  const {result, error} = message;
  assert((result === null) !== (error === null), 'a response is either a result or an error');
  if (result !== null) return result.length;
  return error === null ? 0 : 1 + error.code.length + Buffer.byteLength(error.detail);
}

function writeForwardResponse(buffer: Buffer, at: number, message: ForwardResponseMessage): number {
  const {requestId, result, error} = message;
  at = writeU64(buffer, requestId, at);
  if (result !== null) {
    buffer[at] = statusResult;
    buffer.set(result, at + 1);
    return at + 1 + result.length;
  }
  assert(error !== null, 'a response without a result has an error');
  buffer[at] = statusError;
  buffer[at + 1] = error.code.length;
  at += 2;
  at += buffer.write(error.code, at, 'latin1');
  return at + buffer.write(error.detail, at, 'utf8');
}

function readForwardResponse(reader: ByteReader): ForwardResponseMessage {
  const requestId = reader.u64();
  const status = reader.u8();
  if (status === statusResult) {
    const result = reader.rawView(reader.remaining);
    return {type: 'forward-response', requestId, result, error: null};
  }
  if (status !== statusError) throw new MalformedBytesError(`response status ${status}`);
  const code = asBuffer(reader.rawView(reader.u8())).toString('latin1');
  const detail = asBuffer(reader.rawView(reader.remaining)).toString('utf8');
  // A code of a later version: of what it means, only "perhaps it happened" is safe to assume.
  const error = {code: isErrorCode(code) ? code : ('INTERNAL' as const), detail};
  return {type: 'forward-response', requestId, result: null, error};
}

function readStateHash(reader: ByteReader): EncodableMessage {
  const index = reader.u64();
  if (reader.remaining > hashSizeBytesMax) throw new MalformedBytesError('state hash too long');
  const hash = asBuffer(reader.rawView(reader.remaining)).toString('latin1');
  return {type: 'state-hash', index, hash};
}

function readEntryId(reader: ByteReader): EntryId {
  const term = readTerm(reader);
  const index = readIndex(reader);
  if (index === 0 && term !== 0) throw new MalformedBytesError('a term before the log');
  return {term, index};
}

/** `u64` yields safe non-negative integers only, which is all that a Term or LogIndex asks. */
function readTerm(reader: ByteReader): Term {
  return reader.u64() as Term;
}

function readIndex(reader: ByteReader): LogIndex {
  return reader.u64() as LogIndex;
}

function readFlag(reader: ByteReader): boolean {
  const value = reader.u8();
  if (value > 1) throw new MalformedBytesError(`flag ${value}`);
  return value === 1;
}

function putEntryId(buffer: Buffer, id: EntryId, at: number): number {
  return writeU64(buffer, id.index, writeU64(buffer, id.term, at));
}

function putFlag(buffer: Buffer, value: boolean, at: number): number {
  buffer[at] = value ? 1 : 0;
  return at + 1;
}
