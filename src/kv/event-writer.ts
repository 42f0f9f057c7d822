/**
 * Writes the changes of one command: for each a history row and the key's latest row, and keeps
 * key count and state hash in step. `begin` … `finish` brackets a command; the revision is taken
 * only when something changed. Also reads the latest row, since every change starts from it.
 *
 * Between the two the meta stays as it was. The rows belong to the revision after the newest, which
 * nobody can read yet, so a command may take many steps and readers in between see nothing of it.
 *
 * A tombstone at or below compactedRevision counts as absent: scrubbing removes it at a different
 * moment on every replica, and nothing may depend on that moment.
 */
import {assert, must} from '../base/assert.ts';
import {copyBytes, emptyBytes, equalBytes} from '../base/bytes.ts';
import {limits} from '../base/limits.ts';
import {encodeEventRowView, isNear, jumpOf} from './event-row.ts';
import type {BeforeImage} from './event-row.ts';
import type {LeaseTable} from './lease-table.ts';
import {
  decodeRecordHead,
  decodeRecordRow,
  encodeRecordRowView,
  noAnchor,
  recordValueView,
} from './record-row.ts';
import type {Anchor, RecordHead, RecordRow} from './record-row.ts';
import type {RowStore} from './rows.ts';
import {hashRow} from './state-hash.ts';
import type {StateMeta} from './state-meta.ts';
import {
  historyKeySizeBytes,
  historyKeyView,
  historyPointerValue,
  latestKeyView,
  replacedLargeKey,
} from './tables.ts';
import type {EventPointer} from './tables.ts';

interface Links {
  readonly depth: number;
  readonly previousRevision: number;
  readonly previousSub: number;
  readonly jump: Anchor;
  readonly secondJump: Anchor;
}

const firstLinks: Links = {
  depth: 0,
  previousRevision: 0,
  previousSub: 0,
  jump: noAnchor,
  secondJump: noAnchor,
};

export class EventWriter {
  readonly #rows: RowStore;
  readonly #meta: StateMeta;
  readonly #leases: LeaseTable;
  /** Of the command being executed: the next event's position in its revision. */
  #sub = 0;
  /** What `finish` adds to the meta. The hashes are sums modulo 2^32. */
  #keyCountChange = 0;
  #historySizeBytes = 0;
  #hashLow = 0;
  #hashHigh = 0;
  /** Of the step being executed: rows are read and checked as a whole. */
  #readSizeBytes = 0;
  /** Of the step: the key whose row was read last, for a compare most often, until a write. */
  #readKey: Uint8Array | null = null;
  #readHead: RecordHead | null = null;
  /** Of the row that was read last, if its key's next event is to carry it; its value is a copy. */
  #image: (BeforeImage & {readonly modRevision: number; readonly sub: number}) | null = null;

  constructor(rows: RowStore, meta: StateMeta, leases: LeaseTable) {
    this.#rows = rows;
    this.#meta = meta;
    this.#leases = leases;
  }

  begin(): void {
    this.#sub = 0;
    this.#keyCountChange = 0;
    this.#historySizeBytes = 0;
    this.#hashLow = 0;
    this.#hashHigh = 0;
  }

  /** A step begins, the first of a command or another. */
  beginStep(): void {
    this.#readSizeBytes = 0;
    this.#readKey = null;
  }

  /** Bytes of the rows that the step has read here. */
  readSizeBytes(): number {
    return this.#readSizeBytes;
  }

  /** Takes the revision if there were changes, and with it makes them readable. */
  finish(): void {
    if (this.#sub === 0) return;
    const meta = this.#meta;
    meta.revision++;
    meta.keyCount += this.#keyCountChange;
    meta.historySizeBytes += this.#historySizeBytes;
    meta.hashLow = (meta.hashLow + this.#hashLow) >>> 0;
    meta.hashHigh = (meta.hashHigh + this.#hashHigh) >>> 0;
    this.begin();
  }

  /** Keys that exist as the command has left them so far. */
  keyCount(): number {
    return this.#meta.keyCount + this.#keyCountChange;
  }

  changeCount(): number {
    return this.#sub;
  }

  /** The newest row of `key`; null when there is none that counts. Its value is a view. */
  latest(key: Uint8Array): RecordRow | null {
    const bytes = this.#read(key);
    if (bytes === undefined) return null;
    const row = decodeRecordRow(bytes);
    const latest = this.#counts(row) ? row : null;
    this.#readKey = key;
    this.#readHead = latest;
    this.#keepImage(row, bytes);
    return latest;
  }

  /** As `latest`, without its value. */
  latestHead(key: Uint8Array): RecordHead | null {
    if (this.#readKey !== null && equalBytes(this.#readKey, key)) return this.#readHead;
    const bytes = this.#read(key);
    if (bytes === undefined) return null;
    const head = decodeRecordHead(bytes);
    this.#keepImage(head, bytes);
    return this.#counts(head) ? head : null;
  }

  #read(key: Uint8Array): Uint8Array | undefined {
    this.#readKey = null;
    this.#image = null;
    const bytes = this.#rows.get(latestKeyView(key));
    this.#readSizeBytes += bytes?.length ?? 0;
    return bytes;
  }

  #keepImage(head: RecordHead, bytes: Uint8Array): void {
    if (!this.#isCarried(head)) return;
    const {createRevision, modRevision, sub, version, leaseId} = head;
    const value = copyBytes(recordValueView(bytes));
    this.#image = {createRevision, modRevision, sub, version, leaseId, value};
  }

  /** Whether the key's next event, of the command being executed, is to carry it. */
  #isCarried(head: RecordHead): boolean {
    const {isTombstone, isLarge, modRevision} = head;
    if (isTombstone || isLarge || isNear(this.#meta.revision + 1, modRevision)) return false;
    // Events of a version without before images stay until they are replaced anyway.
    return modRevision >= this.#meta.imagesFromRevision;
  }

  /** `latest`: as `put`. Without its before image a read would miss it one day, and nobody know. */
  #imageOf(latest: RecordHead | null): BeforeImage | null {
    const image = this.#image;
    this.#image = null;
    if (latest === null || !this.#isCarried(latest)) return null;
    const found = must(image, 'the row that is replaced was read last');
    const isOfLatest = found.modRevision === latest.modRevision && found.sub === latest.sub;
    assert(isOfLatest, 'the row of event % is replaced, another was read', latest.modRevision);
    return found;
  }

  #counts(row: RecordHead): boolean {
    return !row.isTombstone || row.modRevision > this.#meta.compactedRevision;
  }

  /**
   * `latest`: what latest(key) or latestHead(key) returned, as the last that was read; the value
   * must not be a view into the rows. Returns the new version.
   */
  put(
    key: Uint8Array,
    latest: RecordHead | null,
    record: {readonly value: Uint8Array; readonly leaseId: number},
  ): number {
    assert(record.value.length <= limits.valueSizeBytesMax, 'a value within its limit');
    const revision = this.#meta.revision + 1;
    const isNew = latest === null || latest.isTombstone;
    const createRevision = isNew ? revision : latest.createRevision;
    const version = isNew ? 1 : latest.version + 1;
    const {leaseId, value} = record;
    const hash = hashRow(key, {createRevision, modRevision: revision, version, leaseId, value});
    if (isNew) this.#keyCountChange++;
    const leaseBefore = latest?.leaseId ?? 0;
    if (leaseId !== leaseBefore) this.#leases.move(key, leaseBefore, leaseId);
    this.#write(key, latest, {
      isTombstone: false,
      createRevision,
      version,
      leaseId,
      hashLow: hash.low,
      hashHigh: hash.high,
      value,
    });
    return version;
  }

  /** Only for a key that exists. `latest` as above. */
  delete(key: Uint8Array, latest: RecordHead): void {
    assert(!latest.isTombstone, 'a deleted key is not deleted again');
    assert(this.keyCount() > 0, 'a key that exists is counted');
    this.#keyCountChange--;
    if (latest.leaseId !== 0) this.#leases.move(key, latest.leaseId, 0);
    this.#write(key, latest, {
      isTombstone: true,
      createRevision: 0,
      version: 0,
      leaseId: 0,
      hashLow: 0,
      hashHigh: 0,
      value: emptyBytes,
    });
  }

  #write(
    key: Uint8Array,
    latest: RecordHead | null,
    event: Pick<
      RecordRow,
      'isTombstone' | 'createRevision' | 'version' | 'leaseId' | 'hashLow' | 'hashHigh' | 'value'
    >,
  ): void {
    const modRevision = this.#meta.revision + 1;
    const sub = this.#sub++;
    this.#readKey = null;
    assert(latest === null || latest.modRevision <= modRevision, 'revisions grow along a key');
    const links = latest === null ? firstLinks : this.#linksAfter(latest);
    const row: RecordRow = {
      isTombstone: event.isTombstone,
      isLarge: event.value.length > limits.beforeImageSizeBytesMax,
      createRevision: event.createRevision,
      modRevision,
      sub,
      version: event.version,
      leaseId: event.leaseId,
      depth: links.depth,
      hashLow: event.hashLow,
      hashHigh: event.hashHigh,
      previousRevision: links.previousRevision,
      previousSub: links.previousSub,
      jump: links.jump,
      secondJump: links.secondJump,
      value: event.value,
    };
    const beforeImage = this.#imageOf(latest);
    const replacesOlder = latest !== null && latest.modRevision < this.#meta.imagesFromRevision;
    const historyBytes = encodeEventRowView(key, row, {beforeImage, replacesOlder});
    this.#historySizeBytes += historyBytes.length + historyKeySizeBytes;
    this.#rows.put(historyKeyView(modRevision, sub), historyBytes);
    if (latest?.isLarge === true) this.#noteReplaced(latest, {revision: modRevision, sub});
    this.#rows.put(latestKeyView(key), encodeRecordRowView(row));
    // Absent rows and tombstones hash to zero.
    this.#hashLow = (this.#hashLow - (latest?.hashLow ?? 0) + row.hashLow) >>> 0;
    this.#hashHigh = (this.#hashHigh - (latest?.hashHigh ?? 0) + row.hashHigh) >>> 0;
  }

  /** What pruning leaves out is removed one by one: kv/scrubber.ts. */
  #noteReplaced(latest: RecordHead, by: EventPointer): void {
    const pointer = historyPointerValue(latest.modRevision, latest.sub);
    this.#rows.put(replacedLargeKey(by.revision, by.sub), pointer);
  }

  /**
   * The links of the event that follows `latest`: a skew-binary list, where jumps of equal length
   * merge. Only a merge reads a row, and never one at or below compactedRevision: that row may be
   * gone here and present elsewhere. Reads never follow a jump to there, so none is kept.
   */
  #linksAfter(latest: RecordHead): Links {
    const {jump, secondJump} = latest;
    const depth = (latest.depth + 1) >>> 0;
    const isMerge =
      secondJump.revision !== 0 &&
      (latest.depth - jump.depth) >>> 0 === (jump.depth - secondJump.depth) >>> 0;
    const previousRevision = latest.modRevision;
    const previousSub = latest.sub;
    if (!isMerge) {
      const parent = {revision: previousRevision, sub: previousSub, depth: latest.depth};
      return {depth, previousRevision, previousSub, jump: parent, secondJump: jump};
    }
    if (secondJump.revision <= this.#meta.compactedRevision || secondJump.depth === 0) {
      return {depth, previousRevision, previousSub, jump: secondJump, secondJump: noAnchor};
    }
    const bytes = this.#rows.get(historyKeyView(secondJump.revision, secondJump.sub));
    const event = must(bytes, 'event % is not compacted', secondJump.revision);
    this.#readSizeBytes += event.length;
    const next = jumpOf(event);
    return {depth, previousRevision, previousSub, jump: secondJump, secondJump: next};
  }
}
