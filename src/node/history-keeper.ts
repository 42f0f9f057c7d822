/**
 * Keeps history within its age and size: the leader proposes compactions, and every node removes
 * what a compaction made obsolete: large values in slices between other work, all else with its
 * checkpoints.
 */
import type {Clock} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import {encodeCommand} from '../kv/command-codec.ts';
import type {KvStateMachine} from '../kv/state-machine.ts';
import type {Raft} from '../raft/raft.ts';
import type {NodeOptions} from './node-options.ts';
import type {Proposer} from './proposer.ts';

const scrubRowCount = 128;
const scrubSliceMs = 2;
const proposeTimeoutMs = 5_000;

export interface HistoryKeeperParts {
  readonly raft: Raft;
  readonly machine: KvStateMachine;
  readonly proposer: Proposer;
  readonly clock: Clock;
  readonly options: NodeOptions;
  /** False while rows must not be touched: the overlay is full or a snapshot is installed. */
  readonly mayScrub: () => boolean;
}

export class HistoryKeeper {
  readonly #parts: HistoryKeeperParts;
  #lastLookAtMs = -Infinity;
  /** One is under way. */
  #isProposed = false;
  #scrubbedFor = -1;
  /** The newest revision at the last look, and when a look saw it first. */
  #revision = -1;
  #revisionSeenAtMs = 0;

  constructor(parts: HistoryKeeperParts) {
    this.#parts = parts;
  }

  /** Called with every tick. */
  tick(): void {
    this.#scrub();
    this.#maybePropose();
  }

  /** The state was replaced. */
  reset(): void {
    this.#scrubbedFor = -1;
  }

  #scrub(): void {
    const {machine, clock, mayScrub} = this.#parts;
    const compacted = machine.compactedRevision();
    if (compacted === this.#scrubbedFor || !mayScrub()) return;
    // As long as there is much to remove, as much as a slice of time allows.
    const startedAtMs = clock.monotonicMs();
    do {
      if (machine.scrub(scrubRowCount)) continue;
      this.#scrubbedFor = compacted;
      return;
    } while (clock.monotonicMs() - startedAtMs < scrubSliceMs);
  }

  #maybePropose(): void {
    const {raft, machine, proposer, clock, options} = this.#parts;
    const nowMs = clock.monotonicMs();
    // So that each checkpoint has about the share of one interval to remove.
    if (nowMs - this.#lastLookAtMs < limits.checkpointIntervalMs) return;
    this.#lastLookAtMs = nowMs;
    const ageMs = options.historyAgeMs === 0 ? Infinity : options.historyAgeMs;
    const isQuiet = this.#isQuietSince(nowMs - ageMs);
    if (raft.role !== 'leader' || this.#isProposed) return;
    const outOfBounds = machine.compactionTarget({
      nowMs: proposer.logClock.nowMs(),
      ageMs,
      sizeBytesMax: options.historySizeBytesMax === 0 ? Infinity : options.historySizeBytesMax,
    });
    const revision = isQuiet ? machine.revision() : outOfBounds;
    if (revision <= machine.compactedRevision()) return;
    const command = encodeCommand({idempotency: null, body: {type: 'compact', revision}});
    this.#isProposed = true;
    // A compaction that is lost or refused is found again at the next look.
    proposer.proposeNow(command, proposeTimeoutMs, () => {
      this.#isProposed = false;
    });
  }

  /**
   * Whether nothing has changed since then, so that all revisions but the newest were replaced
   * before. The times kept in the state do not tell: there is one a minute, and none after the last
   * change, so what the end of a load replaced or deleted would stay until somebody writes again.
   * To be asked on followers too: the next leader need not begin anew.
   */
  #isQuietSince(ms: number): boolean {
    const revision = this.#parts.machine.revision();
    if (revision !== this.#revision) {
      this.#revision = revision;
      this.#revisionSeenAtMs = this.#parts.clock.monotonicMs();
    }
    return this.#revisionSeenAtMs <= ms;
  }
}
