/**
 * What a scrape finds beside the histograms: the counts of Metrics and the state of the member, in
 * the collectors of prom-client. Loaded with the first scrape: no start waits for it.
 */
import {collectDefaultMetrics, Counter, Gauge, Registry} from 'prom-client';
import type {EventCounts, MetricsSource} from './metrics-source.ts';

export class MetricsRegistry {
  readonly #registry = new Registry();
  readonly #counts: EventCounts;
  readonly #source: () => MetricsSource | null;

  constructor(counts: EventCounts, source: () => MetricsSource | null) {
    this.#counts = counts;
    this.#source = source;
    this.#registerEvents();
    this.#registerState();
    this.#registerPeers();
    // Memory, CPU, and, from here on, garbage collection and the delay of the event loop.
    collectDefaultMetrics({register: this.#registry});
  }

  /** In the text format of Prometheus. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #registerEvents(): void {
    const ofEvents = (name: string, help: string, read: (counts: EventCounts) => number): void =>
      this.#counter(name, help, () => read(this.#counts));

    ofEvents('rosetta_committed_entries_total', 'Entries committed', ({committed}) => committed);
    ofEvents('rosetta_elections_total', 'Elections this node began', ({elections}) => elections);
    ofEvents('rosetta_leader_changes_total', 'Leader changes seen', counts => {
      return counts.leaderChanges;
    });
    ofEvents('rosetta_snapshots_sent_total', 'Snapshots sent', counts => counts.snapshotsSent);
    ofEvents('rosetta_snapshots_installed_total', 'Snapshots received and installed', counts => {
      return counts.snapshotsInstalled;
    });
  }

  #registerState(): void {
    type Status = ReturnType<MetricsSource['status']>;
    const ofStatus = (name: string, help: string, read: (status: Status) => number): void =>
      this.#gauge(name, help, source => read(source.status()));

    ofStatus('rosetta_is_leader', '1 on the leader', row => (row.state === 'leader' ? 1 : 0));
    ofStatus('rosetta_ready', '1 when the node serves', row => (row.ready ? 1 : 0));
    ofStatus('rosetta_diverged', "1 when its state differs from the majority's", row =>
      row.diverged ? 1 : 0,
    );
    ofStatus('rosetta_term', 'Current term', row => row.term);
    ofStatus('rosetta_commit_index', 'Last committed entry', row => row.commitIndex);
    ofStatus('rosetta_applied_index', 'Last applied entry', row => row.appliedIndex);
    ofStatus('rosetta_last_log_index', 'Last entry of the log', row => row.lastLogIndex);
    ofStatus(
      'rosetta_checkpoint_index',
      'Last entry in the checkpoint',
      row => row.checkpointIndex,
    );
    ofStatus('rosetta_log_entries', 'Entries of the log on disk', row => row.log.entries);
    ofStatus('rosetta_log_bytes', 'Bytes of the log on disk', row => row.log.bytes);
    ofStatus('rosetta_revision', 'Revision of the store', row => row.revision);
    ofStatus('rosetta_compacted_revision', 'Compacted revision', row => row.compactedRevision);
    ofStatus('rosetta_keys', 'Keys in the store', row => row.keys);
    this.#gauge('rosetta_wal_pending_bytes', 'Bytes waiting for the disk', source =>
      source.walPendingSizeBytes(),
    );
    this.#gauge('rosetta_checkpoint_file_bytes', 'Size of the checkpoint file', source => {
      return source.checkpointSpace().sizeBytes;
    });
    this.#gauge('rosetta_checkpoint_used_bytes', 'What of the file is in use', source => {
      return source.checkpointSpace().usedSizeBytes;
    });
    this.#total('rosetta_proposals_total', 'Commands proposed on this node', source => {
      return source.counts().proposed;
    });
    this.#total('rosetta_applied_entries_total', 'Entries applied', source => {
      return source.counts().applied;
    });
    this.#refusals();
  }

  #registerPeers(): void {
    type Peer = ReturnType<MetricsSource['peers']>[number];
    const ofPeers = (name: string, help: string, read: (peer: Peer) => number): void =>
      this.#perPeer(name, help, source =>
        source.peers().map(peer => ({id: peer.id, value: read(peer)})),
      );
    ofPeers('rosetta_peer_connected', '1 when both connections with the peer are up', peer =>
      peer.isConnected ? 1 : 0,
    );
    ofPeers('rosetta_peer_buffered_bytes', 'Bytes waiting to be sent to the peer', peer => {
      return peer.bufferedSizeBytes;
    });
    ofPeers('rosetta_peer_dropped_messages', 'Messages to the peer dropped so far', peer => {
      return peer.droppedCount;
    });
    this.#perPeer('rosetta_peer_lag_entries', 'Entries the peer has yet to store', source => {
      const {lastLogIndex} = source.status();
      const peers = new Set(source.peers().map(peer => peer.id));
      return source.members().flatMap(({id, matchIndex}) => {
        if (matchIndex === null || !peers.has(id)) return [];
        return [{id, value: Math.max(0, lastLogIndex - matchIndex)}];
      });
    });
  }

  #gauge(name: string, help: string, read: (source: MetricsSource) => number): void {
    const gauge = new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect: () => {
        const source = this.#source();
        if (source !== null) gauge.set(read(source));
      },
    });
  }

  #total(name: string, help: string, read: (source: MetricsSource) => number): void {
    this.#counter(name, help, () => {
      const source = this.#source();
      return source === null ? 0 : read(source);
    });
  }

  /** A counter that somebody else keeps. */
  #counter(name: string, help: string, read: () => number): void {
    const counter = new Counter({
      name,
      help,
      registers: [this.#registry],
      collect: () => {
        counter.reset();
        counter.inc(read());
      },
    });
  }

  #refusals(): void {
    const counter = new Counter({
      name: 'rosetta_refused_connections_total',
      help: 'What the Raft address turned away, by reason',
      labelNames: ['reason'],
      registers: [this.#registry],
      collect: () => {
        const source = this.#source();
        if (source === null) return;
        counter.reset();
        for (const [reason, count] of Object.entries(source.refusedConnectionCounts())) {
          counter.inc({reason}, count);
        }
      },
    });
  }

  #perPeer(
    name: string,
    help: string,
    read: (source: MetricsSource) => readonly {readonly id: string; readonly value: number}[],
  ): void {
    const gauge = new Gauge({
      name,
      help,
      labelNames: ['peer'],
      registers: [this.#registry],
      collect: () => {
        const source = this.#source();
        if (source === null) return;
        gauge.reset();
        for (const {id, value} of read(source)) gauge.set({peer: id}, value);
      },
    });
  }
}
