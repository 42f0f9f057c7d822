/**
 * GET /cluster/snapshot: a backup, streamed as fast as the client takes it. A piece is asked for
 * only when the one before has left for the socket, so a slow client costs one piece of memory.
 */
import type {Backup} from '../../node/service.ts';
import type {Exchange} from './exchange.ts';
import {readErrors, type RouteOperation} from './route-operation.ts';
import {parameterSet} from './parameter.ts';
import {consistencyParameter, timeoutParameter} from './query-parameters.ts';
import type {AnswerStream} from './wire.ts';

const snapshotParameters = parameterSet(timeoutParameter, consistencyParameter);
const contentType = 'application/octet-stream';

/**
 * A smaller piece may wait in the socket while the next one is asked for, in whose memory that may
 * come. Behind a larger one the stream waits: it is more than any socket takes without saying so.
 */
const copiedSizeBytesMax = 64 * 1024;

export const getSnapshot: RouteOperation = {
  id: 'getSnapshot',
  summary: 'A whole backup of the store, of one moment, with checksums',
  handle: handleSnapshot,
  parameters: snapshotParameters,
  answers: [
    {
      status: 200,
      description: 'The bytes of a backup file',
      headers: ['Rosetta-Revision', 'Content-Disposition'],
      content: {[contentType]: null},
    },
  ],
  errors: [...readErrors, 'BACKUP_FAILED', 'STORAGE_FULL'],
};

function handleSnapshot(exchange: Exchange): void {
  const parameters = exchange.parameters(snapshotParameters);
  const options = {timeoutMs: parameters.timeoutMs(), consistency: parameters.consistency()};
  const {service} = exchange.context;
  if (exchange.method === 'HEAD') {
    // The headers of a GET, without the copy.
    service.read(options, (error, reader) => {
      if (error !== null) exchange.fail(error);
      else exchange.sendEmpty(200, reader?.revision() ?? 0, ['Content-Type', contentType]);
    });
    return;
  }
  service.backup(options, (error, backup) => {
    if (error !== null || backup === null) exchange.fail(error);
    else if (exchange.isGone) backup.close();
    else sendBackup(exchange, backup);
  });
}

function sendBackup(exchange: Exchange, backup: Backup): void {
  const name = `rosetta-${backup.clusterId.slice(0, 8)}-${backup.revision}.backup`;
  const more = ['Content-Disposition', `attachment; filename="${name}"`];
  let isClosed = false;
  let isWaiting = false;
  const stream: AnswerStream = exchange.stream(contentType, backup.revision, more, {
    onDrain: () => {
      if (!isWaiting) return;
      isWaiting = false;
      sendNext();
    },
    onClose: () => {
      isClosed = true;
      backup.close();
    },
  });
  const sendNext = (): void => {
    if (isClosed) return;
    backup.next((error, piece) => {
      if (isClosed) return;
      if (error !== null) {
        exchange.context.logger.error({error: error.message}, 'a backup could not be finished');
        stream.cut();
      } else if (piece === null) {
        stream.end();
      } else if (stream.write(piece.length < copiedSizeBytesMax ? new Uint8Array(piece) : piece)) {
        sendNext();
      } else {
        isWaiting = true;
      }
    });
  };
  sendNext();
}
