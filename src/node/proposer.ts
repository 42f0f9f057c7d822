/**
 * The way of a write into the log: proposed here when this node leads, forwarded when another one
 * does, kept waiting (bounded) while nobody does. A proposal that was handed to nobody ends with a
 * definite error; one that was handed on and not answered ends with an unknown outcome.
 *
 * A leader has only a window of bytes in its log that are not applied; more waits in front of it,
 * in order. So whatever clients send at once, one turn of the ready loop handles a bounded part of
 * it, the entries under way are still in memory when they are sent and applied, and a leader that
 * loses its place leaves few unknown outcomes: what waits in front of the log goes to the next one.
 */
import {MalformedBytesError} from '../base/bytes.ts';
import type {Clock} from '../base/clock.ts';
import {RosettaError, type ErrorCode} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {decodeCommand, decodePlainPut, isLeaseQuery} from '../kv/command-codec.ts';
import {encodeResult} from '../kv/result-codec.ts';
import type {NodeId} from '../raft/ids.ts';
import type {Raft} from '../raft/raft.ts';
import type {LogStore} from '../storage/log-store.ts';
import type {ForwardMessage, ForwardResponseMessage, Transport} from '../transport/transport.ts';
import {Forwarder} from './forwarder.ts';
import type {LeaseExpirer} from './lease-expirer.ts';
import type {LogClock} from './log-clock.ts';
import {ProposalQueue} from './proposal-queue.ts';
import {ProposalTable} from './proposal-table.ts';
import type {Proposal} from './proposal.ts';
import type {ProposeCallback} from './service.ts';

interface KeptResponse {
  readonly to: NodeId;
  readonly response: ForwardResponseMessage;
  /** Monotonic clock; nobody waits for the answer any more after it. */
  readonly deadlineMs: number;
}

export interface ProposerParts {
  readonly raft: Raft;
  readonly log: LogStore;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logClock: LogClock;
  /** What it answers is never logged. */
  readonly leases: Pick<LeaseExpirer, 'answer'>;
  readonly firstRequestId: number;
  /** The checkpoint can no longer take what is applied (disk full). */
  readonly isStorageFull: () => boolean;
  /** What this node would answer comes from a wrong state. */
  readonly isDiverged: () => boolean;
  readonly scheduleReady: () => void;
}

export class Proposer {
  readonly #parts: ProposerParts;
  readonly #table = new ProposalTable(() => this.#scheduleAdmission());
  readonly #forwarder: Forwarder;
  /** For a leader to be known, or for the way to it to be free. */
  readonly #waiting = new ProposalQueue();
  /** Taken by this node as the leader, and waiting for room in the window. */
  readonly #queue = new ProposalQueue();
  #isAdmissionDue = false;
  /** Answers to forwards that could not be sent yet, oldest first. */
  #kept: KeptResponse[] = [];
  #keptSizeBytes = 0;
  #proposedCount = 0;

  constructor(parts: ProposerParts) {
    this.#parts = parts;
    this.#forwarder = new Forwarder(parts);
  }

  /** Proposals that entered this node's log, since it started. */
  get proposedCount(): number {
    return this.#proposedCount;
  }

  get logClock(): LogClock {
    return this.#parts.logClock;
  }

  get table(): ProposalTable {
    return this.#table;
  }

  hasPending(): boolean {
    const {count} = this.#table;
    return count + this.#queue.count + this.#forwarder.count + this.#waiting.count > 0;
  }

  propose(command: Uint8Array, timeoutMs: number, callback: ProposeCallback): void {
    const deadlineMs = this.#parts.clock.monotonicMs() + timeoutMs;
    this.#route({command, deadlineMs, callback, isForwarded: false});
  }

  /**
   * Into this node's log at once, or refused: neither forwarded nor kept waiting. For what the node
   * decides by itself, a few small commands at a time. They pass the window and what waits before
   * it, or else they would have no turn while clients send more than the log takes.
   */
  proposeNow(command: Uint8Array, timeoutMs: number, callback: ProposeCallback): void {
    const {raft, clock} = this.#parts;
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    const proposal = {command, deadlineMs, callback, isForwarded: true};
    if (!this.#mayPropose() || !this.#append(proposal)) {
      this.#refuse(proposal, 'NO_LEADER', `${raft.id} does not lead`);
    }
  }

  /** A write from another node. It is never forwarded a second time. */
  handleForward(from: NodeId, message: ForwardMessage): void {
    const {clock, transport} = this.#parts;
    const {requestId, command} = message;
    const callback: ProposeCallback = (error, result) => {
      const response: ForwardResponseMessage = {
        type: 'forward-response',
        requestId,
        result: result === null ? null : encodeResult(result),
        error: error === null ? null : errorFor(error),
      };
      if (!transport.send(from, response)) this.#keepResponse(from, response, message.timeoutMs);
    };
    const timeoutMs = Math.min(message.timeoutMs, limits.requestTimeoutMsMax);
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    const refusal = whyNoCommand(command);
    if (refusal === null) this.#route({command, deadlineMs, callback, isForwarded: true});
    else callback(refusal, null);
  }

  handleForwardResponse(from: NodeId, message: ForwardResponseMessage): void {
    const refused = this.#forwarder.handleResponse(from, message);
    // The refusal may be older than this node's knowledge of the leader, or newer: wait a moment.
    if (refused !== null) this.#wait(refused);
  }

  onPeerDown(id: NodeId): void {
    this.#forwarder.onPeerDown(id);
  }

  /** Called when the leader changed, a peer came up, and with every sweep. */
  routeWaiting(): void {
    this.#parts.logClock.look();
    this.#sendKept();
    const {raft, isDiverged} = this.#parts;
    if (raft.role === 'leader' && !isDiverged()) this.#admit();
    else for (const proposal of this.#queue.takeAll()) this.#route(proposal);
    if (this.#waiting.count === 0) return;
    for (const proposal of this.#waiting.takeAll()) this.#route(proposal);
  }

  /** The state turned out to be wrong: no write is answered from it, whoever led when it began. */
  onDiverged(): void {
    const detail = "this node's state differs from the majority's; the write may have happened";
    this.#table.failAll(new RosettaError('OUTCOME_UNKNOWN', detail));
  }

  expire(nowMs: number): void {
    this.#table.expire(nowMs);
    this.#forwarder.expire(nowMs);
    for (const proposal of this.#queue.takeExpired(nowMs)) {
      const detail = 'the log had no room in time; retry in a moment';
      proposal.callback(new RosettaError('OVERLOADED', detail), null);
    }
    for (const proposal of this.#waiting.takeExpired(nowMs)) {
      const detail = 'no leader could be reached in time; retry';
      proposal.callback(new RosettaError('NO_LEADER', detail), null);
    }
  }

  /** The node stops: what was handed on is unknown, what waits was never sent. */
  failAll(): void {
    const waiting = [...this.#queue.takeAll(), ...this.#waiting.takeAll()];
    const stopping = new RosettaError('STOPPING', 'the node is stopping; ask another one');
    for (const proposal of waiting) proposal.callback(stopping, null);
    const detail = 'the node stopped before the outcome was known';
    this.#table.failAll(new RosettaError('OUTCOME_UNKNOWN', detail));
    this.#forwarder.failAll(detail);
  }

  /**
   * A node that has just started reaches its leader before the leader's own connection to it is up.
   * Its answer waits for that connection, or else the client would wait for nothing. So do answers
   * to a node that reads slowly. There an answer that never comes ends with an unknown outcome.
   */
  #keepResponse(to: NodeId, response: ForwardResponseMessage, timeoutMs: number): void {
    const sizeBytes = sizeBytesOf(response);
    const isTooLarge = this.#keptSizeBytes + sizeBytes > limits.keptResponseSizeBytesMax;
    if (isTooLarge || this.#kept.length >= limits.forwardedRequestCountMax) return;
    const deadlineMs = this.#parts.clock.monotonicMs() + timeoutMs;
    this.#kept.push({to, response, deadlineMs});
    this.#keptSizeBytes += sizeBytes;
  }

  #sendKept(): void {
    if (this.#kept.length === 0) return;
    const {transport, clock} = this.#parts;
    const nowMs = clock.monotonicMs();
    this.#kept = this.#kept.filter(({to, response, deadlineMs}) => {
      const isKept = deadlineMs > nowMs && !transport.send(to, response);
      if (!isKept) this.#keptSizeBytes -= sizeBytesOf(response);
      return isKept;
    });
  }

  #route(proposal: Proposal): void {
    const {raft, clock} = this.#parts;
    if (this.#mayPropose() && this.#proposeHere(proposal)) return;
    if (proposal.isForwarded) {
      proposal.callback(new RosettaError('NO_LEADER', `${raft.id} does not lead`), null);
      return;
    }
    const {leaderId} = raft;
    if (!this.#hasRoomFor(proposal)) {
      this.#refuse(
        proposal,
        'OVERLOADED',
        'too many writes wait for the leader; retry in a moment',
      );
    } else if (leaderId === null || leaderId === raft.id) {
      this.#wait(proposal);
    } else if (!this.#forwarder.forward(leaderId, proposal, clock.monotonicMs())) {
      this.#wait(proposal);
    }
  }

  #mayPropose(): boolean {
    const {raft, isDiverged} = this.#parts;
    return raft.role === 'leader' && !raft.isTransferring() && !isDiverged();
  }

  /** Among what this node holds for a leader that is to come, or to answer. */
  #hasRoomFor({command}: Proposal): boolean {
    const heldSizeBytes =
      this.#queue.sizeBytes + this.#waiting.sizeBytes + this.#forwarder.sizeBytes;
    return heldSizeBytes + command.length <= limits.pendingProposalSizeBytesMax;
  }

  /** False when this node turns out not to lead; otherwise the proposal is taken or refused. */
  #proposeHere(proposal: Proposal): boolean {
    if (isLeaseQuery(proposal.command)) {
      const {leases, clock} = this.#parts;
      const timeoutMs = Math.max(0, proposal.deadlineMs - clock.monotonicMs());
      leases.answer(proposal.command, timeoutMs, proposal.callback);
      return true;
    }
    if (this.#refuseWhenFull(proposal)) return true;
    if (!this.#table.hasRoom(proposal.command.length, this.#queue)) {
      this.#refuse(proposal, 'OVERLOADED', 'too many writes are waiting; retry in a moment');
      return true;
    }
    if (this.#queue.count === 0 && this.#fitsWindow(proposal)) return this.#append(proposal);
    this.#queue.push(proposal);
    return true;
  }

  /** One alone always fits. */
  #fitsWindow({command}: Proposal): boolean {
    const {sizeBytes} = this.#table;
    return sizeBytes === 0 || sizeBytes + command.length <= limits.proposalWindowSizeBytesMax;
  }

  #scheduleAdmission(): void {
    if (this.#isAdmissionDue || this.#queue.count === 0) return;
    this.#isAdmissionDue = true;
    this.#parts.clock.afterPoll(() => {
      this.#isAdmissionDue = false;
      this.#admit();
    });
  }

  /** Lets into the log what the window has room for, in the order of arrival. */
  #admit(): void {
    while (this.#mayPropose()) {
      const {first} = this.#queue;
      if (first === undefined || !this.#fitsWindow(first)) return;
      this.#queue.shift();
      if (!this.#append(first)) this.#route(first);
    }
  }

  /** As `#proposeHere`, past the window. */
  #append(proposal: Proposal): boolean {
    const {raft, logClock, scheduleReady} = this.#parts;
    if (this.#refuseWhenFull(proposal)) return true;
    const proposed = raft.propose(proposal.command, logClock.nowMs());
    if (proposed.type === 'accepted') {
      this.#proposedCount++;
      const {command, deadlineMs, callback} = proposal;
      this.#table.add(proposed.id, command.length, deadlineMs, callback);
      scheduleReady();
      return true;
    }
    if (proposed.reason !== 'overloaded') return false;
    this.#refuse(proposal, 'OVERLOADED', 'too much is waiting for a majority; retry in a moment');
    return true;
  }

  #refuseWhenFull(proposal: Proposal): boolean {
    const {raft, log, isStorageFull} = this.#parts;
    if (!log.isFull() && !isStorageFull()) return false;
    this.#refuse(proposal, 'STORAGE_FULL', `the disk of ${raft.id} is full; free some space`);
    return true;
  }

  #wait(proposal: Proposal): void {
    if (this.#waiting.count < limits.pendingProposalCountMax) this.#waiting.push(proposal);
    else this.#refuse(proposal, 'OVERLOADED', 'too many writes wait for a leader');
  }

  #refuse(proposal: Proposal, code: ErrorCode, detail: string): void {
    this.#parts.clock.afterPoll(() => proposal.callback(new RosettaError(code, detail), null));
  }
}

function sizeBytesOf({result}: ForwardResponseMessage): number {
  return result?.length ?? 0;
}

/** That this node is diverged is no reason for the one that asked: another leader answers it. */
function errorFor({code, message}: RosettaError): ForwardResponseMessage['error'] {
  return {code: code === 'DIVERGED' ? 'NO_LEADER' : code, detail: message};
}

/** Every replica must be able to apply what a leader logs, also if a peer's program is wrong. */
function whyNoCommand(bytes: Uint8Array): RosettaError | null {
  if (bytes.length > limits.entryDataSizeBytesMax) {
    return new RosettaError('COMMAND_TOO_LARGE', `The command has ${bytes.length} bytes.`);
  }
  try {
    if (decodePlainPut(bytes) === null) decodeCommand(bytes);
    return null;
  } catch (error) {
    if (!(error instanceof MalformedBytesError)) throw error;
    return new RosettaError('INVALID_REQUEST', `The leader cannot read it: ${error.message}.`);
  }
}
