/** One Raft whose disk answers at once and whose peers a test plays. */
import {Prng} from '../../src/base/prng.ts';
import {limits} from '../../src/base/limits.ts';
import type {Entry} from '../../src/raft/entry.ts';
import type {NodeId} from '../../src/raft/ids.ts';
import {nodeId, noIndex, termAfter} from '../../src/raft/ids.ts';
import type {Member, Membership} from '../../src/raft/membership.ts';
import type {Message} from '../../src/raft/message.ts';
import {Raft} from '../../src/raft/raft.ts';
import {FakeLogStore} from '../contract/fake-log-store.ts';

export function memberOf(id: string): Member {
  const incarnation = Buffer.from(id).toString('hex').padEnd(16, '0').slice(0, 16);
  return {id: nodeId(id), incarnation, listen: `${id}:1`, http: `${id}:2`};
}

export function membershipOf(
  voters: readonly string[],
  learners: readonly string[] = [],
): Membership {
  return {
    voters: voters.map(nodeId),
    votersOutgoing: [],
    learners: learners.map(nodeId),
    members: [...voters, ...learners].sort().map(memberOf),
  };
}

export class DrivenRaft {
  readonly log = new FakeLogStore(operation => operation());
  readonly raft: Raft;
  /** What it sent and nobody answered. */
  sent: Message[] = [];
  readonly committed: Entry[] = [];

  constructor(membership: Membership, id = 'node1') {
    this.raft = new Raft({
      id: nodeId(id),
      electionTimeoutTicks: 10,
      heartbeatIntervalTicks: 2,
      appendSizeBytesMax: limits.appendSizeBytesMax,
      inflightSizeBytesMax: limits.inflightSizeBytesMax,
      inflightCountMax: limits.inflightCountMax,
      uncommittedSizeBytesMax: 1024 * 1024,
      committedSizeBytesMax: limits.committedSizeBytesMax,
      prng: new Prng(1),
      log: this.log,
      hardState: this.log.hardState,
      memberships: [{index: noIndex, membership}],
      appliedIndex: noIndex,
    });
  }

  /** Performs everything that is ready. */
  perform(): void {
    const {raft, log} = this;
    while (raft.hasReady()) {
      const ready = raft.ready();
      if (ready.mustPersist) {
        log.append({hardState: ready.hardState ?? raft.hardState, entries: ready.entries}, () =>
          raft.persisted(ready.sequence),
        );
      }
      this.sent.push(...ready.messages, ...ready.messagesAfterPersist);
      this.committed.push(...ready.committed);
      const last = ready.committed.at(-1);
      if (last !== undefined) raft.applied(last.index);
    }
  }

  /** Elected and its first entry committed, with the help of `helper` when it needs any. */
  lead(helper?: string): this {
    this.raft.campaign();
    this.perform();
    for (let round = 0; round < 5 && helper !== undefined; round++) this.answerAs(nodeId(helper));
    return this;
  }

  /** Follows `leader`, from whom a heartbeat came. */
  follow(leader: string): this {
    const {raft} = this;
    raft.step({
      type: 'heartbeat',
      from: nodeId(leader),
      to: raft.id,
      term: termAfter(raft.term),
      commit: noIndex,
      readRound: 0,
    });
    this.perform();
    return this;
  }

  /** Says yes to everything that was sent to `from`. */
  answerAs(from: NodeId): void {
    const {raft} = this;
    const sent = this.sent;
    this.sent = [];
    for (const message of sent) {
      if (message.to !== from) continue;
      const {term} = message;
      const envelope = {from, to: raft.id, term};
      if (message.type === 'pre-vote') {
        raft.step({...envelope, type: 'pre-vote-response', granted: true});
      } else if (message.type === 'vote') {
        raft.step({...envelope, type: 'vote-response', granted: true});
      } else if (message.type === 'append') {
        const matchIndex = message.entries.at(-1)?.index ?? message.previous.index;
        raft.step({...envelope, type: 'append-accepted', matchIndex});
      } else if (message.type === 'heartbeat') {
        raft.step({...envelope, type: 'heartbeat-response', readRound: message.readRound});
      }
    }
    this.perform();
  }
}
