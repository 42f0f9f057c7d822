/**
 * Bugs that consensus and storage code typically has, as changes of the built JavaScript. `find` is
 * the text of one place in the compiled file and must occur there exactly once, so a mutant whose
 * place was rewritten fails loudly instead of testing nothing.
 */

interface Edit {
  /** Under src/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
}

export const mutants: readonly Mutant[] = [
  mutant('commits entries of earlier terms by counting', 'raft/replication.ts', {
    find: 'if (log.term(logIndex(reached)) !== state.term)',
    replace: 'if (false)',
  }),
  mutant('leader counts its own log before it is durable', 'raft/replication.ts', {
    find: 'voter === id ? log.stableIndex :',
    replace: 'voter === id ? log.lastIndex :',
  }),
  mutant('quorum of half the voters', 'raft/quorum.ts', {
    find: 'return Math.floor(voterCount / 2) + 1;',
    replace: 'return Math.max(1, Math.ceil(voterCount / 2));',
  }),
  mutant('joint membership asks the new voters only', 'raft/quorum.ts', {
    find: 'if (membership.votersOutgoing.length === 0)',
    replace: 'if (true)',
  }),
  {
    name: 'votes twice in a term',
    edits: [
      {
        file: 'raft/election.ts',
        find: 'state.vote === candidate || (state.vote === null && state.leaderId === null)',
        replace: 'state.leaderId === null',
      },
      {
        file: 'raft/transitions.ts',
        find: 'assert(state.vote === null || state.vote === vote,',
        replace: 'assert(true,',
      },
    ],
  },
  {
    name: 'votes for a shorter log',
    edits: [
      {
        file: 'raft/election.ts',
        find: 'if (canVoteFor(state, to) && state.log.isUpToDate(message.last)) {',
        replace: 'if (canVoteFor(state, to)) {',
      },
      {
        file: 'raft/election.ts',
        find: 'const granted = isOpen && state.log.isUpToDate(message.last);',
        replace: 'const granted = isOpen;',
      },
    ],
  },
  mutant('vote leaves before it is durable', 'raft/election.ts', {
    find: "sendAfterPersist(state, { type: 'vote-response'",
    replace: "state.messages.push({ type: 'vote-response'",
  }),
  mutant('append is acknowledged before it is durable', 'raft/outbox.ts', {
    find: 'const pending = state.messagesAfterPersist;',
    replace: 'const pending = state.messages;',
  }),
  {
    name: 'a heartbeat names more than was acknowledged',
    edits: [
      {
        file: 'raft/replication.ts',
        find: 'const commit = minIndex(progress.matchIndex, commitIndex);',
        replace: 'const commit = commitIndex;',
      },
    ],
  },
  mutant('truncates without a conflict', 'raft/follower.ts', {
    find: 'if (!log.holds(entry))',
    replace: 'if (true)',
  }),
  mutant('a truncated membership stays in force', 'raft/follower.ts', {
    find: 'rollBackMemberships(state, first.index);',
    replace: '',
  }),
  mutant('read round before the first commit of the term', 'raft/read-index.ts', {
    find: 'leadership.waitingReads.length > 0 && state.commitIndex >= leadership.termStartIndex',
    replace: 'leadership.waitingReads.length > 0',
  }),
  mutant('read without asking a quorum', 'raft/read-index.ts', {
    find: 'if (round > confirmed)',
    replace: 'if (false)',
  }),
  mutant('read before the index is applied', 'node/read-table.ts', {
    find: 'if (first === undefined || first.index > appliedIndex)',
    replace: 'if (first === undefined)',
  }),
  mutant('a late write confirms entries that replaced its own', 'raft/unstable-log.ts', {
    find: 'write.lastIndex = minIndex(write.lastIndex, index);',
    replace: 'void write;',
  }),
  mutant('numbers of requests begin again in every life', 'node/first-id.ts', {
    find: 'return ((origin + life * idsOfLife) % idCount) + 1;',
    replace: 'return 1;',
  }),
  mutant('a failed fdatasync counts as done', 'storage/wal-segment-writer.ts', {
    find: 'if (syncError === null)',
    replace: 'if (true)',
  }),
  mutant('what a failed fdatasync left is not written again', 'storage/wal-recovery.ts', {
    find: 'if (rewriteFrom < end)',
    replace: 'if (false)',
  }),
  mutant('the log is released further than the checkpoint', 'node/checkpointer.ts', {
    find: 'log.release({ upTo: state.checkpointMeta().index,',
    replace: 'log.release({ upTo: this.#parts.applied().index,',
  }),
  mutant('the log is reset before the switch to a snapshot is durable', 'node/snapshotter.ts', {
    find: 'received.snapshot.install(error => {',
    replace: 'callback(null); received.snapshot.install(error => { callback = () => undefined;',
  }),
  mutant('a forward is sent again when the connection breaks', 'node/forwarder.ts', {
    find: "if (response.error.code === 'NO_LEADER')",
    replace: "if (response.error.code !== 'STORAGE_FULL')",
  }),
  mutant('no leader stickiness', 'raft/election.ts', {
    find: 'return state.electionElapsed < state.options.electionTimeoutTicks;',
    replace: 'return false;',
  }),
  mutant('idempotency keys live in memory only', 'kv/idempotency-table.ts', {
    find: 'this.#rows.put(idempotencyKeyRow(idempotency.key), writer.contentView());',
    replace:
      '(this.kept ??= new Map()).set(idempotency.key, writer.contentView().slice());' +
      'this.#rows.put(idempotencyKeyRow(idempotency.key), writer.contentView());' +
      'if (this.kept.size % 50 === 0) this.#rows.delete(idempotencyKeyRow(idempotency.key));',
  }),
  mutant('a write is answered by whatever was applied there', 'node/proposal-table.ts', {
    find: 'if (pending.term === id.term && result !== null)',
    replace: 'if (result !== null)',
  }),
  mutant('entries are applied before the own disk has them', 'raft/ready-assembly.ts', {
    find: 'return minIndex(state.commitIndex, state.log.stableIndex);',
    replace: 'return state.commitIndex;',
  }),
  mutant('the term of the entry before an append is not compared', 'raft/follower.ts', {
    find: 'if (!state.log.holds(previous))',
    replace: 'if (previous.index > state.log.lastIndex)',
  }),
  mutant('the log is not synced', 'storage/wal-segment.ts', {
    find: 'this.#file.sync(error => this.#onDone(error, callback));',
    replace: 'this.#file.write(new Uint8Array(0), 0, error => this.#onDone(error, callback));',
  }),
  mutant('conditions of a write are not looked at', 'kv/key-executor.ts', {
    find: 'return compareHolds(compare, this.#live(key));',
    replace: 'return true;',
  }),
  mutant('a watcher joins the live ones before it has caught up', 'node/watch-hub.ts', {
    find: 'return watcher.next >= this.#next;',
    replace: 'return watcher.next >= this.#next - 1;',
  }),
  mutant('a watcher that was full goes on one revision later', 'node/watcher.ts', {
    find: 'return !this.#sink.isFull();',
    replace: 'if (this.#sink.isFull()) { this.next++; return false; } return true;',
  }),
  {
    name: 'a lost disk is replaced under its voter',
    edits: [
      {
        file: 'node/membership-rules.ts',
        find: 'const isInTwoSteps = !isLearner(membership, id) && !(replaced instanceof RosettaError);',
        replace:
          'const rows = membership.members.map(other => (other.id === id ? member : other));' +
          'if (!isLearner(membership, id)) return proposal({...membership, members: rows});' +
          'const isInTwoSteps = false;',
      },
      {
        file: 'raft/membership-change.ts',
        find: 'return !isVoter && !current.voters.includes(id);',
        replace: 'return true;',
      },
    ],
  },
  mutant('an empty directory takes the place of its former one', 'node/membership-changer.ts', {
    find: 'findMember(committed, id)?.incarnation === incarnation',
    replace: 'findMember(committed, id) !== undefined',
  }),
  mutant('a removal does not count who is left', 'node/membership-rules.ts', {
    find: 'if (activeCount < majorityOf(voters.length))',
    replace: 'if (false)',
  }),
  mutant('a failed compare changes what is done, not what is told', 'kv/transaction.ts', {
    find: 'succeeded ? transaction.success : transaction.failure',
    replace: 'transaction.success',
  }),
  {
    name: 'the last compare of a transaction decides alone',
    edits: [
      {
        file: 'kv/transaction.ts',
        find: ': this.#keys.holds(compare, keys.key);\n            if (!succeeded)',
        replace: ': this.#keys.holds(compare, keys.key);\n            if (false)',
      },
      {
        file: 'kv/transaction.ts',
        find: 'keys.holds(compare, compare.keys.key);\n                if (!succeeded)',
        replace: 'keys.holds(compare, compare.keys.key);\n                if (false)',
      },
    ],
  },
  {
    name: 'a part of a transaction is left out',
    edits: [
      {
        file: 'kv/transaction.ts',
        find: 'results.push(this.#keys.run(step));',
        replace:
          "results.push(results.length === 1 && step.type === 'put'" +
          "? {type: 'put', version: 1, previous: null} : this.#keys.run(step));",
      },
      {
        file: 'kv/transaction.ts',
        find: 'results.push(keys.run(operation));',
        replace:
          "results.push(results.length === 1 && operation.type === 'put'" +
          "? {type: 'put', version: 1, previous: null} : keys.run(operation));",
      },
    ],
  },
  {
    name: 'a lease takes keys with it that have another one now',
    edits: [
      {
        file: 'kv/lease-table.ts',
        find: 'this.#rows.delete(leaseKeyRow(from, key));',
        replace: '',
      },
      {
        file: 'kv/lease-executor.ts',
        find: 'assert(deletedCount === lease.keyCount,',
        replace: 'assert(true,',
      },
      {
        file: 'kv/lease-executor.ts',
        find:
          'this.#events.delete(key, ' +
          "must(this.#events.latestHead(key), 'a leased key exists'));",
        replace:
          'const head = this.#events.latestHead(key);' +
          'if (head !== null && !head.isTombstone) this.#events.delete(key, head);',
      },
    ],
  },
  {
    name: 'a leader goes on with the deadlines of its earlier leadership',
    edits: [
      {
        file: 'node/lease-expirer.ts',
        find: "if (raft.role !== 'leader') {\n            this.#leadership = null;",
        replace: "if (raft.role !== 'leader') {",
      },
      {
        file: 'node/lease-expirer.ts',
        find: 'if (this.#leadership?.term === term)',
        replace: 'if (this.#leadership !== null)',
      },
      {
        file: 'node/lease-expirer.ts',
        find: "role !== 'leader' || term !== leadership.term)",
        replace: "role !== 'leader')",
      },
    ],
  },
  mutant('a keepalive is answered without asking a quorum', 'node/lease-expirer.ts', {
    find: 'this.#parts.confirm(timeoutMs, error => {',
    replace: 'this.#parts.clock.afterPoll(() => { const error = null;',
  }),
  mutant('a keepalive moves no deadline', 'node/lease-expirer.ts', {
    find: 'if (isKeepalive)',
    replace: 'if (false)',
  }),
  mutant('a new leader takes up no leases of earlier ones', 'node/lease-expirer.ts', {
    find: "loading === 'wanted' && nowMs",
    replace: "loading === 'never' && nowMs",
  }),
  {
    name: 'answers of sessions live in memory only',
    edits: [
      {
        file: 'kv/session-table.ts',
        find: 'const kept = this.#rows.get(sessionAnswerRow(id, number));',
        replace: 'const kept = this.kept?.get(`${id}/${number}`);',
      },
      {
        file: 'kv/session-table.ts',
        find: 'this.#rows.put(sessionAnswerRow(id, number), writer.contentView());',
        replace:
          'this.#rows.put(sessionAnswerRow(id, number), writer.contentView());' +
          '(this.kept ??= new Map()).set(`${id}/${number}`, writer.contentView().slice());',
      },
    ],
  },
  mutant('an older directory is known by its count alone', 'storage/start-history.ts', {
    find: 'return mark === undefined ||',
    replace: 'return true ||',
  }),
  mutant('events go that later ones may ask for', 'kv/scrubber.ts', {
    find: 'compactedRevision + 1 - limits.nearRevisionCount',
    replace: 'compactedRevision + 1',
  }),
  mutant('a number whose answer was acknowledged runs again', 'kv/session-table.ts', {
    find: 'if (number <= session.acknowledged)',
    replace: 'if (false)',
  }),
];

function mutant(name: string, file: string, edit: Omit<Edit, 'file'>): Mutant {
  return {name, edits: [{file, ...edit}]};
}
