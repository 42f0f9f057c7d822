/**
 * Replicas compare the hash of their state at the same applied indices. A majority decides: a
 * replica that differs from it has diverged and must not serve. Without a majority nobody is
 * called wrong, and everybody raises the alarm.
 */
import type {Logger} from '../base/logger.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Transport} from '../transport/transport.ts';

/** Hashes are taken at multiples of this. */
export const stateHashInterval = 1024;

/** Indices remembered, the newest ones. */
const windowCount = 16;

export class StateHashMonitor {
  readonly #selfId: string;
  readonly #logger: Logger;
  readonly #onDiverged: (detail: string) => void;
  /** index → (member → hash), in rising order of insertion. */
  readonly #hashes = new Map<number, Map<string, string>>();
  readonly #alarmed = new Set<number>();

  constructor(parts: {
    readonly selfId: string;
    readonly logger: Logger;
    readonly onDiverged: (detail: string) => void;
  }) {
    this.#selfId = parts.selfId;
    this.#logger = parts.logger;
    this.#onDiverged = parts.onDiverged;
  }

  /** Of this node: noted here, and told to the other voters. */
  report(
    report: {readonly index: number; readonly hash: string},
    voters: readonly NodeId[],
    transport: Pick<Transport, 'send'>,
  ): void {
    this.note(this.#selfId, report, voters);
    for (const voter of voters) {
      if (voter !== this.#selfId) transport.send(voter, {type: 'state-hash', ...report});
    }
  }

  /** `voters` have a say; a replica that is none learns whether it differs from them. */
  note(
    id: string,
    report: {readonly index: number; readonly hash: string},
    voters: readonly string[],
  ): void {
    if (report.index % stateHashInterval !== 0) return;
    if (id !== this.#selfId && !voters.includes(id)) return;
    let hashes = this.#hashes.get(report.index);
    if (hashes === undefined) {
      hashes = new Map();
      this.#hashes.set(report.index, hashes);
      this.#forgetOldest();
    }
    hashes.set(id, report.hash);
    this.#judge(report.index, hashes, voters);
  }

  #judge(index: number, hashes: ReadonlyMap<string, string>, voters: readonly string[]): void {
    const own = hashes.get(this.#selfId);
    if (own === undefined) return;
    const counts = new Map([[own, 0]]);
    for (const [id, hash] of hashes) {
      counts.set(hash, (counts.get(hash) ?? 0) + (voters.includes(id) ? 1 : 0));
    }
    if (counts.size === 1) return;
    for (const [hash, count] of counts) {
      if (count * 2 <= voters.length) continue;
      if (hash !== own) this.#onDiverged(`state hash ${own} at index ${index}, majority ${hash}`);
      return;
    }
    if (this.#alarmed.has(index)) return;
    this.#alarmed.add(index);
    this.#logger.error(
      {index, hashes: Object.fromEntries(hashes)},
      'replicas differ and no majority agrees: stop writing and compare the data directories',
    );
  }

  #forgetOldest(): void {
    if (this.#hashes.size <= windowCount) return;
    const oldest = Math.min(...this.#hashes.keys());
    this.#hashes.delete(oldest);
    this.#alarmed.delete(oldest);
  }
}
