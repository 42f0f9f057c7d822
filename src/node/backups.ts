/**
 * Backups of the state, one at a time. A backup holds everything that was acknowledged before it
 * was asked for: first a read is confirmed, then a checkpoint covers what that read would see, then
 * the checkpoint is copied, and the copy is handed out as slowly as its taker wants it. The live
 * checkpoint is not pinned meanwhile.
 */
import {RosettaError} from '../base/errors.ts';
import type {BackupWriter} from '../storage/backup-writer.ts';
import {openBackupWriter} from '../storage/backup-writer.ts';
import type {CheckpointStore, SnapshotExport} from '../storage/checkpoint-store.ts';
import {isOutOfSpace} from '../storage/storage-error.ts';
import type {Checkpointer} from './checkpointer.ts';
import type {NodeParts} from './node-parts.ts';
import type {Replica} from './replica.ts';
import type {Backup, BackupCallback, ReadOptions} from './service.ts';

interface BackupsParts extends Pick<NodeParts, 'clock' | 'logger'> {
  readonly self: Pick<NodeParts['self'], 'id'>;
  readonly options: Pick<NodeParts['options'], 'version'>;
  readonly checkpoint: Pick<CheckpointStore, 'exportSnapshot'>;
}

/** Of a replica, what a backup needs. */
interface BackedUp extends Pick<Replica, 'read' | 'refusal'> {
  readonly checkpointer: Pick<Checkpointer, 'cover'>;
}

export class Backups {
  readonly #parts: BackupsParts;
  readonly #clusterId: () => string;
  #isTaken = false;

  constructor(parts: BackupsParts, clusterId: () => string) {
    this.#parts = parts;
    this.#clusterId = clusterId;
  }

  /** As Service.backup. */
  begin(replica: BackedUp, options: ReadOptions, callback: BackupCallback): void {
    if (this.#isTaken) {
      const error = new RosettaError('OVERLOADED', 'a backup of this node is under way already');
      this.#parts.clock.afterPoll(() => callback(error, null));
      return;
    }
    this.#isTaken = true;
    const fail = (error: RosettaError): void => {
      this.#isTaken = false;
      callback(error, null);
    };
    replica.read(options.timeoutMs, options.consistency === 'local', readError => {
      if (readError !== null) {
        fail(readError);
        return;
      }
      replica.checkpointer.cover(coverError => {
        if (coverError !== null) {
          fail(toRosettaError(coverError));
          return;
        }
        this.#parts.checkpoint.exportSnapshot((error, snapshot) => {
          if (error !== null || snapshot === null) fail(toRosettaError(error));
          else this.#open(snapshot, replica, fail, callback);
        });
      });
    });
  }

  #open(
    snapshot: SnapshotExport,
    replica: BackedUp,
    fail: (error: RosettaError) => void,
    callback: BackupCallback,
  ): void {
    const {self, options, clock} = this.#parts;
    const origin = {
      clusterId: this.#clusterId(),
      nodeId: self.id,
      version: options.version,
      createdAtMs: Math.max(0, Math.floor(clock.wallMs())),
    };
    openBackupWriter(snapshot, origin, (error, writer) => {
      if (error !== null || writer === null) fail(toRosettaError(error));
      else callback(null, this.#handedOut(writer, replica));
    });
  }

  #handedOut(writer: BackupWriter, replica: BackedUp): Backup {
    const {clusterId, revision, index} = writer.head;
    this.#parts.logger.info({index, revision}, 'a backup is being sent');
    let isOpen = true;
    return {
      clusterId,
      revision,
      // A backup takes long, and its state may be found to be wrong meanwhile.
      next: callback => {
        writer.next((error, piece) => {
          const failure = error ?? replica.refusal();
          callback(failure, failure === null ? piece : null);
        });
      },
      close: () => {
        if (!isOpen) return;
        isOpen = false;
        this.#isTaken = false;
        writer.close();
      },
    };
  }
}

function toRosettaError(error: Error | null): RosettaError {
  if (error instanceof RosettaError) return error;
  if (isOutOfSpace(error)) {
    return new RosettaError('STORAGE_FULL', 'no space for the copy that a backup is made from');
  }
  const reason = error?.message ?? 'there is no copy';
  return new RosettaError('BACKUP_FAILED', `the checkpoint could not be copied: ${reason}`);
}
