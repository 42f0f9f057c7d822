/**
 * A member whose checkpoint was lost while its log no longer begins at entry 1. Its log and its
 * vote are intact and must stay: they are copies that others count on. So it asks any running
 * member for a snapshot, installs it, and only then runs. Until that moment it neither votes nor
 * acknowledges anything, exactly as if it were down.
 */
import type {Clock, Timer} from '../base/clock.ts';
import type {Logger} from '../base/logger.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {CheckpointStore, SnapshotImport} from '../storage/checkpoint-store.ts';
import type {SnapshotOffer, Transport} from '../transport/transport.ts';
import type {FormationPeer} from './formation-messages.ts';
import {SnapshotIntake} from './snapshot-intake.ts';

const askIntervalMs = 500;

export interface CheckpointRepairParts {
  readonly self: Member;
  readonly clusterId: string;
  readonly addresses: readonly FormationPeer[];
  /** The entry before the log's first: a snapshot must reach at least this far. */
  readonly indexMin: number;
  readonly transport: Transport;
  readonly checkpoint: CheckpointStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The imported checkpoint is installed. Called once. */
  readonly onRepaired: () => void;
  readonly fail: (error: Error) => void;
}

/** Where other members may be found: what `-peers` says comes before what was written down. */
export function repairAddresses(
  self: Member,
  peers: readonly FormationPeer[],
  members: readonly Member[],
): FormationPeer[] {
  const known = members.map(member => ({id: member.id, address: member.listen}));
  return [...peers, ...known].filter(peer => peer.id !== self.id);
}

export class CheckpointRepair {
  readonly #parts: CheckpointRepairParts;
  #timer: Timer | null = null;
  #turn = 0;
  readonly #intake: SnapshotIntake;
  /** Nothing more is asked for or taken. */
  #isDone = false;
  #isStopped = false;

  constructor(parts: CheckpointRepairParts) {
    this.#parts = parts;
    this.#intake = new SnapshotIntake(parts);
  }

  start(): void {
    const {logger, indexMin} = this.#parts;
    logger.warn({indexMin}, 'the checkpoint is lost; fetching a snapshot from another member');
    this.#ask();
  }

  stop(): void {
    this.#isStopped = true;
    this.#end();
    this.#intake.stop();
  }

  /** Whoever streams already is left alone. */
  onOffer(from: NodeId, offer: SnapshotOffer): SnapshotImport | null {
    const {indexMin} = this.#parts;
    if (this.#isDone || this.#intake.isStreaming || offer.meta.index < indexMin) return null;
    return this.#intake.accept(from, offer);
  }

  /** Its stream broke off. */
  onBroken(snapshot: SnapshotImport): void {
    if (this.#isDone) snapshot.abort();
    else this.#intake.onBroken(snapshot);
  }

  onReceived(meta: SnapshotMeta, snapshot: SnapshotImport): void {
    if (this.#isDone) {
      snapshot.abort();
      return;
    }
    this.#end();
    snapshot.install(error => {
      if (this.#isStopped) return;
      if (error !== null) {
        this.#parts.fail(error);
        return;
      }
      this.#parts.logger.info({index: meta.index}, 'the checkpoint is replaced');
      this.#parts.onRepaired();
    });
  }

  #end(): void {
    this.#isDone = true;
    this.#timer?.cancel();
  }

  /** Members are asked in turn; one that streams already is left alone. */
  #ask(): void {
    if (this.#isDone) return;
    const {addresses, transport, clock, self, clusterId} = this.#parts;
    const peer = addresses[this.#turn++ % Math.max(1, addresses.length)];
    if (peer !== undefined && !this.#intake.isStreaming) {
      const request = {
        type: 'send-snapshot',
        clusterId,
        id: self.id,
        incarnation: self.incarnation,
      };
      transport.requestFormation(peer.address, request, () => undefined);
    }
    this.#timer = clock.setTimer(askIntervalMs, () => this.#ask());
  }
}
