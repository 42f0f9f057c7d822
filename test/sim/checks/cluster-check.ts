/**
 * The invariants of the protocol and of the state machine, after every event, on the member that
 * the event touched. Knows the whole cluster at once, which no member does.
 */
import type {CommandResult} from '../../../src/kv/result.ts';
import type {KvStateMachine} from '../../../src/kv/state-machine.ts';
import type {Replica} from '../../../src/node/replica.ts';
import type {Entry} from '../../../src/raft/entry.ts';
import {checkInvariants} from '../../../src/raft/invariants.ts';
import type {RaftState} from '../../../src/raft/raft-state.ts';
import {logIndex} from '../../../src/raft/ids.ts';
import type {StateStore} from '../../../src/storage/state-store.ts';
import type {OpenedLog} from '../../../src/storage/wal-log-store.ts';
import type {PeerMessage} from '../../../src/transport/transport.ts';
import type {Coverage} from '../coverage.ts';
import {digestOf} from './answer-digest.ts';
import {UnseenDamage} from '../explained-end.ts';
import {ClusterLog, isQuorum} from './cluster-log.ts';
import {MemberView} from './member-view.ts';
import type {PresentDisk} from './membership-check.ts';
import {MembershipCheck} from './membership-check.ts';
import type {OrderCheck} from './order-check.ts';
import {demand} from './violation.ts';

/** Nothing in a member may grow beyond this many bytes of writes that wait. */
const pendingSizeBytesMax = 64 * 1024 * 1024;

export class ClusterCheck {
  readonly log = new ClusterLog();
  readonly memberships = new MembershipCheck();
  readonly views: readonly MemberView[];
  readonly #order: OrderCheck;
  readonly #coverage: Coverage;
  readonly #now: () => number;
  /** By log position, the state hash there. */
  readonly #hashes: (string | undefined)[] = [];
  readonly #results: (string | undefined)[] = [];
  #lastApplied = 0;
  #termMax = 0;

  constructor(ids: readonly string[], order: OrderCheck, coverage: Coverage, now: () => number) {
    this.#now = now;
    this.views = ids.map((id, owner) => new MemberView(id, owner));
    this.#order = order;
    this.#coverage = coverage;
  }

  get lastApplied(): number {
    return this.#lastApplied;
  }

  /** The largest term any member has been in. */
  get termMax(): number {
    return this.#termMax;
  }

  view(owner: number): MemberView | undefined {
    return this.views[owner];
  }

  onLife(
    owner: number,
    {machine, state}: {readonly machine: KvStateMachine; readonly state: StateStore},
    incarnation: string,
  ): void {
    const view = this.#viewOf(owner);
    view.incarnation = incarnation;
    view.beginLife(machine, state);
    let entry: Parameters<KvStateMachine['begin']>[0] | null = null;
    const watched = (result: CommandResult | null): CommandResult | null => {
      if (result === null || entry === null) return result;
      this.#onApply(view, entry, result, machine.stateHash());
      entry = null;
      return result;
    };
    const begin = machine.begin.bind(machine);
    const resume = machine.resume.bind(machine);
    machine.begin = next => {
      entry = next;
      return watched(begin(next));
    };
    machine.resume = () => watched(resume());
  }

  onReplica(replica: Replica): void {
    const view = this.views.find(candidate => candidate.id === replica.raft.id);
    if (view === undefined) return;
    view.replica = replica;
    view.term = replica.raft.term;
    view.applied = replica.applied.index;
  }

  onLifeEnded(owner: number): void {
    this.#viewOf(owner).endLife();
  }

  onWiped(owner: number): void {
    this.#viewOf(owner).wipe();
  }

  onOlderCopy(owner: number): void {
    this.#viewOf(owner).goBack();
  }

  /** `isRotten`: a bit of the log was flipped. */
  onLogOpened(owner: number, opened: OpenedLog, isRotten: boolean): void {
    const view = this.#viewOf(owner);
    const {store} = opened;
    const first = store.firstIndex();
    const last = store.lastIndex();
    if (isRotten && view.log.mayTakeNewestForTorn(last, opened.hardState)) {
      this.#coverage.count('newest batch taken for torn');
      throw new UnseenDamage(
        `the simulator ends ${view.id}: damage to its newest batch went unnoticed`,
      );
    }
    const entries: Entry[] = [];
    while (first + entries.length <= last) {
      const from = logIndex(first + entries.length);
      entries.push(...store.entries({from, to: last, sizeBytesMax: 1 << 24}));
    }
    const start = {index: logIndex(first - 1), term: store.term(logIndex(first - 1)) ?? 0};
    view.log.recover({
      start: start as {index: typeof first; term: Entry['term']},
      entries,
      hardState: opened.hardState,
      isStartCommitted: this.log.committed(start.index)?.term === start.term,
    });
    let previousTerm: number | undefined = store.term(start.index);
    for (const entry of entries) {
      this.log.noteEntry(view.id, entry, previousTerm);
      previousTerm = entry.term;
    }
    if (opened.warnings.some(warning => warning.includes('where a write was interrupted'))) {
      this.#coverage.count('torn tail repaired');
    }
    if (opened.needsSnapshot) this.#coverage.count('checkpoint lost and fetched again');
    this.#watchStore(view, opened);
  }

  /** No message promises what the disk has not confirmed. */
  onSend(owner: number, message: PeerMessage): void {
    const {log, id, term, isOlderCopy} = this.#viewOf(owner);
    // It hears others until they have told it so, but it reaches nobody.
    demand(!isOlderCopy, 'nobody lets an older copy in', () => `${id} says ${message.type}`);
    const durable = log.durableHardState;
    if (message.type === 'append-accepted') {
      const known = message.term < term ? log.writtenIndex : log.durableIndex;
      demand(message.matchIndex <= known, 'promises are durable', () => {
        return `${id} acknowledges entries up to ${message.matchIndex}, durable is ${known}`;
      });
    } else if (message.type === 'vote' || (message.type === 'vote-response' && message.granted)) {
      const vote = message.type === 'vote' ? id : message.to;
      const isDurable = durable?.term === message.term && durable.vote === vote;
      // A later term makes an earlier vote harmless.
      demand(isDurable || (durable?.term ?? 0) > message.term, 'promises are durable', () => {
        const kept = `${durable?.vote ?? '-'} in ${durable?.term ?? 0}`;
        return `${id} votes for ${vote} in term ${message.term}, durable is ${kept}`;
      });
    }
  }

  /** Returns a digest of what changed, 0 when nothing did. */
  after(owner: number): number {
    const view = this.views[owner];
    const replica = view?.replica;
    if (view === undefined || replica === null || replica === undefined) return 0;
    const state = replica.raft.inspect();
    const {term, role, commitIndex} = state;
    const last = state.log.lastIndex;
    const applied = replica.applied.index;
    const isSame =
      term === view.term &&
      role === view.role &&
      commitIndex === view.commit &&
      applied === view.applied &&
      last === view.last;
    if (isSame) return 0;
    this.#checkOrder(view, replica, state);
    if (term !== view.term || role !== view.role) this.#onRole(view, state);
    if (last < view.last && role === 'leader' && term === view.term) {
      demand(false, 'leader append-only', `${view.id} leads ${term}: ${view.last} to ${last}`);
    }
    if (commitIndex > view.commit) this.#onCommit(view, state);
    if (applied !== view.applied) this.#onApplied(view, applied);
    checkInvariants(replica.raft);
    this.#noteMemberships(view, state);
    this.memberships.onLeader(state, id => this.#diskOf(id));
    view.term = term;
    view.role = role;
    view.commit = commitIndex;
    view.applied = applied;
    view.last = last;
    this.#termMax = Math.max(this.#termMax, term);
    return (term * 31 + commitIndex) * 31 + applied * 7 + last;
  }

  #viewOf(owner: number): MemberView {
    const view = this.views[owner];
    demand(view !== undefined, 'the simulator itself', `no member ${owner}`);
    return view;
  }

  #checkOrder(view: MemberView, replica: Replica, state: Readonly<RaftState>): void {
    const {id} = view;
    const {commitIndex, term, log} = state;
    const applied = replica.applied.index;
    demand(term >= view.term, 'terms rise', () => `${id} from ${view.term} to ${term}`);
    demand(commitIndex >= view.commit, 'commit rises', () => {
      return `${id} from ${view.commit} to ${commitIndex}`;
    });
    demand(applied >= view.applied, 'applied rises', () => {
      return `${id} from ${view.applied} to ${applied}`;
    });
    // A snapshot counts as the log's start as soon as it is accepted, as applied when it is
    // installed, and as durable in the log with the write behind it.
    const isInstalling = log.unstable.snapshot !== null;
    const isStable = isInstalling || applied <= log.stableIndex;
    demand(applied <= commitIndex && isStable, 'applied ≤ commit, stable', () => {
      return `${id}: applied ${applied}, commit ${commitIndex}, stable ${log.stableIndex}`;
    });
    const {durableIndex} = view.log;
    const checkpoint = view.state?.checkpointMeta().index ?? 0;
    demand(applied <= Math.max(durableIndex, checkpoint), 'what is applied is durable', () => {
      return `${id}: applied ${applied}, durable ${durableIndex}, checkpoint ${checkpoint}`;
    });
    demand(isInstalling || log.stableIndex <= durableIndex, 'stable is durable', () => {
      return `${id} believes ${log.stableIndex} durable, ${durableIndex} is`;
    });
    demand(isInstalling || log.firstIndex - 1 <= applied, 'purged ≤ applied', () => {
      return `${id}: first ${log.firstIndex}, applied ${applied}`;
    });
  }

  #onRole(view: MemberView, state: Readonly<RaftState>): void {
    const {role, term} = state;
    const coverage = this.#coverage;
    if (role === 'leader') {
      this.log.noteLeader(view.id, term);
      coverage.count('election won');
      const {log} = state;
      this.log.checkComplete(view.id, term, {
        lastIndex: log.lastIndex,
        termAt: index => (index < log.firstIndex - 1 ? undefined : log.term(logIndex(index))),
      });
    } else if (view.role === 'leader') {
      coverage.count('leader stepped down');
    } else if (view.role === 'candidate' && role !== 'candidate') {
      coverage.count('election lost');
    }
  }

  #onCommit(view: MemberView, state: Readonly<RaftState>): void {
    const {log, commitIndex, leadership, term} = state;
    for (let index = Math.max(view.commit + 1, log.firstIndex); index <= commitIndex; index++) {
      const entryTerm = log.term(logIndex(index)) ?? 0;
      const checksum = this.#checksumAt(view, state, index);
      if (checksum === undefined) continue;
      const isNews = this.log.noteCommitted(view.id, {index, term: entryTerm, checksum});
      if (!isNews) continue;
      this.#checkQuorum(view, state, {index, term: entryTerm});
      if (leadership !== null && entryTerm < term) {
        this.#coverage.count('old term committed by a no-op');
      }
    }
    if (leadership !== null && leadership.waitingReads.length > 0) {
      if (commitIndex >= leadership.termStartIndex && view.commit < leadership.termStartIndex) {
        this.#coverage.count('read waited for the no-op');
      }
    }
  }

  #checksumAt(view: MemberView, state: Readonly<RaftState>, index: number): number | undefined {
    const known = view.log.checksum(index);
    if (index <= view.log.last && known !== undefined && index < state.log.unstable.firstIndex) {
      return known;
    }
    const at = logIndex(index);
    return state.log.entries({from: at, to: at, sizeBytesMax: 1})[0]?.checksum;
  }

  /** Committed means durable on a quorum, counted by what disks have confirmed. */
  #checkQuorum(
    view: MemberView,
    state: Readonly<RaftState>,
    id: {readonly index: number; readonly term: number},
  ): void {
    const record = state.memberships.at(-1);
    if (record === undefined || record.membership.voters.length === 0) return;
    const holders = new Set(
      this.views.filter(view => view.holdsDurably(id)).map(({id: name}) => name),
    );
    demand(
      isQuorum(record.membership, name => holders.has(name)),
      'committed is durable on a quorum',
      () => {
        const copies = `${[...holders].join(', ')} of ${record.membership.voters.join(', ')}`;
        return `${view.id} commits ${id.index} of term ${id.term}, durable on ${copies}`;
      },
    );
  }

  #onApplied(view: MemberView, applied: number): void {
    const hash = view.machine?.stateHash();
    if (hash === undefined) return;
    this.#compareHash(view, applied, hash);
  }

  #compareHash(view: MemberView, index: number, hash: string): void {
    const known = this.#hashes[index];
    if (known === undefined) {
      this.#hashes[index] = hash;
      return;
    }
    demand(known === hash, 'equal positions, equal states', () => {
      return `${view.id} has state ${hash} at ${index}, another had ${known}`;
    });
  }

  #onApply(
    view: MemberView,
    entry: Parameters<KvStateMachine['begin']>[0],
    result: CommandResult,
    hash: string,
  ): void {
    const {index} = entry;
    const committed = this.log.committed(index);
    const held = view.log.term(index);
    demand(
      committed === undefined || held === undefined || committed.term === held,
      'only what is committed is applied',
      () => `${view.id} applies entry ${index} of term ${held ?? 0}`,
    );
    this.#compareHash(view, index, hash);
    const digest = digestOf(result);
    if (index > this.#lastApplied) {
      this.#lastApplied = index;
      this.#results[index] = digest;
      this.#order.onFirstApply(entry, result);
    } else {
      const known = this.#results[index];
      demand(known === undefined || known === digest, 'equal commands, equal answers', () => {
        return `${view.id} answers ${digest} at ${index}, another ${known ?? ''}`;
      });
    }
  }

  #noteMemberships(view: MemberView, state: Readonly<RaftState>): void {
    const record = state.memberships.at(-1);
    if (record === undefined || record.index === view.lastMembershipIndex) return;
    if (record.index < view.lastMembershipIndex) this.#coverage.count('membership truncated');
    else if (record.membership.votersOutgoing.length > 0) this.#coverage.count('joint membership');
    const before = state.memberships.at(-2)?.membership;
    this.memberships.onMembership(record.membership, before);
    const isProposed = state.leadership !== null && state.log.term(record.index) === state.term;
    if (isProposed && before !== undefined) {
      this.memberships.onProposed(state, record.membership, before);
    }
    view.lastMembershipIndex = record.index;
  }

  #diskOf(id: string): PresentDisk | null {
    const view = this.views.find(candidate => candidate.id === id);
    if (view === undefined || view.isOlderCopy) return null;
    // A snapshot counts from its installation on.
    const checkpoint = view.state?.checkpointMeta().index ?? Infinity;
    const durableIndex = Math.max(view.log.writtenIndex, checkpoint);
    const term = Math.max(view.term, view.log.durableHardState?.term ?? 0);
    return {incarnation: view.incarnation, term, durableIndex};
  }

  #watchStore(view: MemberView, opened: OpenedLog): void {
    const {store} = opened;
    const append = store.append.bind(store);
    store.append = (write, callback) => {
      this.#onHanded(view, write.entries);
      const superseded = view.log.hand(write.hardState, write.entries);
      if (superseded > 0) this.#coverage.count('log truncated by 1 or more');
      if (superseded >= 10) this.#coverage.count('log truncated by 10 or more');
      append(write, error => {
        if (error === null) view.log.confirm(this.#now());
        callback(error);
      });
      const pending = store.pendingSizeBytes();
      demand(pending <= pendingSizeBytesMax, 'memory is bounded', `${pending} bytes wait`);
    };
    const release = store.release.bind(store);
    store.release = index => {
      release(index);
      const purged = store.firstIndex() - 1;
      const checkpoint = view.state?.checkpointMeta().index ?? 0;
      demand(purged <= checkpoint, 'purged ≤ checkpoint', () => {
        return `${view.id} drops entries up to ${purged}, its checkpoint is at ${checkpoint}`;
      });
      view.log.release(purged);
    };
    const reset = store.reset.bind(store);
    store.reset = (meta, hardState) => {
      reset(meta, hardState);
      view.log.reset(meta);
    };
  }

  #onHanded(view: MemberView, entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    const {log} = view;
    if (first.index <= log.last) {
      this.log.checkTruncation(view.id, first.index, log.last, index => {
        const replaced = entries[index - first.index];
        const own = log.term(index);
        // The same entry again removes nothing.
        return replaced?.term === own ? undefined : own;
      });
    }
    let previousTerm = log.term(first.index - 1);
    for (const entry of entries) {
      this.log.noteEntry(view.id, entry, previousTerm);
      previousTerm = entry.term;
    }
  }
}
