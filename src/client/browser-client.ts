/**
 * `rosetta/client` where there is no Node: the same names, and `connect` over `fetch`. The page's
 * origin must be one that the nodes allow (`-cors-origin`).
 */
import {Client} from './client.ts';
import type {ConnectOptions} from './client-options.ts';
import {FetchSender} from './fetch-sender.ts';

export * from './client-names.ts';

/** As in Node; `connectionCountMax` is the browser's own business. Throws INVALID_ARGUMENT. */
export function connect(options: ConnectOptions): Client {
  return new Client(options, {
    sender: new FetchSender((input, init) => fetch(input, init)),
    nowMs: () => performance.now(),
    random: Math.random,
  });
}
