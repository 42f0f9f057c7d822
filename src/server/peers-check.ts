/** Rules for the list of the other first members, whoever gives it: flags, or a program. */
import {formatAddress, parseAddress} from '../base/address.ts';
import {limits} from '../base/limits.ts';

export interface PeerAddress {
  readonly id: string;
  /** Raft address. */
  readonly address: string;
}

/** What is wrong, as the end of a sentence that begins with the list; null: nothing. */
export function peersProblem(
  peers: readonly PeerAddress[],
  own: {readonly id: string; readonly listen: string},
): string | null {
  const ids = new Set<string>();
  const addresses = new Set<string>();
  for (const {id, address} of peers) {
    const parsed = parseAddress(address);
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) return `names "${id}", which is no id of a node`;
    if (parsed === null || parsed.port === 0) return `gives ${id} the address ${address}`;
    if (id === own.id) return `names ${id}, which is this node itself`;
    if (ids.has(id)) return `names ${id} twice`;
    const formatted = formatAddress(parsed);
    if (formatted === own.listen) return `gives ${id} the address ${formatted}, this node's own`;
    if (addresses.has(formatted)) return `names the address ${formatted} twice`;
    ids.add(id);
    addresses.add(formatted);
  }
  if (peers.length < limits.memberCountMax) return null;
  return `names ${peers.length} nodes; a cluster has at most ${limits.memberCountMax} members`;
}
