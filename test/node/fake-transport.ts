/** A transport that only takes notes; the test says who is connected and what is answered. */
import {assert} from '../../src/base/assert.ts';
import type {Member} from '../../src/raft/membership.ts';
import type {NodeId} from '../../src/raft/ids.ts';
import type {
  FormationAnswer,
  LocalIdentity,
  PeerCounters,
  PeerMessage,
  SnapshotSource,
  Transport,
} from '../../src/transport/transport.ts';

export interface FormationCall {
  readonly address: string;
  readonly request: unknown;
  /** Null: nobody answered. */
  readonly answer: (answer: FormationAnswer | null) => void;
}

export class FakeTransport implements Transport {
  readonly connected = new Set<string>();
  readonly sent: {readonly to: NodeId; readonly message: PeerMessage}[] = [];
  readonly calls: FormationCall[] = [];
  readonly streams: {
    readonly to: NodeId;
    readonly snapshot: SnapshotSource;
    readonly callback: (error: Error | null) => void;
  }[] = [];
  members: readonly Member[] = [];
  identity: LocalIdentity | null = null;

  start(_handler: unknown, callback: (error: Error | null) => void): void {
    callback(null);
  }

  setPeers(members: readonly Member[]): void {
    this.members = members;
  }

  setIdentity(identity: LocalIdentity): void {
    this.identity = identity;
  }

  send(to: NodeId, message: PeerMessage): boolean {
    if (!this.connected.has(to)) return false;
    this.sent.push({to, message});
    return true;
  }

  flush(): void {
    return;
  }

  sendSnapshot(
    to: NodeId,
    snapshot: SnapshotSource,
    callback: (error: Error | null) => void,
  ): void {
    this.streams.push({to, snapshot, callback});
  }

  requestFormation(
    address: string,
    request: unknown,
    callback: (error: Error | null, answer: FormationAnswer | null) => void,
  ): void {
    let isAnswered = false;
    this.calls.push({
      address,
      request,
      answer: answer => {
        assert(!isAnswered, 'one answer');
        isAnswered = true;
        if (answer === null) callback(new Error('ECONNREFUSED'), null);
        else callback(null, answer);
      },
    });
  }

  peer(id: NodeId): PeerCounters {
    return {isConnected: this.connected.has(id), bufferedSizeBytes: 0, droppedCount: 0};
  }

  stop(callback: () => void): void {
    callback();
  }
}
