/** One snapshot stream of the transport in memory, block by block. */
import {decodeMembership, encodeMembership} from '../raft/membership.ts';
import type {NodeId} from '../raft/ids.ts';
import type {SnapshotImport, SnapshotReader} from '../storage/checkpoint-store.ts';
import type {SnapshotOffer, SnapshotSource, TransportHandler} from './transport.ts';
import {SnapshotRefusedError} from './transport.ts';

export interface MemorySnapshotParts {
  readonly from: NodeId;
  readonly snapshot: SnapshotSource;
  readonly receiver: TransportHandler;
  readonly isReached: () => boolean;
  readonly enqueue: (event: () => void) => void;
}

/** The callback runs once, with the reader closed. */
export function streamInMemory(
  parts: MemorySnapshotParts,
  callback: (error: Error | null) => void,
): void {
  const {from, snapshot, receiver, enqueue, isReached} = parts;
  const {index, term, membership} = snapshot.meta;
  const meta = {index, term, membership: decodeMembership(encodeMembership(membership))};
  const offer: SnapshotOffer = {id: snapshot.id, meta, sizeBytes: snapshot.sizeBytes};
  const target = receiver.onSnapshotOffer(from, offer);
  if (target === null) {
    callback(new SnapshotRefusedError({code: 'SNAPSHOT_NOT_WANTED', detail: 'of no use here'}));
    return;
  }
  const abort = (error: Error): void => {
    target.abort();
    callback(new SnapshotRefusedError({code: 'SNAPSHOT_FAILED', detail: error.message}));
  };
  target.begin((error, after) => {
    if (error !== null) {
      abort(error);
      return;
    }
    const reader = snapshot.open(after);
    const end = (problem: Error | null): void => {
      reader.close();
      callback(problem);
    };
    const step = (): void => {
      if (!isReached()) {
        receiver.onSnapshotBroken(from, target);
        end(new Error('the connection was closed'));
        return;
      }
      moveBlock(reader, target, (failure, isAtEnd) => {
        if (failure !== null) {
          reader.close();
          abort(failure);
        } else if (isAtEnd) {
          finish(end);
        } else {
          enqueue(step);
        }
      });
    };
    enqueue(step);
  });
  const finish = (end: (problem: Error | null) => void): void => {
    target.finish(error => {
      if (error === null) receiver.onSnapshotReceived(from, meta, target);
      else target.abort();
      end(error);
    });
  };
}

function moveBlock(
  reader: SnapshotReader,
  target: SnapshotImport,
  callback: (error: Error | null, isAtEnd: boolean) => void,
): void {
  reader.next((error, block) => {
    if (error !== null || block === null) callback(error, true);
    else target.write(new Uint8Array(block), failure => callback(failure, false));
  });
}
