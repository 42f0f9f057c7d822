/**
 * One listening address, which may need two sockets: `localhost` is 127.0.0.1 and ::1 on the same
 * port. A machine without IPv6 serves the first alone; any other failure closes what was opened.
 */
import type {AddressInfo, Server} from 'node:net';
import {must} from './assert.ts';
import type {Address} from './address.ts';
import {listenHosts} from './address.ts';

/** Errors by which a system says that it has no such loopback. */
const missingFamilyCodes: readonly string[] = ['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL'];

export interface Listeners {
  readonly servers: readonly Server[];
  /** The bound port, the same for all. */
  readonly port: number;
}

/** `createServer` is called once per socket; the callback once, with exactly one non-null. */
export function openListeners(
  address: Address,
  createServer: () => Server,
  callback: (error: Error | null, listeners: Listeners | null) => void,
): void {
  const hosts = listenHosts(address.host);
  const servers: Server[] = [];
  let port = address.port;

  const openNext = (): void => {
    const host = hosts[servers.length];
    if (servers.length === hosts.length) {
      callback(null, {servers, port});
      return;
    }
    const server = createServer();
    const onError = (error: NodeJS.ErrnoException): void => {
      server.removeListener('listening', onListening);
      const isOptional = servers.length > 0;
      if (isOptional && isSkippable(error, address)) callback(null, {servers, port});
      else closeAll(servers, () => callback(error, null));
    };
    const onListening = (): void => {
      server.removeListener('error', onError);
      port = boundPort(server);
      servers.push(server);
      openNext();
    };
    server.once('error', onError);
    server.once('listening', onListening);
    server.listen(host === undefined ? {port} : {port, host});
  };
  openNext();
}

function isSkippable(error: NodeJS.ErrnoException, address: Address): boolean {
  // A port chosen by the system for one loopback may be taken on the other: tests only.
  if (address.port === 0) return true;
  return error.code !== undefined && missingFamilyCodes.includes(error.code);
}

function closeAll(servers: readonly Server[], callback: () => void): void {
  let openCount = servers.length;
  if (openCount === 0) callback();
  for (const server of servers) {
    server.close(() => {
      openCount -= 1;
      if (openCount === 0) callback();
    });
  }
}

function boundPort(server: Server): number {
  const bound = must(server.address(), 'a listening server has an address') as AddressInfo;
  return bound.port;
}
