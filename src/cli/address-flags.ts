/** Flags whose values are addresses. Each throws UsageError. */
import {formatAddress, isEveryInterface, parseAddress} from '../base/address.ts';
import {UsageError} from './usage-error.ts';

export function toAddress(place: string, text: string): string {
  const address = parseAddress(text);
  if (address === null) {
    throw new UsageError(`${place}=${text} is not an address; write host:port, :port or [v6]:port`);
  }
  return formatAddress(address);
}

/** Where others find what is bound to `bound`. */
export function toAdvertised(place: string, text: string | undefined, bound: string): string {
  return text === undefined ? bound : toAddress(place, text);
}

/** Of a member among others, who cannot connect to "every interface". */
export function refuseEveryInterface(listen: string, advertised: string | undefined): void {
  const given = advertised === undefined ? `-listen=${listen}` : `-advertise-listen=${advertised}`;
  if (!isEveryInterface(advertised ?? listen)) return;
  throw new UsageError(
    `${given} is every interface, where the other members cannot find this node: ` +
      'add -advertise-listen=HOST:PORT, the name or address under which they reach it',
  );
}
