/**
 * `rosetta` as a library: a member inside a Node process. The same member as `./rosetta` runs, put
 * together by server.ts; what the program takes from its flags comes from options here.
 */
import {isEveryInterface, parseAddress} from '../base/address.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {silentLogger, type Logger} from '../base/logger.ts';
import {Metrics} from '../observe/metrics.ts';
import {packageVersion} from './package-version.ts';
import {peersProblem} from './peers-check.ts';
import {startServer} from './server.ts';
import type {RunningServer, ServerOptions} from './server-options.ts';
import {optionRanges} from './server-options.ts';
import {systemClock} from './system-clock.ts';

export type {Logger} from '../base/logger.ts';
export {RosettaError} from '../base/errors.ts';

/** Addresses are `host:port`. Times in milliseconds, sizes in bytes; both are whole numbers. */
export interface StartNodeOptions {
  /** Name of this member: 1 to 64 of A-Z a-z 0-9 _ -. Never reused for another disk. */
  readonly id: string;
  /** For the other members (Raft). */
  readonly listen: string;
  /** For clients; port 0 lets the system choose, see `StartedNode.http`. */
  readonly http: string;
  /** The other first members and their `listen` addresses; none: a cluster of one. */
  readonly peers?: readonly {readonly id: string; readonly address: string}[] | undefined;
  /** Data directory, made when it is missing. One process at a time. */
  readonly data: string;
  /**
   * Instead of `peers`: the `listen` address of any member of a running cluster to come into, as a
   * learner first. Used by an empty directory only, so it may stay.
   */
  readonly join?: string | undefined;
  /**
   * Gives the data in the directory up, once, and takes the place of this id in the cluster that
   * `join` or `peers` name: for a member that lost its data, or whose data are not to be trusted.
   * May stay.
   */
  readonly rejoin?: boolean | undefined;
  /** What the other members are told; default: `listen`. */
  readonly advertiseListen?: string | undefined;
  /** What clients are told; default: `http`. */
  readonly advertiseHttp?: string | undefined;
  /** Silence before an election, drawn from one to two times it: 20 to 60,000; default 150. */
  readonly electionTimeoutMs?: number | undefined;
  /** Interval of heartbeats: from 10 to half of `electionTimeoutMs`; default 50. */
  readonly heartbeatMs?: number | undefined;
  /** History older than this is compacted, 0 never, at most ten years; default an hour. */
  readonly historyAgeMs?: number | undefined;
  /** History larger than this is compacted, 0 never, at most 1 TiB; default 1 GiB. */
  readonly historySizeBytesMax?: number | undefined;
  /** Origins whose pages may use the API from browsers. */
  readonly corsOrigins?: readonly string[] | undefined;
  /** Gives up a start that waits for the cluster, as one with `rejoin` may; it rejects. */
  readonly signal?: AbortSignal | undefined;
  /** Default: silent. */
  readonly logger?: Logger | undefined;
}

export interface StartedNode {
  readonly id: string;
  /** Raft address, as given. */
  readonly listen: string;
  /** API address with its real port, for clients: `connect({endpoints: node.http})`. */
  readonly http: string;
  /**
   * Resolves when the member knows a leader and has caught up; the other members of a new cluster
   * must have been started for that. Rejects when the member ends before.
   */
  readonly ready: Promise<void>;
  /**
   * Resolves when the member has stopped as asked. Rejects when it cannot go on, for instance after
   * an fdatasync failed, or when the cluster removed it; unless the program takes that, it ends the
   * process, as it should.
   */
  readonly closed: Promise<void>;
  /** Hands leadership over, finishes what is running, closes everything. Idempotent. */
  stop(): Promise<void>;
}

const readyLookMs = 10;

/**
 * Resolves when the addresses are bound. Rejects with one clear line when an option is wrong, an
 * address is taken, or the data directory is in use or damaged.
 */
export async function startNode(options: StartNodeOptions): Promise<StartedNode> {
  const node = new Member(options.id, options.listen);
  await node.start(serverOptions(options), options.signal);
  return node;
}

class Member implements StartedNode {
  readonly id: string;
  readonly listen: string;
  readonly ready: Promise<void>;
  readonly closed: Promise<void>;
  http = '';
  #server: RunningServer | null = null;
  #stopping: Promise<void> | null = null;
  #failure: Error | null = null;
  #resolveReady: () => void = () => undefined;
  #rejectReady: (error: Error) => void = () => undefined;
  #resolveClosed: () => void = () => undefined;
  #rejectClosed: (error: Error) => void = () => undefined;

  constructor(id: string, listen: string) {
    this.id = id;
    this.listen = listen;
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.closed = new Promise((resolve, reject) => {
      this.#resolveClosed = resolve;
      this.#rejectClosed = reject;
    });
    // Whoever does not wait for it hears of a failure from `closed`.
    this.ready.catch(() => undefined);
  }

  async start(options: ServerOptions, signal: AbortSignal | undefined): Promise<void> {
    const end = (error: Error): void => this.#fail(error);
    const server = await startServer(options, {
      onFatal: end,
      onRemoved: end,
      ...(signal === undefined ? {} : {signal}),
    });
    // It may have failed as soon as it was up, when there was nothing to stop yet.
    if (this.#failure !== null) {
      // Nobody gets to see it.
      this.closed.catch(() => undefined);
      await server.stop();
      throw this.#failure;
    }
    this.#server = server;
    this.http = server.http;
    this.#lookWhetherReady();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#rejectReady(new RosettaError('STOPPING', `${this.id} was stopped`));
    await this.#server?.stop();
    if (this.#failure === null) this.#resolveClosed();
  }

  #fail(error: Error): void {
    this.#failure = error;
    this.#rejectReady(error);
    this.#rejectClosed(error);
    void this.stop();
  }

  #lookWhetherReady(): void {
    if (this.#stopping !== null) return;
    if (this.#server?.isReady() === true) this.#resolveReady();
    else systemClock.setTimer(readyLookMs, () => this.#lookWhetherReady());
  }
}

function serverOptions(options: StartNodeOptions): ServerOptions {
  const {id, listen, http, peers = [], data, join = null, rejoin = false} = options;
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(id))
    throw invalid(`id "${id}" is not 1 to 64 of A-Z a-z 0-9 _ -`);
  for (const [name, address] of [
    ['listen', listen],
    ['http', http],
    ['advertiseListen', options.advertiseListen],
    ['advertiseHttp', options.advertiseHttp],
    ['join', options.join],
    ...peers.map(peer => [`the address of ${peer.id}`, peer.address] as const),
  ] as const) {
    if (address !== undefined && parseAddress(address) === null) {
      throw invalid(`${name} "${address}" is not host:port`);
    }
  }
  const problem = peersProblem(peers, {id, listen});
  if (problem !== null) throw invalid(`peers ${problem}`);
  if (data === '') throw invalid('data is empty; name the directory for the data');
  checkJoin(options);
  return {
    id,
    listen,
    http,
    peers,
    data,
    join,
    rejoin,
    advertiseListen: options.advertiseListen ?? listen,
    advertiseHttp: options.advertiseHttp ?? http,
    ...numbersOf(options),
    corsOrigins: options.corsOrigins ?? [],
    walSegmentSizeBytes: limits.walSegmentSizeBytes,
    logRetentionSizeBytesMax: limits.logRetentionSizeBytesMax,
    version: packageVersion(),
    logger: options.logger ?? silentLogger,
    metrics: new Metrics(),
  };
}

function numbersOf(options: StartNodeOptions): Pick<ServerOptions, keyof typeof optionRanges> {
  const numbers = {
    electionTimeoutMs: options.electionTimeoutMs ?? 150,
    heartbeatMs: options.heartbeatMs ?? 50,
    historyAgeMs: options.historyAgeMs ?? limits.historyAgeMs,
    historySizeBytesMax: options.historySizeBytesMax ?? limits.historySizeBytesMax,
  };
  for (const name of Object.keys(optionRanges) as (keyof typeof optionRanges)[]) {
    const {min, max} = optionRanges[name];
    const value = numbers[name];
    if (Number.isInteger(value) && value >= min && value <= max) continue;
    throw invalid(`${name} must be a whole number from ${min} to ${max}, not ${value}`);
  }
  const {electionTimeoutMs, heartbeatMs} = numbers;
  if (heartbeatMs * 2 > electionTimeoutMs) {
    throw invalid(
      `heartbeatMs, ${heartbeatMs}, must be at most half of electionTimeoutMs, ${electionTimeoutMs}`,
    );
  }
  return numbers;
}

function checkJoin({
  listen,
  peers = [],
  join,
  rejoin = false,
  advertiseListen,
}: StartNodeOptions): void {
  if (join !== undefined && peers.length > 0) {
    throw invalid('join and peers exclude each other: peers form a new cluster');
  }
  if (rejoin && join === undefined && peers.length === 0) {
    throw invalid('rejoin needs join or peers: the members that are to let it in');
  }
  const isAlone = join === undefined && peers.length === 0;
  const told = advertiseListen ?? listen;
  if (!isAlone && isEveryInterface(told)) {
    throw invalid(
      `"${told}" is every interface, where the other members cannot find this one: ` +
        'say advertiseListen',
    );
  }
  if (join !== undefined && join === listen) {
    throw invalid(`join "${join}" is the listen address of this member itself`);
  }
}

function invalid(detail: string): RosettaError {
  return new RosettaError('INVALID_REQUEST', detail);
}
