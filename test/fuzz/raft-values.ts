/** Arbitrary terms, entries and memberships, valid ones. */
import fc from 'fast-check';
import {must} from '../../src/base/assert.ts';
import type {Entry} from '../../src/raft/entry.ts';
import {makeEntry} from '../../src/raft/entry.ts';
import type {HardState} from '../../src/raft/hard-state.ts';
import type {LogIndex, NodeId, Term} from '../../src/raft/ids.ts';
import {logIndex, nodeId, term} from '../../src/raft/ids.ts';
import type {Membership} from '../../src/raft/membership.ts';
import {characterOf} from './text-values.ts';

export const terms: fc.Arbitrary<Term> = fc.maxSafeNat().map(term);
export const indices: fc.Arbitrary<LogIndex> = fc.maxSafeNat().map(logIndex);
export const nodeIds: fc.Arbitrary<NodeId> = fc
  .string({unit: characterOf('abzAZ059_-'), minLength: 1, maxLength: 64})
  .map(nodeId);

export const hardStates: fc.Arbitrary<HardState> = fc.record({
  term: terms,
  vote: fc.option(nodeIds),
  commit: indices,
});

const idLists = fc.array(nodeIds, {maxLength: 7});
const texts = fc.string({maxLength: 30});

/** As the format takes them: what the lists say together is not for the codec to judge. */
export const memberships: fc.Arbitrary<Membership> = fc.record({
  voters: idLists,
  votersOutgoing: idLists,
  learners: idLists,
  members: fc.array(fc.record({id: nodeIds, incarnation: texts, listen: texts, http: texts}), {
    maxLength: 7,
  }),
});

/** A run of entries behind one place of a log. */
export interface EntryRun {
  readonly previous: {readonly term: Term; readonly index: LogIndex};
  /** At least the term of the last entry. */
  readonly term: Term;
  readonly entries: readonly Entry[];
}

const types = fc.constantFrom('noop', 'command', 'membership');

/** Consecutive entries of terms that do not fall, 0 to 4 of them. */
export const entryRuns: fc.Arbitrary<EntryRun> = fc
  .record({
    index: fc.oneof(fc.nat(20), fc.integer({min: 1, max: 2 ** 53 - 10})),
    terms: fc.array(fc.oneof(fc.nat(3), fc.nat(2 ** 31)), {minLength: 6, maxLength: 6}),
    parts: fc.array(
      fc.record({type: types, proposedAtMs: fc.maxSafeNat(), data: fc.uint8Array({maxLength: 50})}),
      {maxLength: 4},
    ),
  })
  .map(({index, terms: steps, parts}) => {
    // Before the first entry there is no term either.
    let value = index === 0 ? 0 : must(steps[0], 'a step');
    const previous = {term: term(value), index: logIndex(index)};
    const entries = parts.map(({type, proposedAtMs, data}, i) => {
      value += must(steps[i + 1], 'a step');
      const place = {term: term(value), index: logIndex(index + 1 + i)};
      return makeEntry({...place, type, proposedAtMs, data});
    });
    return {previous, entries, term: term(value + must(steps[5], 'a step'))};
  });
