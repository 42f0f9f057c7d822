/** A TransportHandler that writes down what it is told and can be waited for. */
import type {NodeId} from '../../src/raft/ids.ts';
import type {
  CheckpointMeta,
  SnapshotImport,
  SnapshotReader,
} from '../../src/storage/checkpoint-store.ts';
import type {SnapshotPosition} from '../../src/storage/snapshot-position.ts';
import type {
  FormationAnswer,
  Handshake,
  PeerMessage,
  Refusal,
  SnapshotOffer,
  SnapshotSource,
  TransportHandler,
} from '../../src/transport/transport.ts';

export class RecordingHandler implements TransportHandler {
  readonly messages: {readonly from: NodeId; readonly message: PeerMessage}[] = [];
  readonly events: string[] = [];
  readonly refusals: Refusal[] = [];
  readonly handshakes: Handshake[] = [];
  readonly snapshots: {readonly meta: CheckpointMeta; readonly snapshot: SnapshotImport}[] = [];
  readonly offers: SnapshotOffer[] = [];
  readonly broken: SnapshotImport[] = [];
  contactCount = 0;
  refusal: Refusal | null = null;
  /** Null: snapshots are not wanted. */
  import: SnapshotImport | null = null;
  formation: FormationAnswer = {status: 200, body: {}};
  readonly #onEvent: () => void;

  constructor(onEvent: () => void) {
    this.#onEvent = onEvent;
  }

  onMessage(from: NodeId, message: PeerMessage): void {
    this.messages.push({from, message});
    this.#onEvent();
  }

  onContact(): void {
    this.contactCount += 1;
    this.#onEvent();
  }

  onPeerUp(id: NodeId): void {
    this.events.push(`up ${id}`);
    this.#onEvent();
  }

  onPeerDown(id: NodeId): void {
    this.events.push(`down ${id}`);
    this.#onEvent();
  }

  onRefused(_id: NodeId, refusal: Refusal): void {
    this.refusals.push(refusal);
    this.#onEvent();
  }

  authorize(handshake: Handshake): Refusal | null {
    this.handshakes.push(handshake);
    return this.refusal;
  }

  onFormation(request: unknown): FormationAnswer {
    const {status} = this.formation;
    return {status, body: {asked: request, answer: this.formation.body}};
  }

  onSnapshotOffer(_from: NodeId, offer: SnapshotOffer): SnapshotImport | null {
    this.offers.push(offer);
    return this.import;
  }

  onSnapshotBroken(_from: NodeId, snapshot: SnapshotImport): void {
    this.broken.push(snapshot);
    this.#onEvent();
  }

  onSnapshotReceived(_from: NodeId, meta: CheckpointMeta, snapshot: SnapshotImport): void {
    this.snapshots.push({meta, snapshot});
    this.#onEvent();
  }
}

/** A source of the given blocks that counts how it is used; a position's rows are its blocks. */
export class ListSource implements SnapshotSource {
  readonly id: string;
  readonly meta: CheckpointMeta;
  readonly sizeBytes = 123_456;
  readonly #blocks: readonly Uint8Array[];
  readonly opened: (SnapshotPosition | null)[] = [];
  nextCount = 0;
  closeCount = 0;

  constructor(meta: CheckpointMeta, blocks: readonly Uint8Array[], id = '1-1') {
    this.id = id;
    this.meta = meta;
    this.#blocks = blocks;
  }

  open(after: SnapshotPosition | null): SnapshotReader {
    this.opened.push(after);
    let at = after?.rowCount ?? 0;
    return {
      next: callback => {
        const block = this.#blocks[at++] ?? null;
        this.nextCount += 1;
        queueMicrotask(() => callback(null, block));
      },
      close: () => {
        this.closeCount += 1;
      },
    };
  }
}

/** An import that keeps the blocks; `isHeld` makes it wait, `failure` makes it fail. */
export class ListImport implements SnapshotImport {
  readonly blocks: Uint8Array[] = [];
  failure: Error | null = null;
  isHeld = false;
  isFinished = false;
  abortCount = 0;
  readonly #held: (() => void)[] = [];

  begin(callback: (error: Error | null, after: SnapshotPosition | null) => void): void {
    const rowCount = this.blocks.length;
    const lastKey = Uint8Array.of(rowCount);
    callback(null, rowCount === 0 ? null : {lastKey, rowCount, checksum: 0});
  }

  write(block: Uint8Array, callback: (error: Error | null) => void): void {
    this.blocks.push(block.slice());
    const done = (): void => callback(this.failure);
    if (this.isHeld) this.#held.push(done);
    else done();
  }

  release(): void {
    this.isHeld = false;
    for (const done of this.#held.splice(0)) done();
  }

  finish(callback: (error: Error | null) => void): void {
    this.isFinished = true;
    queueMicrotask(() => callback(this.failure));
  }

  install(): void {
    throw new Error('a transport installs nothing');
  }

  abort(): void {
    this.abortCount += 1;
  }
}
