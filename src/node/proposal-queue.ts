/** Proposals that wait their turn, oldest first. What they hold in bytes is known at any time. */
import type {Proposal} from './proposal.ts';

export class ProposalQueue {
  #proposals: Proposal[] = [];
  /** Those before it were taken and wait for compaction of the array. */
  #head = 0;
  #sizeBytes = 0;

  get count(): number {
    return this.#proposals.length - this.#head;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The oldest one, which stays. */
  get first(): Proposal | undefined {
    return this.#proposals[this.#head];
  }

  push(proposal: Proposal): void {
    this.#proposals.push(proposal);
    this.#sizeBytes += proposal.command.length;
  }

  shift(): Proposal | undefined {
    const proposal = this.first;
    if (proposal === undefined) return undefined;
    this.#head++;
    this.#sizeBytes -= proposal.command.length;
    if (this.#head * 2 > this.#proposals.length) {
      this.#proposals = this.#proposals.slice(this.#head);
      this.#head = 0;
    }
    return proposal;
  }

  takeAll(): Proposal[] {
    const all = this.#head === 0 ? this.#proposals : this.#proposals.slice(this.#head);
    this.#replaceBy([]);
    return all;
  }

  takeExpired(nowMs: number): Proposal[] {
    const all = this.takeAll();
    this.#replaceBy(all.filter(proposal => proposal.deadlineMs > nowMs));
    return all.filter(proposal => proposal.deadlineMs <= nowMs);
  }

  #replaceBy(proposals: Proposal[]): void {
    this.#proposals = proposals;
    this.#head = 0;
    this.#sizeBytes = proposals.reduce((sum, {command}) => sum + command.length, 0);
  }
}
