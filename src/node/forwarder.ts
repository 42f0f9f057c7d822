/**
 * Writes that this node handed to the leader and whose answer it waits for. A forward is sent once:
 * when the connection breaks or the time runs out, the write may have happened, and the client is
 * told so. Only a definite refusal of the leader goes back to be routed again.
 */
import {assert} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {decodeCommand, isLeaseQuery} from '../kv/command-codec.ts';
import {decodeResult} from '../kv/result-codec.ts';
import type {NodeId} from '../raft/ids.ts';
import type {ForwardResponseMessage, Transport} from '../transport/transport.ts';
import type {Proposal} from './proposal.ts';

interface PendingForward {
  readonly to: NodeId;
  readonly proposal: Proposal;
}

export class Forwarder {
  readonly #transport: Transport;
  readonly #pending = new Map<number, PendingForward>();
  #lastRequestId: number;
  #sizeBytes = 0;

  /** `firstRequestId`: above those of every earlier life of this member (see Replica). */
  constructor(parts: {readonly transport: Transport; readonly firstRequestId: number}) {
    this.#transport = parts.transport;
    this.#lastRequestId = parts.firstRequestId - 1;
  }

  get count(): number {
    return this.#pending.size;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** False, and nothing sent, when the leader is not connected or too much is waiting. */
  forward(to: NodeId, proposal: Proposal, nowMs: number): boolean {
    if (this.#pending.size >= limits.forwardedRequestCountMax) return false;
    const requestId = ++this.#lastRequestId;
    const wasSent = this.#transport.send(to, {
      type: 'forward',
      requestId,
      timeoutMs: Math.max(1, Math.ceil(proposal.deadlineMs - nowMs)),
      command: proposal.command,
    });
    if (!wasSent) return false;
    this.#pending.set(requestId, {to, proposal});
    this.#sizeBytes += proposal.command.length;
    return true;
  }

  /** Returns the proposal when the leader refused it definitely and it may be routed again. */
  handleResponse(from: NodeId, response: ForwardResponseMessage): Proposal | null {
    const pending = this.#pending.get(response.requestId);
    if (pending?.to !== from) return null;
    this.#take(response.requestId, pending);
    const {proposal} = pending;
    if (response.error !== null) {
      if (response.error.code === 'NO_LEADER') return proposal;
      proposal.callback(new RosettaError(response.error.code, response.error.detail), null);
    } else if (response.result !== null) {
      proposal.callback(null, decodeResult(response.result));
    }
    return null;
  }

  /** The connection to `id` is gone, and with it the answers. */
  onPeerDown(id: NodeId): void {
    for (const [requestId, pending] of this.#pending) {
      if (pending.to !== id) continue;
      this.#fail(requestId, pending, `the connection to the leader ${id} was lost`);
    }
  }

  expire(nowMs: number): void {
    for (const [requestId, pending] of this.#pending) {
      if (pending.proposal.deadlineMs > nowMs) continue;
      this.#fail(requestId, pending, `the leader ${pending.to} did not answer in time`);
    }
  }

  failAll(detail: string): void {
    for (const [requestId, pending] of this.#pending) this.#fail(requestId, pending, detail);
  }

  #take(requestId: number, {proposal}: PendingForward): void {
    this.#pending.delete(requestId);
    this.#sizeBytes -= proposal.command.length;
    assert(this.#sizeBytes >= 0, 'forwards hold less than nothing');
  }

  #fail(requestId: number, pending: PendingForward, detail: string): void {
    this.#take(requestId, pending);
    const {command, callback} = pending.proposal;
    const body = isLeaseQuery(command) ? decodeCommand(command).body : null;
    const isRead = body?.type === 'lease-query' && !body.isKeepalive;
    callback(new RosettaError(isRead ? 'READ_TIMEOUT' : 'OUTCOME_UNKNOWN', detail), null);
  }
}
