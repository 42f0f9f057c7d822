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

  #mayRemove(): boolean {
    const replaced = this.#replaced;
    if (replaced === null) return true;
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
      return isMember(machine) && machine.member.record.incarnation === row?.incarnation;
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
