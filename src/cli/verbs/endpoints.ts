/** Which nodes a verb speaks to: `-endpoints`, `ROSETTA_ENDPOINTS`, or those of `npm start`. */
import {parseAddress} from '../../base/address.ts';
import type {Address} from '../../base/address.ts';
import {UsageError} from '../usage-error.ts';
import type {VerbInput} from './verb.ts';
import {text} from './verb.ts';

/** Where `npm start` puts its nodes. */
const endpointsDefault = 'localhost:9080,localhost:9081,localhost:9082';

export const endpointsFlag = {
  endpoints: text('HOST:PORT,…', `HTTP addresses, tried in turn (${endpointsDefault})`),
} as const;

/** At least one. Throws UsageError. */
export function endpointsOf(input: VerbInput): readonly Address[] {
  const given = input.flags.get('endpoints') ?? input.env['ROSETTA_ENDPOINTS'] ?? '';
  const words = (given === '' ? endpointsDefault : given).split(',').map(word => word.trim());
  const endpoints = words
    .filter(word => word !== '')
    .map(word => {
      const address = parseAddress(word.replace(/^http:\/\//, '').replace(/\/$/, ''));
      if (address !== null && address.port > 0) return address;
      throw new UsageError(`-endpoints: ${JSON.stringify(word)} is not host:port`);
    });
  if (endpoints.length === 0) throw new UsageError('-endpoints names no node');
  return endpoints;
}
