/** Whom a node keeps connections with. */
import type {PeerAddresses} from './peer-addresses.ts';
import type {Member} from '../raft/membership.ts';

export interface PeerSources {
  /** Who speaks to this node while it is behind; see peer-gate.ts. */
  readonly guests: readonly Member[];
  /** In force; before the log says anything, those the identity names. */
  readonly members: readonly Member[];
  /** These may go when what is in force is committed, and not before. */
  readonly committed: readonly Member[];
  /** They left, and may still wait for answers. */
  readonly leaving: readonly Member[];
}

/** One row an id, the first one in the order above, where it is to be found at the moment. */
export function peerRows(
  {guests, members, committed, leaving}: PeerSources,
  addresses: Pick<PeerAddresses, 'of'>,
): Member[] {
  const rows = new Map<string, Member>();
  for (const member of [...guests, ...members, ...committed, ...leaving]) {
    if (!rows.has(member.id)) rows.set(member.id, {...member, ...addresses.of(member)});
  }
  return [...rows.values()];
}
