/** A TransportHandler that writes down what it is told and can be waited for. */
import type {NodeId} from '../../src/raft/ids.ts';
import type {
  CheckpointMeta,
  SnapshotExport,
  SnapshotImport,
} from '../../src/storage/checkpoint-store.ts';
import type {
  FormationAnswer,
  Handshake,
  PeerMessage,
  Refusal,
  TransportHandler,
} from '../../src/transport/transport.ts';

export class RecordingHandler implements TransportHandler {
  readonly messages: {readonly from: NodeId; readonly message: PeerMessage}[] = [];
  readonly events: string[] = [];
  readonly refusals: Refusal[] = [];
  readonly handshakes: Handshake[] = [];
  readonly snapshots: {readonly meta: CheckpointMeta; readonly snapshot: SnapshotImport}[] = [];
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

  onSnapshotOffer(): SnapshotImport | null {
    return this.import;
  }

  onSnapshotReceived(_from: NodeId, meta: CheckpointMeta, snapshot: SnapshotImport): void {
    this.snapshots.push({meta, snapshot});
    this.#onEvent();
  }
}

/** An export of the given blocks that counts how it is used. */
export class ListExport implements SnapshotExport {
  readonly meta: CheckpointMeta;
  readonly sizeBytes: number;
  readonly #blocks: readonly Uint8Array[];
  nextCount = 0;
  closeCount = 0;

  constructor(meta: CheckpointMeta, blocks: readonly Uint8Array[]) {
    this.meta = meta;
    this.#blocks = blocks;
    this.sizeBytes = blocks.reduce((sum, block) => sum + block.length, 0);
  }

  next(callback: (error: Error | null, block: Uint8Array | null) => void): void {
    const block = this.#blocks[this.nextCount] ?? null;
    this.nextCount += 1;
    queueMicrotask(() => callback(null, block));
  }

  close(): void {
    this.closeCount += 1;
  }
}

/** An import that keeps the blocks; `hold` makes it wait, `failure` makes it fail. */
export class ListImport implements SnapshotImport {
  readonly blocks: Uint8Array[] = [];
  failure: Error | null = null;
  isHeld = false;
  isFinished = false;
  abortCount = 0;
  #held: (() => void) | null = null;

  write(block: Uint8Array, callback: (error: Error | null) => void): void {
    this.blocks.push(block.slice());
    const done = (): void => callback(this.failure);
    if (this.isHeld) this.#held = done;
    else done();
  }

  release(): void {
    this.isHeld = false;
    this.#held?.();
    this.#held = null;
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
