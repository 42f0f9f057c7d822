/**
 * Replicas compare the hash of their state at the same applied indices. A majority decides: a
 * replica that differs from it has diverged and must not serve, for good: what it holds is wrong
 * from there on. Without a majority nobody is called wrong, and everybody raises the alarm.
 */
import {RosettaError} from '../base/errors.ts';
import type {Logger} from '../base/logger.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Transport} from '../transport/transport.ts';

/** Hashes are taken at multiples of this. */
export const stateHashInterval = 1024;

/**
 * Indices remembered, the newest ones: a replica that applies a quarter of a million entries later
 * than the others is still compared.
 */
const windowCount = 256;

export class StateHashMonitor {
  readonly #selfId: string;
  readonly #logger: Logger;
  readonly #onDiverged: (detail: string) => void;
  /** index → (member → hash), in rising order of insertion. */
  readonly #hashes = new Map<number, Map<string, string>>();
  readonly #alarmed = new Set<number>();
  #divergence: string | null;

  constructor(parts: {
    readonly selfId: string;
    readonly logger: Logger;
    /** As found in an earlier life; null: it was not. */
    readonly divergence: string | null;
    /** Once, when it is found. */
    readonly onDiverged: (detail: string) => void;
  }) {
    this.#selfId = parts.selfId;
    this.#logger = parts.logger;
    this.#onDiverged = parts.onDiverged;
    this.#divergence = parts.divergence;
    if (parts.divergence !== null) this.#complain(parts.divergence);
  }

  get isDiverged(): boolean {
    return this.#divergence !== null;
  }

  /** Why this replica does not serve; null: it may. */
  refusal(): RosettaError | null {
    if (this.#divergence === null) return null;
    const detail =
      `the state of this node differs from the majority's (${this.#divergence}); ask another ` +
      'node, and start this one with -rejoin';
    return new RosettaError('DIVERGED', detail);
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
      if (hash !== own) this.#diverge(`state hash ${own} at index ${index}, majority ${hash}`);
      return;
    }
    if (this.#alarmed.has(index)) return;
    this.#alarmed.add(index);
    this.#logger.error(
      {index, hashes: Object.fromEntries(hashes)},
      'replicas differ and no majority agrees: stop writing and compare the data directories',
    );
  }

  #diverge(detail: string): void {
    if (this.#divergence !== null) return;
    this.#divergence = detail;
    this.#complain(detail);
    this.#onDiverged(detail);
  }

  #complain(detail: string): void {
    const message =
      'the state of this node differs from the majority: it does not serve any more; ' +
      'start it with -rejoin';
    this.#logger.error({detail}, message);
  }

  #forgetOldest(): void {
    if (this.#hashes.size <= windowCount) return;
    const oldest = Math.min(...this.#hashes.keys());
    this.#hashes.delete(oldest);
    this.#alarmed.delete(oldest);
  }
}
