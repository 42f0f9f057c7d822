/**
 * `-rejoin` with a directory that a node has used: whether it is given up is for its cluster to say
 * (node/replacement.ts); here is what is wrong with it, and how it is given up.
 */
import {randomBytes} from 'node:crypto';
import path from 'node:path';
import {Prng} from '../base/prng.ts';
import type {FormerDirectory, ReplacementDecision} from '../node/replacement.ts';
import {Replacement} from '../node/replacement.ts';
import type {LogIndex, NodeId} from '../raft/ids.ts';
import {nodeId, noIndex} from '../raft/ids.ts';
import {moveDamagedCheckpointAside, readDamagedMark} from '../storage/checkpoint-directory.ts';
import type {DataDirectory} from '../storage/data-directory.ts';
import {setDirectoryAside} from '../storage/data-directory.ts';
import {checkpointDamage} from '../storage/directory-check.ts';
import type {Disk} from '../storage/disk.ts';
import type {Identity} from '../storage/identity.ts';
import {readIdentity} from '../storage/identity.ts';
import {nodeDisk} from '../storage/node-disk.ts';
import {
  restingCheckpointFile,
  restingCheckpointMeta,
  restingLog,
} from '../storage/resting-directory.ts';
import type {StartHistory} from '../storage/start-history.ts';
import {readStartHistory, refuseStale} from '../storage/start-history.ts';
import {StorageError, systemErrorCode} from '../storage/storage-error.ts';
import {HttpTransport} from '../transport/http-transport.ts';
import {refuseOtherNode, saveIdentity, toRecord} from './identity-file.ts';
import type {ServerOptions} from './server-options.ts';
import {systemClock} from './system-clock.ts';

const noStarts: StartHistory = {count: 0, marks: []};

interface Asking {
  readonly contacts: readonly string[];
  /** Ends the wait: rejects with its reason, and nothing has moved. */
  readonly signal?: AbortSignal | undefined;
}

/** Resolves when the directory is one to start with: as it was, or empty. */
export async function replaceFormer(
  options: ServerOptions,
  directory: DataDirectory,
  asking: Asking,
): Promise<void> {
  const id = nodeId(options.id);
  const former = readFormer(nodeDisk, directory, id);
  if (former === null) return;
  const decision = await askCluster(options, former, asking);
  if (decision.type === 'keep') {
    if (decision.isAgreed) moveDamagedAside(options, directory);
    return;
  }
  const {clusterId} = decision;
  const aside = setDirectoryAside(directory, () => {
    saveIdentity(nodeDisk, directory.identityFile, {
      nodeId: id,
      incarnation: randomBytes(8).toString('hex'),
      clusterId: null,
      stage: 'fresh',
      members: [],
      formerClusterId: clusterId,
    });
  });
  const text = `-rejoin: the former data are in ${aside}; delete them when the node is back`;
  options.logger.warn({}, text);
}

/**
 * As a start does, which looks at little of the file: this looks at all of it. A cluster that leads
 * without this member gives the checkpoint back.
 */
function moveDamagedAside({logger}: ServerOptions, directory: DataDirectory): void {
  const error = checkpointDamage(directory.path);
  if (error === null) return;
  const target = moveDamagedCheckpointAside(directory.path);
  logger.warn({error}, `a damaged checkpoint is kept in ${target}`);
}

/**
 * Null: no node has belonged to a cluster with it. Throws RosettaError when it is another node's,
 * and what the system says when it cannot be read, which is no damage.
 */
export function readFormer(
  disk: Disk,
  directory: DataDirectory,
  id: NodeId,
): FormerDirectory | null {
  const file = directory.identityFile;
  const read = damageOf(() => {
    const found = readIdentity(disk, file);
    if (found !== null) refuseOtherNode(file, found, id);
    return found === null ? null : {found, record: toRecord(file, found)};
  });
  if (read.damage !== null) {
    return {clusterId: null, incarnation: null, starts: noStarts, damage: read.damage};
  }
  if (read.result === null || read.result.record.clusterId === null) return null;
  const {found, record} = read.result;
  const {clusterId, incarnation, divergence = null} = record;
  const starts = damageOf(() => {
    refuseStale(disk, directory.startHistoryFile);
    return readStartHistory(disk, directory.startHistoryFile);
  });
  const log = damageOf(() => checkLog(directory, found, record.stage === 'member'));
  const damage = divergence ?? starts.damage ?? log.damage;
  return {clusterId, incarnation, starts: starts.result ?? noStarts, damage};
}

/** Of all entries the data too, and whether they go on behind the checkpoint as at a start. */
function checkLog(directory: DataDirectory, identity: Identity, mustExist: boolean): void {
  const checkpointIndex = damageOf(() => checkpointIndexOf(directory)).result ?? noIndex;
  const indices = {checkpointIndex, trustedIndex: noIndex};
  const log = restingLog(directory.path, identity, indices);
  if (log !== null || !mustExist) return;
  const advice = 'start this node with -rejoin';
  throw new StorageError(`${directory.walDirectory} holds no log`, {
    path: directory.walDirectory,
    advice,
  });
}

/** One that cannot be read is no reason to give the log up: it is moved aside, and then is none. */
function checkpointIndexOf(directory: DataDirectory): LogIndex {
  if (readDamagedMark(path.join(directory.path, 'checkpoint')) !== null) return noIndex;
  const file = restingCheckpointFile(directory.path);
  return file === null ? noIndex : restingCheckpointMeta(file).index;
}

type Read<Result> =
  | {readonly result: Result; readonly damage: null}
  | {readonly result: null; readonly damage: string};

function damageOf<Result>(read: () => Result): Read<Result> {
  try {
    return {result: read(), damage: null};
  } catch (error) {
    const isDamage = error instanceof StorageError && systemErrorCode(error) === null;
    if (!isDamage) throw error;
    return {result: null, damage: error.message};
  }
}

async function askCluster(
  options: ServerOptions,
  former: FormerDirectory,
  {contacts, signal}: Asking,
): Promise<ReplacementDecision> {
  const {listen, logger} = options;
  const clock = systemClock;
  const prng = new Prng(randomBytes(4).readUInt32LE());
  // It asks and does not listen.
  const transport = new HttpTransport({listen, clock, logger, prng});
  try {
    return await new Promise<ReplacementDecision>((resolve, reject) => {
      const replacement = new Replacement({
        id: nodeId(options.id),
        listen: options.advertiseListen,
        ...{former, contacts, transport, clock, logger},
        onDecided: resolve,
        onFatal: reject,
      });
      const giveUp = (): void => {
        replacement.stop();
        reject(signal?.reason as Error);
      };
      signal?.addEventListener('abort', giveUp, {once: true});
      if (signal?.aborted === true) giveUp();
      else replacement.start();
    });
  } finally {
    await new Promise<void>(resolve => transport.stop(resolve));
  }
}
