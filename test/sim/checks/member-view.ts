/** One member as the checks saw it last, and what they know of its log. */
import type {Replica} from '../../../src/node/replica.ts';
import type {KvStateMachine} from '../../../src/kv/state-machine.ts';
import type {RaftState} from '../../../src/raft/raft-state.ts';
import type {StateStore} from '../../../src/storage/state-store.ts';
import {MemberLog} from './member-log.ts';

export class MemberView {
  readonly id: string;
  readonly owner: number;
  log: MemberLog;
  /** Of the directory before it was wiped: what others were promised then still counted. */
  wipedLog: MemberLog | null = null;
  /** Its directory is a copy of before: it must take part in nothing. */
  isOlderCopy = false;
  /** Null: the process does not run, or its cluster is not formed. */
  replica: Replica | null = null;
  /** Of its present directory. */
  incarnation = '';
  machine: KvStateMachine | null = null;
  state: StateStore | null = null;
  role: RaftState['role'] = 'follower';
  term = 0;
  commit = 0;
  applied = 0;
  last = 0;
  lastMembershipIndex = 0;
  /** Where local reads of this life have been. */
  localPosition = 0;

  constructor(id: string, owner: number) {
    this.id = id;
    this.owner = owner;
    this.log = new MemberLog(id);
  }

  beginLife(machine: KvStateMachine, state: StateStore): void {
    this.machine = machine;
    this.state = state;
    this.replica = null;
    this.role = 'follower';
    this.commit = 0;
    this.applied = 0;
    this.last = 0;
    this.localPosition = 0;
  }

  /** It holds the entry, or was told of it when its former directory did. */
  holdsDurably(id: {readonly index: number; readonly term: number}): boolean {
    // Nobody may count what an older copy takes in.
    if (!this.isOlderCopy && this.log.holdsDurably(id)) return true;
    return this.wipedLog?.holdsDurably(id) === true;
  }

  /** Another, empty directory: nothing of what it had promised is there any more. */
  wipe(): void {
    // To an older copy nobody has promised anything.
    if (!this.isOlderCopy) this.wipedLog = this.log;
    this.isOlderCopy = false;
    this.log = new MemberLog(this.id);
    this.term = 0;
    this.lastMembershipIndex = 0;
  }

  /** Its directory is one of before, which others may take for the present one. */
  goBack(): void {
    this.wipe();
    this.isOlderCopy = true;
  }

  endLife(): void {
    this.replica = null;
    this.machine = null;
    this.state = null;
    this.log.endLife();
  }
}
