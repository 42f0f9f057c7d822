/**
 * What a member counts about itself, as GET /metrics shows it. Events are counted as they happen;
 * everything the member knows anyway is read from it when the metrics are asked for. The names are
 * listed in docs/metrics.md, which a test compares with this file.
 */
import {collectDefaultMetrics, Counter, Gauge, Registry} from 'prom-client';
import {LatencyHistogram} from './latency-histogram.ts';

/** The part of a running member that is read at every scrape. */
export interface MetricsSource {
  status(): {
    readonly state: string;
    readonly term: number;
    readonly ready: boolean;
    readonly diverged: boolean;
    readonly commitIndex: number;
    readonly appliedIndex: number;
    readonly lastLogIndex: number;
    readonly log: {readonly entries: number; readonly bytes: number};
    readonly revision: number;
    readonly compactedRevision: number;
    readonly keys: number;
    readonly checkpointIndex: number;
  };
  /** Since the start of the process. */
  counts(): {readonly proposed: number; readonly applied: number};
  /** Other members as the leader follows them; matchIndex is null where it is not known. */
  members(): readonly {readonly id: string; readonly matchIndex: number | null}[];
  /** The connections with the other members. */
  peers(): readonly {
    readonly id: string;
    readonly isConnected: boolean;
    readonly bufferedSizeBytes: number;
    readonly droppedCount: number;
  }[];
  /** Bytes handed to the write-ahead log and not yet durable. */
  walPendingSizeBytes(): number;
  checkpointSpace(): {readonly sizeBytes: number; readonly usedSizeBytes: number};
  /** Connections on the Raft address that were not a welcome member. */
  refusedConnectionCount(): number;
}

const requestName = 'rosetta_http_request_seconds';
const fsyncName = 'rosetta_wal_fsync_seconds';
const checkpointName = 'rosetta_checkpoint_seconds';

export class Metrics {
  readonly #registry = new Registry();
  /** By route, method and status. */
  readonly #requests = new Map<string, Map<string, Map<number, LatencyHistogram>>>();
  readonly #fsync = new LatencyHistogram();
  readonly #checkpoint = new LatencyHistogram();
  readonly #committed: Counter;
  readonly #elections: Counter;
  readonly #leaderChanges: Counter;
  readonly #snapshotsSent: Counter;
  readonly #snapshotsInstalled: Counter;
  #source: MetricsSource | null = null;

  constructor() {
    this.#committed = this.#counter('rosetta_committed_entries_total', 'Entries committed');
    this.#elections = this.#counter('rosetta_elections_total', 'Elections this node began');
    this.#leaderChanges = this.#counter('rosetta_leader_changes_total', 'Leader changes seen');
    this.#snapshotsSent = this.#counter('rosetta_snapshots_sent_total', 'Snapshots sent');
    this.#snapshotsInstalled = this.#counter(
      'rosetta_snapshots_installed_total',
      'Snapshots received and installed',
    );
    this.#registerState();
    this.#registerPeers();
    // Memory, CPU, garbage collection and the delay of the event loop.
    collectDefaultMetrics({register: this.#registry});
  }

  /** From here on the scrapes show this member. */
  bind(source: MetricsSource): void {
    this.#source = source;
  }

  fsyncSeconds(seconds: number): void {
    this.#fsync.observe(seconds);
  }

  checkpointSeconds(seconds: number): void {
    this.#checkpoint.observe(seconds);
  }

  /** `route` and `method` come from fixed sets, so the number of histograms is bounded. */
  requestSeconds(route: string, method: string, status: number, seconds: number): void {
    const known = this.#requests.get(route)?.get(method)?.get(status);
    (known ?? this.#addRequestHistogram(route, method, status)).observe(seconds);
  }

  committed(entryCount: number): void {
    this.#committed.inc(entryCount);
  }

  electionStarted(): void {
    this.#elections.inc();
  }

  leaderChanged(): void {
    this.#leaderChanges.inc();
  }

  snapshotSent(): void {
    this.#snapshotsSent.inc();
  }

  snapshotInstalled(): void {
    this.#snapshotsInstalled.inc();
  }

  /** Everything in the text format of Prometheus. */
  async text(): Promise<string> {
    let requests = header(requestName, 'Time from the head of a request to the end of its answer');
    for (const [route, byMethod] of this.#requests) {
      for (const [method, byStatus] of byMethod) {
        for (const [status, histogram] of byStatus) {
          const labels = `route="${route}",method="${method}",status="${status}"`;
          requests += histogram.render(requestName, labels);
        }
      }
    }
    return (
      (await this.#registry.metrics()) +
      header(fsyncName, 'Time of one fdatasync of the write-ahead log') +
      this.#fsync.render(fsyncName, '') +
      header(checkpointName, 'Time of one checkpoint') +
      this.#checkpoint.render(checkpointName, '') +
      requests
    );
  }

  #addRequestHistogram(route: string, method: string, status: number): LatencyHistogram {
    const byMethod = this.#requests.get(route) ?? new Map<string, Map<number, LatencyHistogram>>();
    this.#requests.set(route, byMethod);
    const byStatus = byMethod.get(method) ?? new Map<number, LatencyHistogram>();
    byMethod.set(method, byStatus);
    const added = new LatencyHistogram();
    byStatus.set(status, added);
    return added;
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
    this.#total(
      'rosetta_refused_connections_total',
      'Connections refused on the Raft address',
      source => source.refusedConnectionCount(),
    );
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

  #counter(name: string, help: string): Counter {
    return new Counter({name, help, registers: [this.#registry]});
  }

  #gauge(name: string, help: string, read: (source: MetricsSource) => number): void {
    const gauge = new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect: () => {
        if (this.#source !== null) gauge.set(read(this.#source));
      },
    });
  }

  /** A counter that somebody else keeps. */
  #total(name: string, help: string, read: (source: MetricsSource) => number): void {
    const counter = new Counter({
      name,
      help,
      registers: [this.#registry],
      collect: () => {
        if (this.#source === null) return;
        counter.reset();
        counter.inc(read(this.#source));
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
        if (this.#source === null) return;
        gauge.reset();
        for (const {id, value} of read(this.#source)) gauge.set({peer: id}, value);
      },
    });
  }
}

function header(name: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} histogram\n`;
}
