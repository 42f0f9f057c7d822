/**
 * Members that leave and come by the way an operator would take: a request at any node, `-join`,
 * `-rejoin` after a disk was lost. Who was removed comes back with an empty directory; at most one
 * directory at a time is lost, for two could take a majority's copies; and nobody is removed while
 * one is lost, or lost while one may be on its way out, for what is left could be no majority.
 */
import {must} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {ClusterChange} from '../../src/node/service.ts';
import type {Replica} from '../../src/node/replica.ts';
import type {DirectoryCopy} from '../node/test-member.ts';
import {addressOf} from '../node/test-member.ts';
import type {FaultsParts} from './faults.ts';
import type {Machine} from './machine.ts';
import {exponential} from './sim-network.ts';

const timeoutMs = 2_000;

export class MembershipFaults {
  readonly #parts: FaultsParts;
  readonly #later: (delayMs: number, action: () => void) => void;
  /** Removals that were asked for and not answered, or answered as unknown. */
  #openRemovalCount = 0;
  /** Its disk was lost, and the new one is not known to have taken its place. */
  #replaced: Machine | null = null;
  readonly #copies = new Map<Machine, DirectoryCopy>();

  constructor(parts: FaultsParts, later: (delayMs: number, action: () => void) => void) {
    this.#parts = parts;
    this.#later = later;
  }

  /** Somebody is removed, or somebody that is away is announced. */
  change(prng: Prng): void {
    const {machines} = this.#parts;
    const at = pick(prng, machines.filter(isMember));
    const victim = pick(prng, machines);
    if (at === null || victim === null) return;
    const {id} = victim.member;
    const isKnown = at.member.node.members().some(row => row.id === id);
    const change: ClusterChange = isKnown
      ? {type: 'remove', id}
      : {type: 'add', id, listen: addressOf(id)};
    if (isKnown && !this.#mayRemove()) return;
    this.#parts.tell(at.owner, () => `is asked to ${change.type} ${id}`);
    if (isKnown) this.#openRemovalCount++;
    at.member.node.changeCluster(change, {timeoutMs}, error => {
      const {coverage} = this.#parts;
      if (isKnown && error?.outcome !== 'unknown') this.#openRemovalCount--;
      if (error !== null) coverage.count(`change refused: ${error.code}`);
      else coverage.count(isKnown ? 'member removed' : 'member announced');
    });
    this.#parts.touched(at.owner);
  }

  /** A voter loses its disk and comes back with -rejoin. */
  loseDisk(prng: Prng): void {
    const {machines, tell, coverage} = this.#parts;
    const victim = pick(prng, machines);
    const delayMs = exponential(prng, 1_000);
    const leader = this.#leader();
    if (victim === null || leader === null || !this.#mayLose(victim, leader)) return;
    victim.powerCut();
    victim.loseDirectory({replaces: true});
    this.#replaced = victim;
    tell(victim.owner, () => 'its disk is lost, and another one takes its place');
    coverage.count('disk replaced');
    this.#later(delayMs, () => victim.start());
  }

  /**
   * A copy is made of a voter's directory; or one that was made takes its place, it is refused, and
   * the voter comes back with -rejoin. Everybody else has seen a later start of that directory, and
   * is a voter: nobody may lose what it has seen meanwhile. What nobody knows nobody can refuse.
   */
  goBack(prng: Prng): void {
    const {machines, tell, coverage} = this.#parts;
    const isBack = prng.integer({min: 0, max: 1}) === 0;
    const olds = machines.filter(machine => this.#isOutlived(machine));
    const victim = pick(prng, isBack && olds.length > 0 ? olds : machines);
    const delayMs = exponential(prng, 1_000);
    const leader = this.#leader();
    if (victim === null || leader === null || !this.#mayLose(victim, leader)) return;
    const copy = this.#copies.get(victim);
    const {voters} = leader.raft.membership;
    const isPutBack = olds.includes(victim) && voters.length === machines.length;
    if (!isPutBack && !this.#isCommitted(victim)) return;
    victim.powerCut();
    if (isPutBack && copy !== undefined) {
      this.#copies.delete(victim);
      this.#replaced = victim;
      victim.goBack(copy);
      tell(victim.owner, () => 'an older copy takes the place of its directory');
      coverage.count('older copy put back');
    } else {
      this.#copies.set(victim, victim.member.copyDirectory());
      tell(victim.owner, () => 'its directory is copied');
    }
    this.#later(delayMs, () => victim.start());
  }

  /**
   * Nothing in its log may be replaced later. Until it is refused an older copy hears a leader,
   * which knows what it had acknowledged and not that this is gone: it would take entries of its
   * own for those.
   */
  #isCommitted(victim: Machine): boolean {
    const state = this.#parts.check.view(victim.owner)?.replica?.raft.inspect();
    return state !== undefined && state.log.lastIndex === state.commitIndex;
  }

  /** The others know that its directory has started since it was copied. */
  #isOutlived(victim: Machine): boolean {
    const copy = this.#copies.get(victim);
    const {incarnation} = victim.member.record;
    if (copy?.record.incarnation !== incarnation) return false;
    return this.#parts.machines.every(machine => {
      if (machine === victim) return true;
      const seen = machine.member.seenStart(incarnation);
      return seen !== null && seen.count > copy.starts.count;
    });
  }

  #mayRemove(): boolean {
    const replaced = this.#replaced;
    if (replaced === null) return true;
    if (replaced.isOlderCopy) return false;
    const {incarnation} = replaced.member.record;
    const membership = this.#leader()?.raft.committedMembership;
    const row = membership?.members.find(({id}) => id === replaced.id);
    const isVoter = membership?.voters.some(id => id === replaced.id) === true;
    if (row?.incarnation !== incarnation || !isVoter) return false;
    this.#replaced = null;
    return true;
  }

  /** Everybody is a voter that runs, and nothing is under way. */
  #mayLose(victim: Machine, {raft}: Replica): boolean {
    const {machines} = this.#parts;
    if (this.#openRemovalCount > 0) return false;
    const {membership, committedMembership} = raft;
    const isQuiet =
      membership === committedMembership &&
      membership.votersOutgoing.length === 0 &&
      membership.learners.length === 0 &&
      membership.voters.length >= 3;
    if (!isQuiet || !membership.voters.some(id => id === victim.id)) return false;
    return membership.voters.every(id => {
      const machine = must(
        machines.find(candidate => candidate.id === id),
        'voters are machines',
      );
      const row = membership.members.find(member => member.id === id);
      const isPresent = machine.member.record.incarnation === row?.incarnation;
      return isMember(machine) && isPresent && !machine.isOlderCopy;
    });
  }

  #leader(): Replica | null {
    const {machines, check} = this.#parts;
    for (const machine of machines) {
      const replica = check.view(machine.owner)?.replica;
      if (machine.isRunning && replica?.raft.role === 'leader') return replica;
    }
    return null;
  }
}

function isMember(machine: Machine): boolean {
  return machine.isRunning && !machine.isLost && machine.member.record.stage === 'member';
}

function pick<T>(prng: Prng, from: readonly T[]): T | null {
  const place = prng.integer({min: 0, max: Math.max(0, from.length - 1)});
  return from[place] ?? null;
}
