/** Composition root: options in, a running member out. The only place that knows every part. */
import {randomBytes} from 'node:crypto';
import path from 'node:path';
import {HttpApi} from '../api/http/http-api.ts';
import type {Address} from '../base/address.ts';
import {formatAddress, parseAddress} from '../base/address.ts';
import {must} from '../base/assert.ts';
import {RosettaError} from '../base/errors.ts';
import {Prng} from '../base/prng.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import {Node} from '../node/node.ts';
import type {IdentityRecord} from '../node/identity-record.ts';
import type {JoinPlace} from '../node/newcomer.ts';
import type {NodeObserver} from '../node/observer.ts';
import {WatchHub} from '../node/watch-hub.ts';
import type {Metrics} from '../observe/metrics.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import {CheckpointDamagedError} from '../storage/checkpoint-row.ts';
import {moveDamagedCheckpointAside} from '../storage/checkpoint-directory.ts';
import type {DataDirectory} from '../storage/data-directory.ts';
import type {Disk} from '../storage/disk.ts';
import type {LmdbCheckpointStore} from '../storage/lmdb-checkpoint-store.ts';
import {openLmdbCheckpointStore} from '../storage/lmdb-checkpoint-store.ts';
import {nodeDisk} from '../storage/node-disk.ts';
import {discardUnfinished, refusePrepared} from '../storage/prepared-member.ts';
import type {StartHistory} from '../storage/start-history.ts';
import {noteStale, raiseStartHistory} from '../storage/start-history.ts';
import {StateStore} from '../storage/state-store.ts';
import {openLog} from '../storage/wal-log-store.ts';
import {HttpTransport} from '../transport/http-transport.ts';
import {replaceFormer} from './former-directory.ts';
import {openIdentity, saveIdentity} from './identity-file.ts';
import {lockedDataDirectory} from './locked-directory.ts';
import {connectionAllowance, readProcessLimits} from './open-file-limit.ts';
import type {RunningServer, ServerEnds, ServerOptions} from './server-options.ts';
import {shrinkAtStart} from './shrink-at-start.ts';
import {SeenStartsFile} from './seen-starts.ts';
import {systemClock} from './system-clock.ts';

/** How long a stop waits for requests that are running, in milliseconds. */
const drainTimeoutMs = 1_000;
const drainLookMs = 10;

/**
 * Rejects with a RosettaError or StorageError of one clear line when the member cannot start.
 */
export async function startServer(
  options: ServerOptions,
  ends: ServerEnds,
): Promise<RunningServer> {
  const directory = await lockedDataDirectory(options.data);
  for (const warning of directory.warnings) options.logger.warn({}, warning);
  let opened: OpenedDirectory | null = null;
  let server: Server;
  try {
    refusePrepared(directory.path);
    discardUnfinished(nodeDisk, directory.path);
    if (options.rejoin) {
      const contacts = joinPlace(options)?.contacts ?? [];
      await replaceFormer(options, directory, {contacts, signal: ends.signal});
    }
    opened = openDirectory(options, directory);
    server = new Server(options, directory, opened, ends);
  } catch (error) {
    await closeDirectory(opened);
    directory.release();
    throw error;
  }
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** Read in this order: the checkpoint of an older copy is not opened. */
interface OpenedDirectory {
  readonly record: IdentityRecord;
  readonly starts: StartHistory;
  readonly seenStarts: SeenStartsFile;
  readonly checkpoint: LmdbCheckpointStore;
}

function openDirectory(options: ServerOptions, directory: DataDirectory): OpenedDirectory {
  const record = openIdentity(nodeDisk, directory.identityFile, {
    id: nodeId(options.id),
    drawIncarnation: () => randomBytes(8).toString('hex'),
  });
  const mark = randomBytes(4).toString('hex');
  const starts = raiseStartHistory(nodeDisk, directory.startHistoryFile, mark);
  const seenStarts = new SeenStartsFile(nodeDisk, path.join(directory.path, 'peers.json'));
  return {record, starts, seenStarts, checkpoint: openCheckpoint(options, directory)};
}

/** Of a member that came to nothing. */
function closeDirectory(opened: OpenedDirectory | null): Promise<void> {
  return new Promise(resolve => {
    if (opened === null) resolve();
    else opened.checkpoint.close(resolve);
  });
}

class Server implements RunningServer {
  readonly #options: ServerOptions;
  readonly #directory: DataDirectory;
  readonly #transport: HttpTransport;
  readonly #checkpoint: LmdbCheckpointStore;
  readonly #seenStarts: SeenStartsFile;
  readonly #node: Node;
  readonly #watches: WatchHub;
  readonly #http: HttpApi;
  /** Its HTTP port is known once it is bound; the others are told of it after that. */
  readonly #self: {-readonly [Field in keyof Member]: Member[Field]};
  #isRunning = false;
  #stopping: Promise<void> | null = null;

  constructor(
    options: ServerOptions,
    directory: DataDirectory,
    opened: OpenedDirectory,
    ends: ServerEnds,
  ) {
    this.#options = options;
    this.#directory = directory;
    const {logger, metrics} = options;
    const disk = nodeDisk;
    const {record, starts, seenStarts, checkpoint} = opened;
    this.#self = {
      id: nodeId(options.id),
      incarnation: record.incarnation,
      listen: options.advertiseListen,
      http: options.advertiseHttp,
    };
    const seed = randomBytes(4).readUInt32LE();
    this.#transport = new HttpTransport({
      listen: options.listen,
      clock: systemClock,
      logger,
      prng: new Prng(seed),
    });
    this.#checkpoint = checkpoint;
    const state = new StateStore(checkpoint);
    const machine = new KvStateMachine(state);
    this.#seenStarts = seenStarts;
    this.#node = new Node({
      self: this.#self,
      record,
      starts,
      peers: options.peers,
      join: joinPlace(options),
      transport: this.#transport,
      state,
      machine,
      checkpoint,
      openLog: identity => this.#openLog(disk, checkpoint, identity),
      saveIdentity: changed => saveIdentity(disk, directory.identityFile, changed),
      seenStarts,
      noteStale: detail => noteStale(disk, directory.startHistoryFile, detail),
      clock: systemClock,
      logger,
      options: options,
      observer: observerOf(metrics),
      drawClusterId: () => randomBytes(16).toString('hex'),
      seed,
      ...ends,
    });
    this.#watches = new WatchHub({
      source: machine,
      clock: systemClock,
      refusal: () => {
        const reason = this.#node.notReady();
        return reason?.code === 'NO_LEADER' ? null : reason;
      },
    });
    machine.observe(() => this.#watches.wake());
    this.#http = this.#createHttp();
    this.#bindMetrics();
  }

  async start(): Promise<void> {
    const {listen, http, logger, id} = this.#options;
    await shrinkAtStart(this.#checkpoint, logger);
    await listening('-http', http, callback => this.#http.start(callback));
    this.#self.http = withPort(this.#self.http, this.#http.address().port);
    await listening('-listen', listen, callback => this.#node.start(callback));
    this.#isRunning = true;
    logger.info({id, listen, http, data: this.#directory.path}, 'rosetta is running');
  }

  get http(): string {
    return formatAddress(this.#http.address());
  }

  isReady(): boolean {
    return this.#node.notReady() === null;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#node.beginStop();
    this.#watches.end(new RosettaError('STOPPING', 'the node is stopping; ask another one'));
    const deadlineMs = systemClock.monotonicMs() + drainTimeoutMs;
    await new Promise<void>(resolve => this.#http.stop(drainTimeoutMs, resolve));
    while (!this.#node.isQuiet() && systemClock.monotonicMs() < deadlineMs) {
      await new Promise<void>(resolve => systemClock.setTimer(drainLookMs, resolve));
    }
    await new Promise<void>(resolve => this.#node.stop(resolve));
    await new Promise<void>(resolve => this.#seenStarts.whenIdle(resolve));
    // What collects for the metrics may live as long as the process.
    this.#options.metrics.unbind();
    this.#directory.release();
    if (this.#isRunning) this.#options.logger.info({id: this.#options.id}, 'stopped');
  }

  #openLog(
    disk: Disk,
    checkpoint: LmdbCheckpointStore,
    record: Parameters<ConstructorParameters<typeof Node>[0]['openLog']>[0],
  ): ReturnType<typeof openLog> {
    const {logger, metrics, walSegmentSizeBytes, logRetentionSizeBytesMax} = this.#options;
    const opened = openLog({
      disk,
      directory: this.#directory.walDirectory,
      clock: systemClock,
      identity: {
        clusterId: must(record.clusterId, 'a log belongs to a cluster'),
        nodeId: record.nodeId,
        incarnation: record.incarnation,
      },
      checkpoint: checkpoint.meta(),
      mustExist: record.stage === 'member',
      options: {
        segmentSizeBytes: walSegmentSizeBytes,
        retentionSizeBytesMax: logRetentionSizeBytesMax,
      },
      onSync: durationMs => metrics.fsyncSeconds(durationMs / 1000),
    });
    for (const warning of opened.warnings) logger.warn({}, warning);
    return opened;
  }

  #createHttp(): HttpApi {
    const options = this.#options;
    const advertised = parseAddress(options.advertiseHttp);
    const {connectionCountMax, warning} = connectionAllowance(readProcessLimits());
    if (warning !== null) options.logger.warn({}, warning);
    return new HttpApi({
      connectionCountMax,
      service: this.#node,
      watches: this.#watches,
      address: readAddress(options.http),
      hostNames: advertised === null ? [] : [advertised.host],
      corsOrigins: options.corsOrigins,
      logger: options.logger,
      clock: systemClock,
      metricsText: () => options.metrics.text(),
      observe: (route, method, status, durationMs) => {
        options.metrics.requestSeconds(route, method, status, durationMs / 1000);
      },
    });
  }

  #bindMetrics(): void {
    this.#options.metrics.bind({
      status: () => this.#node.status(),
      counts: () => this.#node.counts(),
      members: () => this.#node.members(),
      peers: () => this.#node.peers(),
      walPendingSizeBytes: () => this.#node.walPendingSizeBytes(),
      checkpointSpace: () => this.#checkpoint.space(),
      refusedConnectionCounts: () => this.#transport.counters(),
    });
  }
}

function observerOf(metrics: Metrics): NodeObserver {
  return {
    onCommitted: count => metrics.committed(count),
    onElectionStarted: () => metrics.electionStarted(),
    onLeaderChange: () => metrics.leaderChanged(),
    onCheckpoint: durationMs => metrics.checkpointSeconds(durationMs / 1000),
    onSnapshotSent: () => metrics.snapshotSent(),
    onSnapshotInstalled: () => metrics.snapshotInstalled(),
  };
}

/** `address` with the port that the system chose, where it leaves that to the system. */
function withPort(address: string, port: number): string {
  const parsed = parseAddress(address);
  return parsed?.port === 0 ? formatAddress({host: parsed.host, port}) : address;
}

/**
 * A damaged checkpoint is moved aside and built anew: from the log, or, in a cluster, from another
 * member's snapshot. Log, vote and identity stay as they are.
 */
function openCheckpoint(options: ServerOptions, directory: DataDirectory): LmdbCheckpointStore {
  try {
    return openLmdbCheckpointStore({directory: directory.path});
  } catch (error) {
    if (!(error instanceof CheckpointDamagedError)) throw error;
    const target = moveDamagedCheckpointAside(directory.path);
    options.logger.warn({error: error.message}, `a damaged checkpoint is kept in ${target}`);
    return openLmdbCheckpointStore({directory: directory.path});
  }
}

/** Whom a new directory asks to be let in. */
function joinPlace({join, rejoin, peers}: ServerOptions): JoinPlace | null {
  if (join !== null) return {contacts: [join], replaces: rejoin};
  return rejoin ? {contacts: peers.map(peer => peer.address), replaces: true} : null;
}

function readAddress(text: string): Address {
  return must(parseAddress(text), 'not an address: %', text);
}

/** Resolves when the socket listens; the reason why not is one clear line. */
function listening(
  flag: string,
  address: string,
  start: (callback: (error: Error | null) => void) => void,
): Promise<void> {
  const shown = formatAddress(readAddress(address));
  return new Promise((resolve, reject) => {
    start(error => {
      if (error === null) resolve();
      else reject(listenError(flag, shown, error));
    });
  });
}

function listenError(flag: string, address: string, error: Error): Error {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') {
    const detail = `${flag}=${address}: the port is in use by another process`;
    return new RosettaError('INVALID_REQUEST', detail, {cause: error});
  }
  const detail = `${flag}=${address}: cannot listen there (${error.message})`;
  return new RosettaError('INVALID_REQUEST', detail, {cause: error});
}
