/**
 * Idempotency-Key and Idempotency-Acknowledged. The fingerprint ties the key to the request, so
 * that the same key with another request is noticed: 16 bytes of SHA-256 over method, route and
 * the command without the key.
 */
import {createHash} from 'node:crypto';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import {encodeCommand} from '../../kv/command-codec.ts';
import {isIdempotencyKey} from '../../kv/idempotency-codec.ts';
import type {CommandBody} from '../../kv/command.ts';
import {parseSessionKey} from '../../kv/session-table.ts';
import type {Exchange} from './exchange.ts';
import type {Parameter} from './parameter.ts';

const fingerprintSizeBytes = 16;

/** Of every write that takes a key. */
export const idempotencyHeaders: readonly Parameter[] = [
  {
    name: 'Idempotency-Key',
    description:
      'The same key again returns the first committed answer; `<session>/<number>` in a session',
    schema: {
      type: 'string',
      pattern: '^[ -~]+$',
      minLength: 1,
      maxLength: limits.idempotencyKeySizeBytesMax,
    },
  },
  {
    name: 'Idempotency-Acknowledged',
    description: 'All answers of the session up to this number have been received',
    schema: {type: 'string', pattern: '^[0-9]{1,16}$'},
  },
];

/** The bytes to propose for a write, with the idempotency key of the request if it has one. */
export function encodeRequest(exchange: Exchange, body: CommandBody): Uint8Array {
  const {idempotencyKey: key, idempotencyAcknowledged} = exchange.headers;
  if (key === undefined && idempotencyAcknowledged !== undefined) throw badAcknowledged();
  const plain = encodeCommand({idempotency: null, body});
  const command = key === undefined ? plain : encodeKeyed(exchange, key, plain, body);
  if (command.length > limits.commandSizeBytesMax) {
    throw new RosettaError('COMMAND_TOO_LARGE', `the command has ${command.length} bytes`);
  }
  return command;
}

/** Throws INVALID_PARAMETER unless the key, if there is one, is 1 to 128 printable characters. */
export function checkIdempotencyKey(key: string | undefined): void {
  if (key === undefined) return;
  if (!isIdempotencyKey(key)) {
    throw new RosettaError(
      'INVALID_PARAMETER',
      `Idempotency-Key must be 1 to ${limits.idempotencyKeySizeBytesMax} printable characters`,
    );
  }
}

function encodeKeyed(
  exchange: Exchange,
  key: string,
  plain: Uint8Array,
  body: CommandBody,
): Uint8Array {
  const fingerprint = createHash('sha256')
    .update(`${exchange.method} ${exchange.route}\n`)
    .update(plain)
    .digest()
    .subarray(0, fingerprintSizeBytes);
  const acknowledged = acknowledgedNumber(exchange.headers.idempotencyAcknowledged, key);
  return encodeCommand({idempotency: {key, fingerprint, acknowledged}, body});
}

/** Throws INVALID_PARAMETER unless it is a number below that of the session's key. */
function acknowledgedNumber(text: string | undefined, key: string): number {
  if (text === undefined) return 0;
  const session = parseSessionKey(key);
  const number = /^[0-9]{1,16}$/.test(text) ? Number(text) : Infinity;
  if (session === null || number >= session.number) throw badAcknowledged();
  return number;
}

function badAcknowledged(): RosettaError {
  return new RosettaError(
    'INVALID_PARAMETER',
    'Idempotency-Acknowledged must be a number below that of a key <session>/<number>',
  );
}
