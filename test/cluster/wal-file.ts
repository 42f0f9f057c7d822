/** Where the batches of a write-ahead log file lie, by docs/formats.md and nothing else. */
import {readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';

export interface WalBatch {
  readonly path: string;
  readonly offset: number;
  readonly sizeBytes: number;
  /** 0: a sync mark. */
  readonly entryCount: number;
  /** Offset in the file of the first entry's data; only with entries. */
  readonly dataOffset: number;
}

const batchMagic = 'RWB1';
const headerSizeOffset = 12;
const fixedSizeBytes = 64;
const entryHeaderSizeBytes = 28;

/** All batches of all segments under a data directory, in order. */
export function walBatches(data: string): WalBatch[] {
  const directory = join(data, 'wal');
  const names = readdirSync(directory).filter(name => name.endsWith('.wal'));
  return names.sort().flatMap(name => segmentBatches(join(directory, name)));
}

/** The last batch that carries entries. */
export function lastEntryBatch(data: string): WalBatch {
  const batch = walBatches(data).findLast(candidate => candidate.entryCount > 0);
  if (batch === undefined) throw new Error(`no entries in ${data}`);
  return batch;
}

function segmentBatches(path: string): WalBatch[] {
  const bytes = readFileSync(path);
  if (bytes.toString('latin1', 0, 7) !== 'RSTAWAL') return [];
  const batches: WalBatch[] = [];
  const segmentId = bytes.readUInt32LE(20);
  let offset = bytes.readUInt32LE(headerSizeOffset);
  while (offset + fixedSizeBytes <= bytes.length) {
    const isBatch =
      bytes.toString('latin1', offset, offset + 4) === batchMagic &&
      bytes.readUInt32LE(offset + 4) === segmentId;
    if (!isBatch) break;
    const sizeBytes = bytes.readUInt32LE(offset + 12);
    const entryCount = bytes.readUInt32LE(offset + 16);
    const voteLength = bytes.readUInt32LE(offset + 52);
    const headers = offset + fixedSizeBytes + Math.ceil(voteLength / 8) * 8;
    const dataOffset = headers + entryCount * entryHeaderSizeBytes;
    batches.push({path, offset, sizeBytes, entryCount, dataOffset});
    offset += sizeBytes;
  }
  return batches;
}
