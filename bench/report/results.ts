/** Everything one run measured, as stored under bench/results/. Null or empty: not measured. */
import type {LoadFigures} from '../load/load-figures.ts';
import type {StoreName} from '../systems/store-cluster.ts';

export interface Machine {
  readonly cpu: string;
  readonly coreCount: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  /** Of the programs compared with and the load generators; null: not installed. */
  readonly programs: Readonly<Record<string, string | null>>;
}

export const workloadNames = [
  'put',
  'put-raw',
  'put-random',
  'get',
  'get-local',
  'put-follower',
  'get-follower',
  'mix',
  'txn',
] as const;

export type WorkloadName = (typeof workloadNames)[number];

/** One store under one load; figures are medians over the rounds. */
export interface ThroughputRow extends LoadFigures {
  readonly store: StoreName;
  readonly workload: WorkloadName;
  readonly connectionCount: number;
  readonly roundCount: number;
  /** All nodes together; null where /proc does not tell. */
  readonly cpuSecondsPer10kRequests: number | null;
  /** Mean over the nodes, right after the round. */
  readonly rssAnonBytesPerNode: number | null;
}

export interface EqualLoadRow extends LoadFigures {
  readonly store: StoreName;
  readonly connectionCount: number;
  readonly offeredPerSecond: number;
}

export interface FailoverRow {
  readonly store: StoreName;
  readonly writerCount: number;
  /** From the kill to the first acknowledged write, one per repetition. */
  readonly durationsMs: readonly number[];
}

export interface RestartFigures {
  readonly keyCount: number;
  readonly loadSeconds: number;
  /** From exec to the first local read that succeeds. */
  readonly oneNodeMs: number;
  /** From exec of all nodes to the first linearizable read. */
  readonly clusterMs: number;
  /** The largest of the nodes that were never restarted, some seconds after the load. */
  readonly rssAnonBytesIdle: number | null;
}

/** `./rosetta snapshot save` of a store, the start of the program included. */
export interface BackupFigures {
  readonly sizeBytes: number;
  readonly durationMs: number;
}

/** A follower that is behind the log gets a snapshot while the cluster takes load. */
export interface CatchUpFigures {
  readonly keyCount: number;
  /** Of the same store, before, without load. Absent from results of earlier versions. */
  readonly backup?: BackupFigures;
  /** From exec until it takes part in every write. */
  readonly durationMs: number;
  /** With all members up. */
  readonly requestsPerSecondBefore: number;
  readonly requestsPerSecondDuring: number;
  /** Before and during. Absent from results of earlier versions, as below. */
  readonly errorCount?: number;
  readonly p99UsBefore: number;
  readonly p99UsDuring: number;
  /** RssAnon at its highest, above what it was before the follower came. */
  readonly senderGrowthBytes: number | null;
  /** RssAnon at its highest, above what it is afterwards. */
  readonly receiverGrowthBytes: number | null;
  /** Again, under half of the rate, of one key. Absent without h2load and from earlier versions. */
  readonly atHalf?: HalfLoadFigures;
}

export interface HalfLoadFigures {
  readonly offeredPerSecond: number;
  readonly durationMs: number;
  readonly errorCount: number;
  readonly p99UsBefore: number;
  readonly p99UsDuring: number;
}

/** Many watchers on all nodes, each told of its share of the writes. */
export interface WatchFigures {
  readonly watcherCount: number;
  readonly writesPerSecond: number;
  /** Of all watchers together. */
  readonly eventsPerSecond: number;
  /** Events that did not come. */
  readonly missingCount: number;
  /** From sending the write to each watcher's event. */
  readonly p50Us: number;
  readonly p99Us: number;
}

/** Leases with a key each that all end in one second, under a load of PUTs. */
export interface LeaseFigures {
  readonly leaseCount: number;
  /** From the end of their time until the last one is gone. */
  readonly lateMs: number;
  readonly errorCount?: number;
  readonly p99UsBefore: number;
  /** Of the worst two seconds. */
  readonly p99UsDuring: number;
  readonly requestsPerSecondBefore: number;
  readonly requestsPerSecondDuring: number;
}

/** `rosetta/client` in one process beside wrk. */
export interface ClientFigures {
  readonly inFlight: number;
  readonly putsPerSecond: number;
  readonly wrkPutsPerSecond: number;
  /** Of the process that uses the client. */
  readonly clientCpuUsPerPut: number;
}

export interface SoakFigures {
  readonly durationSeconds: number;
  /** Its errors include writes beside it that had no answer in time. */
  readonly load: LoadFigures;
  readonly electionCount: number;
  /** Of the node where it is largest, without the first 30 % of the time. */
  readonly rssAnonSlopeMbPerMinute: number;
  readonly rssAnonBytesMax: number;
  readonly diskBytesMax: number;
  /**
   * The most of the last part of the time over the most of the part before it, less one. Absent, as
   * the next one, from results of earlier versions.
   */
  readonly diskGrowthShare?: number;
  /** What does not hold that should; see docs/performance.md. */
  readonly violations?: readonly string[];
}

export interface MachineLimits {
  /** One 4 KiB write into existing blocks and fdatasync. */
  readonly fdatasyncP50Us: number;
  readonly fdatasyncP99Us: number;
  /** One small message and its echo over a loopback TCP connection. */
  readonly loopbackP50Us: number;
  readonly loopbackP99Us: number;
  /** A node:http server that reads the body and answers at once, per number of connections. */
  readonly httpEcho: readonly (LoadFigures & {readonly connectionCount: number})[];
}

/** How a rate changes with one property of the store. */
export interface GrowthRow {
  readonly property: 'keys' | 'value size' | 'members' | 'history';
  readonly value: number;
  readonly operation: 'PUT' | 'PUT, right after loading' | 'GET' | 'GET at the first revision';
  readonly load: LoadFigures;
}

export interface MicroRow {
  readonly name: string;
  readonly operationsPerSecond: number;
  readonly nanoseconds: number;
}

export interface Results {
  readonly startedAt: string;
  readonly isQuick: boolean;
  /** Of each load of the side by side comparison. Absent from results of earlier versions. */
  readonly rounds?: {readonly count: number; readonly seconds: number};
  readonly valueSizeBytes: number;
  readonly machine: Machine;
  readonly throughput: readonly ThroughputRow[];
  readonly equalLoad: readonly EqualLoadRow[];
  readonly failover: readonly FailoverRow[];
  readonly restart: RestartFigures | null;
  /** Absent from results of earlier versions. */
  readonly catchUp?: CatchUpFigures | null;
  readonly watch?: WatchFigures | null;
  readonly leases?: LeaseFigures | null;
  readonly client?: ClientFigures | null;
  readonly soak: SoakFigures | null;
  readonly limits: MachineLimits | null;
  readonly growth: readonly GrowthRow[];
  readonly micro: readonly MicroRow[];
}
