/**
 * What the state machine knows beside its rows, as plain mutable fields shared by its parts, and
 * the meta row that keeps them: docs/formats.md, "Store rows". The row is written right before a
 * freeze only; a crash loses fields and rows of the same entries together.
 */
import {assert} from '../base/assert.ts';
import {ByteReader, ByteWriter, MalformedBytesError} from '../base/bytes.ts';
import type {RowReader, RowStore} from './rows.ts';
import {metaKey} from './tables.ts';

/** 2 since events carry before images; 1 is read. */
const version = 2;
const versionWithoutImages = 1;

/** The next event to look at. */
export interface HistoryCursor {
  revision: number;
  sub: number;
}

export class StateMeta {
  /** 1 for an empty store. */
  revision = 1;
  /** Inclusive: the oldest readable revision. Invariant: at most `revision`. */
  compactedRevision = 0;
  keyCount = 0;
  /** The state hash's sum, two unsigned words. */
  hashLow = 0;
  hashHigh = 0;
  /** Bytes of all history rows ever written. */
  historySizeBytes = 0;
  /** The newest sample of the time index; 0 before the first. */
  sampleMs = 0;
  sampleRevision = 0;
  sampleHistorySizeBytes = 0;
  /** Kept answers have the sequences from first (inclusive) to next (exclusive). */
  idempotencyFirst = 1;
  idempotencyNext = 1;
  idempotencySizeBytes = 0;
  /**
   * How far scrubbing and pruning have come (kv/scrubber.ts, kv/history-pruner.ts). Differs between
   * replicas: no result may depend on it.
   */
  scrubbed: HistoryCursor = {revision: 0, sub: 0};
  pruned: HistoryCursor = {revision: 0, sub: 0};
  /** No event before this revision carries a before image: a version without them wrote it. */
  imagesFromRevision = 0;

  load(rows: Pick<RowReader, 'get'>): void {
    const bytes = rows.get(metaKey);
    if (bytes === undefined) {
      Object.assign(this, new StateMeta());
      return;
    }
    const reader = new ByteReader(bytes);
    const found = reader.u8();
    if (found !== version && found !== versionWithoutImages) {
      throw new MalformedBytesError('unknown version of the meta row');
    }
    this.revision = reader.u64();
    this.compactedRevision = reader.u64();
    this.keyCount = reader.u64();
    this.hashLow = reader.u32();
    this.hashHigh = reader.u32();
    this.historySizeBytes = reader.u64();
    this.sampleMs = reader.u64();
    this.sampleRevision = reader.u64();
    this.sampleHistorySizeBytes = reader.u64();
    this.idempotencyFirst = reader.u64();
    this.idempotencyNext = reader.u64();
    this.idempotencySizeBytes = reader.u64();
    this.scrubbed = {revision: reader.u64(), sub: reader.u32()};
    if (found === version) {
      this.pruned = {revision: reader.u64(), sub: reader.u32()};
      this.imagesFromRevision = reader.u64();
    } else {
      this.pruned = {...this.scrubbed};
      this.imagesFromRevision = this.revision + 1;
    }
    reader.end();
    assert(this.compactedRevision <= this.revision, 'compacted beyond the newest revision');
  }

  save(rows: Pick<RowStore, 'put'>): void {
    const writer = new ByteWriter(256);
    writer.u8(version);
    writer.u64(this.revision);
    writer.u64(this.compactedRevision);
    writer.u64(this.keyCount);
    writer.u32(this.hashLow);
    writer.u32(this.hashHigh);
    writer.u64(this.historySizeBytes);
    writer.u64(this.sampleMs);
    writer.u64(this.sampleRevision);
    writer.u64(this.sampleHistorySizeBytes);
    writer.u64(this.idempotencyFirst);
    writer.u64(this.idempotencyNext);
    writer.u64(this.idempotencySizeBytes);
    writer.u64(this.scrubbed.revision);
    writer.u32(this.scrubbed.sub);
    writer.u64(this.pruned.revision);
    writer.u32(this.pruned.sub);
    writer.u64(this.imagesFromRevision);
    rows.put(metaKey, writer.contentView());
  }
}
