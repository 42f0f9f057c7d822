/** The protocol alone: three members in memory replicate a batch of proposals. */
import {assert, must} from '../../src/base/assert.ts';
import {Prng} from '../../src/base/prng.ts';
import type {Entry} from '../../src/raft/entry.ts';
import {initialHardState} from '../../src/raft/hard-state.ts';
import type {LogIndex, Term} from '../../src/raft/ids.ts';
import {indexAfter, logIndex, nodeId, noIndex, noTerm} from '../../src/raft/ids.ts';
import type {LogReader} from '../../src/raft/log-reader.ts';
import type {Message} from '../../src/raft/message.ts';
import {Raft} from '../../src/raft/raft.ts';
import {testMembership} from '../../src/raft/testing/memory-cluster.ts';
import type {Stopwatch} from './stopwatch.ts';

const ids = ['1', '2', '3'] as const;
const batchSize = 26;
const command = new Uint8Array(150);
const keptEntryCount = 8_192;
const mib = 1024 * 1024;

export function measureRaft(stopwatch: Stopwatch): void {
  const members = ids.map(startMember);
  const leader = must(members[0], 'there are members').raft;
  leader.campaign();
  settle(members);
  assert(leader.role === 'leader', 'the first member leads');
  stopwatch.measure('raft: one entry, three members, batches of 26', batchSize, () => {
    for (let i = 0; i < batchSize; i++) leader.propose(command, 1);
    settle(members);
  });
  let context = 0;
  stopwatch.measure('raft: one ReadIndex round of three members', 1, () => {
    leader.readIndex(++context);
    settle(members);
  });
}

interface BenchMember {
  readonly raft: Raft;
  readonly log: RecentLog;
}

function startMember(id: string, position: number): BenchMember {
  const log = new RecentLog();
  const raft = new Raft({
    id: nodeId(id),
    electionTimeoutTicks: 1_000_000,
    heartbeatIntervalTicks: 1_000,
    appendSizeBytesMax: mib,
    inflightSizeBytesMax: 8 * mib,
    inflightCountMax: 64,
    uncommittedSizeBytesMax: 64 * mib,
    committedSizeBytesMax: mib,
    prng: new Prng(position + 1),
    log,
    hardState: initialHardState,
    memberships: [{index: noIndex, membership: testMembership({voters: ids})}],
    appliedIndex: noIndex,
  });
  return {raft, log};
}

/** Writes are durable at once; messages arrive at once. */
function settle(members: readonly BenchMember[]): void {
  for (;;) {
    const messages: Message[] = [];
    for (const member of members) work(member, messages);
    if (messages.length === 0) return;
    for (const message of messages) {
      members.find(member => member.raft.id === message.to)?.raft.step(message);
    }
  }
}

function work({raft, log}: BenchMember, messages: Message[]): void {
  while (raft.hasReady()) {
    const ready = raft.ready();
    log.append(ready.entries);
    messages.push(...ready.messages, ...ready.messagesAfterPersist);
    const last = ready.committed.at(-1);
    if (last !== undefined) raft.applied(last.index);
    raft.persisted(ready.sequence);
  }
}

/** Keeps the newest entries; the members are never far apart. */
class RecentLog implements LogReader {
  #base: {readonly index: LogIndex; readonly term: Term} = {index: noIndex, term: noTerm};
  #entries: Entry[] = [];

  append(entries: readonly Entry[]): void {
    this.#entries.push(...entries);
    const dropped = this.#entries[keptEntryCount];
    if (this.#entries.length < 2 * keptEntryCount || dropped === undefined) return;
    this.#base = {index: dropped.index, term: dropped.term};
    this.#entries = this.#entries.slice(keptEntryCount + 1);
  }

  firstIndex(): LogIndex {
    return indexAfter(this.#base.index);
  }

  lastIndex(): LogIndex {
    return logIndex(this.#base.index + this.#entries.length);
  }

  term(index: LogIndex): Term | undefined {
    if (index === this.#base.index) return this.#base.term;
    return this.#entries[index - this.#base.index - 1]?.term;
  }

  /** All that is asked for: no more than one batch, whatever its size. */
  entries(range: {readonly from: LogIndex; readonly to: LogIndex}): readonly Entry[] {
    const {index} = this.#base;
    return this.#entries.slice(range.from - index - 1, range.to - index);
  }
}
