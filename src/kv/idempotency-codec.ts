/**
 * The part of a command that says who asks, so that it happens once, and the commands about
 * sessions, as bytes: docs/formats.md, "Commands".
 */
import {assert} from '../base/assert.ts';
import {MalformedBytesError} from '../base/bytes.ts';
import type {ByteReader, ByteWriter} from '../base/bytes.ts';
import type {Idempotency, SessionCommand} from './command.ts';

const fingerprintSizeBytes = 16;
const commandFlags = {idempotency: 1, acknowledged: 2} as const;
const sessionActions = ['open', 'close'] as const;

/** 1 to 128 characters from space to tilde. */
export function isIdempotencyKey(text: string): boolean {
  return /^[ -~]{1,128}$/.test(text);
}

/** 1 to 64 characters from space to tilde, no slash among them. */
export function isSessionId(text: string): boolean {
  return /^[ -.0-~]{1,64}$/.test(text);
}

export function writeIdempotency(writer: ByteWriter, idempotency: Idempotency | null): void {
  if (idempotency === null) {
    writer.u8(0);
    return;
  }
  const {key, fingerprint, acknowledged} = idempotency;
  assert(fingerprint.length === fingerprintSizeBytes, 'a fingerprint has 16 bytes');
  assert(isIdempotencyKey(key), 'an idempotency key is printable ASCII');
  writer.u8(commandFlags.idempotency | (acknowledged === 0 ? 0 : commandFlags.acknowledged));
  writer.string(key);
  writer.raw(fingerprint);
  if (acknowledged !== 0) writer.varint(acknowledged);
}

export function readIdempotency(reader: ByteReader): Idempotency | null {
  const flags = reader.u8();
  if (flags === 0) return null;
  if ((flags & ~(commandFlags.idempotency | commandFlags.acknowledged)) !== 0) {
    throw new MalformedBytesError(`unknown flags ${flags}`);
  }
  if ((flags & commandFlags.idempotency) === 0) {
    throw new MalformedBytesError('an acknowledgement without an idempotency key');
  }
  const key = reader.string();
  if (!isIdempotencyKey(key)) throw new MalformedBytesError('bad idempotency key');
  const fingerprint = reader.rawView(fingerprintSizeBytes);
  const isAcknowledging = (flags & commandFlags.acknowledged) !== 0;
  return {key, fingerprint, acknowledged: isAcknowledging ? readAcknowledged(reader) : 0};
}

export function writeSession(writer: ByteWriter, {action, id}: SessionCommand): void {
  assert(isSessionId(id), 'a session id is printable ASCII without a slash');
  writer.u8(sessionActions.indexOf(action) + 1);
  writer.string(id);
}

export function readSession(reader: ByteReader): SessionCommand {
  const code = reader.u8();
  const action = sessionActions[code - 1];
  if (action === undefined) throw new MalformedBytesError(`unknown session action ${code}`);
  const id = reader.string();
  if (!isSessionId(id)) throw new MalformedBytesError('bad session id');
  return {type: 'session', action, id};
}

function readAcknowledged(reader: ByteReader): number {
  const value = reader.varint();
  if (value === 0) throw new MalformedBytesError('a zero that should have been left out');
  return value;
}
