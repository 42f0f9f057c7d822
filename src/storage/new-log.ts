/** A log that begins: an empty one, or one in the place of another that ends too early. */
import path from 'node:path';
import type {EntryId} from '../raft/entry.ts';
import type {HardState} from '../raft/hard-state.ts';
import {initialHardState} from '../raft/hard-state.ts';
import {noIndex, noTerm} from '../raft/ids.ts';
import {emptyMembership} from '../raft/membership.ts';
import type {SnapshotMeta} from '../raft/snapshot.ts';
import {ContentsCollector} from './segment-contents.ts';
import {TermRuns} from './term-runs.ts';
import type {WalDirectory} from './wal-directory.ts';
import {createFirstSegment} from './wal-directory.ts';
import {WalIndex} from './wal-index.ts';
import type {RecoveredLog} from './wal-recovery.ts';
import {encodeSegmentHeader, segmentFileName} from './wal-segment.ts';

/** What a log begins with. */
export interface LogBeginning {
  /** The entry before the first one, and the membership in force there. */
  readonly meta: SnapshotMeta;
  readonly hardState: HardState;
}

export const emptyLog: LogBeginning = {
  meta: {index: noIndex, term: noTerm, membership: emptyMembership},
  hardState: initialHardState,
};

/** Durable when it returns. Synchronous; throws what the disk says. */
export function createLog(
  directory: WalDirectory,
  sequence: number,
  {meta, hardState}: LogBeginning,
): RecoveredLog {
  const previous: EntryId = {index: meta.index, term: meta.term};
  const membership = {index: meta.index, membership: meta.membership};
  const bytes = encodeSegmentHeader({
    sequence,
    isStart: true,
    previous,
    previousEnd: 0,
    hardState,
    membership,
    identity: directory.identity,
    preceding: null,
  });
  return {
    segments: [createFirstSegment(directory, sequence, bytes, previous)],
    prepared: [],
    start: previous,
    last: previous,
    hardState,
    memberships: [membership],
    terms: new TermRuns(previous),
    index: new WalIndex(),
    contents: new ContentsCollector(),
    warnings: [],
  };
}

/**
 * The same in the place of `recovered`, of which term and vote are kept. Its files are removed once
 * the new segment is durable: with a header that says it starts a log, none before it belong to it,
 * however many a crash brings back.
 */
export function replaceLog(
  directory: WalDirectory,
  sequence: number,
  recovered: RecoveredLog,
  beginning: LogBeginning,
): RecoveredLog {
  const created = createLog(directory, sequence, beginning);
  for (const segment of [...recovered.segments, ...recovered.prepared]) {
    segment.close();
    directory.disk.removeSync(path.join(directory.directory, segmentFileName(segment.sequence)));
  }
  const {start, last} = recovered;
  const {index, term} = beginning.meta;
  const warning =
    `the log (${start.index}, ${last.index}] does not hold the checkpoint's entry ` +
    `${index} of term ${term}: it continues after the checkpoint`;
  return {...created, warnings: [...recovered.warnings, warning]};
}
