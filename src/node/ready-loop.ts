/**
 * The only place that orders what raft decided: send what promises nothing → persist → send the
 * rest → apply → reply. Messages that need not wait for the disk leave first, and its write runs
 * while they travel; those that must wait leave from its completion. Everything that happens in one
 * turn of the event loop becomes one Ready: one write, one frame a peer. See docs/io-ordering.md.
 */
import {must} from '../base/assert.ts';
import type {Clock} from '../base/clock.ts';
import type {HardState} from '../raft/hard-state.ts';
import type {NodeId} from '../raft/ids.ts';
import {minIndex} from '../raft/ids.ts';
import type {Message} from '../raft/message.ts';
import type {Raft} from '../raft/raft.ts';
import type {Ready, SoftState} from '../raft/ready.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import type {LogStore} from '../storage/log-store.ts';
import type {Transport} from '../transport/transport.ts';
import type {Applier} from './applier.ts';
import type {ReadTable} from './read-table.ts';

export interface ReadyLoopParts {
  readonly raft: Raft;
  readonly log: LogStore;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly applier: Applier;
  readonly reads: ReadTable;
  readonly onSoftState: (softState: SoftState) => void;
  readonly onCommitted: (entryCount: number) => void;
  /** A follower needs what the log no longer holds. */
  readonly onSnapshotNeeded: (to: NodeId) => void;
  /** Replaces the checkpoint by the received snapshot; durable when the callback runs. */
  readonly installSnapshot: (meta: SnapshotMeta, callback: (error: Error | null) => void) => void;
  /** In that turn: the log, which begins anew with `hardState`, and the state follow. */
  readonly onInstalled: (meta: SnapshotMeta, hardState: HardState) => void;
  readonly fail: (error: Error) => void;
}

interface WaitingMessages {
  readonly sequence: number;
  messages: readonly Message[];
}

export class ReadyLoop {
  readonly #parts: ReadyLoopParts;
  #isScheduled = false;
  #isStopped = false;
  /** Every write up to this sequence is durable. */
  #durableSequence = 0;
  #writesInFlight = 0;
  readonly #waiting: WaitingMessages[] = [];
  /** A Ready with a snapshot, kept until the writes before it are durable and it is installed. */
  #snapshotReady: Ready | null = null;
  #isInstalling = false;

  constructor(parts: ReadyLoopParts) {
    this.#parts = parts;
  }

  /** Runs the loop after the I/O of this turn has been read. */
  schedule(): void {
    if (this.#isScheduled || this.#isStopped) return;
    this.#isScheduled = true;
    this.#parts.clock.afterPoll(this.#onTurn);
  }

  /** As `schedule`, after something that often leaves nothing to do. */
  scheduleIfReady(): void {
    const {raft, applier} = this.#parts;
    if (raft.hasReady() || applier.hasWork) this.schedule();
  }

  stop(): void {
    this.#isStopped = true;
  }

  readonly #onTurn = (): void => {
    this.#isScheduled = false;
    if (!this.#isStopped) this.#turn();
  };

  #turn(): void {
    const {raft, clock, applier, reads} = this.#parts;
    reads.begin(clock.monotonicMs());
    this.#drain();
    const didApply = applier.run();
    if (didApply) {
      raft.applied(applier.applied.index);
      // Applying may let raft hand out more, and a leader that applied may start a membership step.
      this.#drain();
    }
    reads.serve(applier.applied.index);
    this.#noteCommit();
    this.#noteNeeds();
    // What is paused (no room, or a snapshot that waits for the disk) goes on with the next tick,
    // or when the disk answers; looking again at once would only burn the processor.
    if (didApply && applier.hasWork) this.schedule();
  }

  /**
   * The commit index may get into a write that is queued already. So it never names an entry that
   * is not durable in its present form: behind a truncation, or before a snapshot is installed,
   * the disk still holds other entries at those indices, and a crash would make them committed.
   */
  #noteCommit(): void {
    const {raft, log} = this.#parts;
    if (this.#snapshotReady !== null) return;
    log.noteCommit(minIndex(raft.commitIndex, raft.stableIndex));
  }

  #noteNeeds(): void {
    const {raft, log, applier} = this.#parts;
    log.noteNeeds({applied: applier.applied.index, sent: raft.sentIndexes});
  }

  #drain(): void {
    const {raft} = this.#parts;
    while (this.#snapshotReady === null && !this.#isStopped && raft.hasReady()) {
      this.#perform(raft.ready());
    }
  }

  #perform(ready: Ready): void {
    const {reads, applier, onSoftState, onCommitted} = this.#parts;
    if (ready.snapshot !== null) {
      this.#snapshotReady = ready;
      this.#maybeInstall();
      return;
    }
    // Appends need not wait for the own disk, and a follower's way to a durable copy is the longer
    // one: they leave before this node's write, and before what it applies in this turn.
    this.#send(ready.messages);
    this.#parts.transport.flush();
    this.#persist(ready);
    this.#sendAfterPersist(ready);
    if (ready.softState !== null) onSoftState(ready.softState);
    // The next round begins with the next turn: for reads that gathered behind this one, or behind
    // one that another leader was to answer.
    if (ready.softState !== null || ready.readStates.length > 0) this.schedule();
    if (ready.committed.length > 0) {
      applier.enqueue(ready.committed);
      onCommitted(ready.committed.length);
    }
    if (ready.readStates.length > 0) reads.onReadStates(ready.readStates);
  }

  #persist(ready: Ready): void {
    if (!ready.mustPersist) return;
    const {raft, log} = this.#parts;
    const hardState = ready.hardState ?? raft.hardState;
    this.#writesInFlight++;
    log.append({hardState, entries: ready.entries}, error => {
      this.#writesInFlight--;
      if (this.#isStopped) return;
      if (error === null) this.#onDurable(ready.sequence);
      else this.#parts.fail(error);
    });
  }

  #onDurable(sequence: number): void {
    this.#durableSequence = sequence;
    this.#parts.raft.persisted(sequence);
    const later = this.#waiting.findIndex(waiting => waiting.sequence > sequence);
    const due = this.#waiting.splice(0, later < 0 ? this.#waiting.length : later);
    for (const {messages} of due) this.#send(messages);
    this.#maybeInstall();
    this.scheduleIfReady();
  }

  #sendAfterPersist(ready: Ready): void {
    if (ready.messagesAfterPersist.length === 0) return;
    const {sequence, messagesAfterPersist: messages} = ready;
    const last = this.#waiting.at(-1);
    if (sequence <= this.#durableSequence) this.#send(messages);
    else if (last?.sequence === sequence) last.messages = newestAnswers(last.messages, messages);
    else this.#waiting.push({sequence, messages});
  }

  #send(messages: readonly Message[]): void {
    const {raft, transport, onSnapshotNeeded} = this.#parts;
    for (const message of messages) {
      if (message.type === 'snapshot') onSnapshotNeeded(message.to);
      else if (!transport.send(message.to, message)) raft.reportUnreachable(message.to);
    }
  }

  /**
   * The log is reset with nothing in flight: a write that completed after the reset would bring
   * back entries that the snapshot replaced. The reset is durable when the write behind it is, with
   * or without entries; until then raft does not count the snapshot as its own.
   */
  #maybeInstall(): void {
    const ready = this.#snapshotReady;
    if (ready === null || ready.snapshot === null) return;
    if (this.#isInstalling || this.#writesInFlight > 0) return;
    const {snapshot} = ready;
    this.#isInstalling = true;
    this.#parts.installSnapshot(snapshot, error => {
      // The log of a node that stops may be closed; the next start finds it behind the checkpoint.
      if (this.#isStopped) return;
      if (error === null) this.#onInstalled(snapshot, ready);
      else this.#parts.fail(error);
    });
  }

  /**
   * Not with raft's hard state of this moment: while the snapshot waited, entries of its Ready may
   * have been replaced and the new ones committed. The old ones are written first, and a crash
   * between the two would make them committed.
   */
  #onInstalled(snapshot: SnapshotMeta, ready: Ready): void {
    this.#isInstalling = false;
    this.#snapshotReady = null;
    this.#parts.onInstalled(snapshot, must(ready.hardState, 'a snapshot is persisted'));
    this.#perform({...ready, snapshot: null});
    this.schedule();
  }
}

/**
 * A disk that is full or stands still may keep messages waiting for days, while the leader asks
 * many times a second. Of the answers to one leader in one term the newest says it all.
 */
function newestAnswers(before: readonly Message[], messages: readonly Message[]): Message[] {
  const newest = new Map<string, Message>();
  for (const message of [...before, ...messages]) {
    const {type, to, term} = message;
    const kind = repeatedAnswers.has(type) ? `${type} ${to} ${term}` : String(newest.size);
    const former = newest.get(kind);
    const isLower =
      former?.type === 'append-accepted' &&
      message.type === 'append-accepted' &&
      message.matchIndex < former.matchIndex;
    if (!isLower) newest.set(kind, message);
  }
  return [...newest.values()];
}

const repeatedAnswers: ReadonlySet<Message['type']> = new Set([
  'append-accepted',
  'append-rejected',
  'heartbeat-response',
  'pre-vote-response',
]);
