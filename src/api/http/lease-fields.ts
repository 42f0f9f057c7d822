/** `ttl` and `lease` of a put, in JSON and in the query, and the ids of leases as text. */
import {RosettaError} from '../../base/errors.ts';
import {invalidField} from './json-fields.ts';
import type {JsonObject} from './json-parser.ts';
import {invalidParameter, type QueryParameters} from './query-parameters.ts';

const ttlSecondsMin = 0.1;
const ttlSecondsMax = 1e9;

export function refuseLeaseFields(fields: JsonObject, path: string): void {
  const ttl = fields.get('ttl');
  const lease = fields.get('lease');
  if (ttl !== undefined && !(typeof ttl === 'number' && isTtl(ttl))) {
    throw invalidField(`${path}ttl`, `must be ${ttlSecondsMin} to ${ttlSecondsMax} seconds`);
  }
  if (lease !== undefined && !(typeof lease === 'string' && isLeaseId(lease))) {
    const sentence = 'must be a decimal string of a positive 64-bit integer';
    throw invalidField(`${path}lease`, sentence);
  }
  if (ttl !== undefined && lease !== undefined) {
    throw invalidField(`${path}ttl`, 'cannot be combined with lease');
  }
  if (ttl !== undefined || lease !== undefined) throw leasesNotImplemented();
}

export function refuseLeaseParameters(parameters: QueryParameters): void {
  const ttl = parameters.text('ttl');
  const lease = parameters.text('lease');
  if (ttl !== undefined && !(/^[0-9]+(\.[0-9]+)?$/.test(ttl) && isTtl(Number(ttl)))) {
    throw invalidParameter('ttl', `must be ${ttlSecondsMin} to ${ttlSecondsMax} seconds`);
  }
  if (lease !== undefined && !isLeaseId(lease)) {
    throw invalidParameter('lease', 'must be a decimal positive 64-bit integer');
  }
  if (ttl !== undefined && lease !== undefined) {
    throw invalidParameter('ttl', 'cannot be combined with lease');
  }
  if (ttl !== undefined || lease !== undefined) throw leasesNotImplemented();
}

function leasesNotImplemented(): RosettaError {
  return new RosettaError('NOT_IMPLEMENTED', 'leases are not implemented; nothing was written');
}

function isTtl(seconds: number): boolean {
  return seconds >= ttlSecondsMin && seconds <= ttlSecondsMax;
}

const leaseIdMax = '9223372036854775807';

/** A decimal positive 64-bit integer. Same length compares like the numbers do. */
export function isLeaseId(text: string): boolean {
  if (!/^[1-9][0-9]{0,18}$/.test(text)) return false;
  return text.length < leaseIdMax.length || text <= leaseIdMax;
}
