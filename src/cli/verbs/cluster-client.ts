/**
 * The client library for the time of one verb: the endpoints and the deadline come from flags, and
 * what the client rejects with becomes one clear line.
 */
import {dialHost, formatAddress} from '../../base/address.ts';
import {isClientError} from '../../client/client-error.ts';
import type {ClientError} from '../../client/client-error.ts';
import type {Client} from '../../client/client.ts';
import {connect} from '../../client/node-client.ts';
import {endpointsFlag, endpointsOf} from './endpoints.ts';
import type {VerbInput} from './verb.ts';
import {secondsFlag, text, VerbError} from './verb.ts';

const timeoutSecondsMax = 300;
const timeoutSecondsDefault = 10;

export const clientFlags = {
  ...endpointsFlag,
  timeout: text('SECONDS', `give up after so long (${timeoutSecondsDefault})`),
} as const;

/** Runs `work` with a client that is closed afterwards. Rejects with VerbError or UsageError. */
export async function withClient<T>(
  input: VerbInput,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = connect({endpoints: originsOf(input), timeoutMs: timeoutMsOf(input)});
  try {
    return await work(client);
  } catch (error) {
    throw isClientError(error) ? verbErrorOf(error, client.endpoints) : error;
  } finally {
    await client.close();
  }
}

/** Such as `http://localhost:9080`, in the order they were given. Throws UsageError. */
export function originsOf(input: VerbInput): readonly string[] {
  return endpointsOf(input).map(({host, port}) => {
    return `http://${formatAddress({host: dialHost(host), port})}`;
  });
}

/** Throws UsageError. */
export function timeoutMsOf(input: VerbInput): number {
  const range = {min: 0.001, max: timeoutSecondsMax};
  return 1000 * (secondsFlag(input, 'timeout', range) ?? timeoutSecondsDefault);
}

export function verbErrorOf(error: ClientError, endpoints: readonly string[]): VerbError {
  const {code, detail, outcome} = error;
  const hosts = endpoints.map(origin => origin.replace('http://', '')).join(',');
  const hint = code === 'NO_ENDPOINT' ? `; asked ${hosts}, -endpoints=… names others` : '';
  const isOpen = outcome === 'unknown' && !/may or may not/.test(detail);
  const fate = isOpen ? '; the write may or may not have happened' : '';
  return new VerbError(`${detail} (${code})${fate}${hint}`, {code, outcome});
}
