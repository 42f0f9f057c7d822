/** `rosetta/client` in Node: the public names, and `connect` over sockets. */
import {Client} from './client.ts';
import {clientLimits, type ConnectOptions} from './client-options.ts';
import {invalidArgument} from './client-error.ts';
import {SocketSender} from './socket-sender.ts';

export * from './client-names.ts';

/**
 * A client of the cluster that `endpoints` belong to. Nothing is sent before the first call. It
 * keeps no process alive by itself; `close` it when it is not needed any more.
 *
 * Throws INVALID_ARGUMENT.
 */
export function connect(options: ConnectOptions): Client {
  const {connectionCountMax = clientLimits.connectionCountDefault} = options;
  if (!(connectionCountMax >= 1 && connectionCountMax <= clientLimits.connectionCountMax)) {
    throw invalidArgument(`connectionCountMax must be 1 to ${clientLimits.connectionCountMax}`);
  }
  return new Client(options, {
    sender: new SocketSender(connectionCountMax),
    nowMs: () => performance.now(),
    random: Math.random,
  });
}
