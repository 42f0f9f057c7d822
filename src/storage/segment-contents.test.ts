/** What the next header states of a segment is what reading the segment finds. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import fc from 'fast-check';
import {
  appended,
  closed,
  someEntries,
  someHardState,
} from '../../test/contract/log-store-contract.ts';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {realClock} from '../../test/sim/real-clock.ts';
import {must} from '../base/assert.ts';
import {MalformedBytesError} from '../base/bytes.ts';
import {Prng} from '../base/prng.ts';
import type {Entry} from '../raft/entry.ts';
import {makeEntry} from '../raft/entry.ts';
import {logIndex, nodeId, noIndex, term} from '../raft/ids.ts';
import {encodeMembership} from '../raft/membership.ts';
import type {SegmentContents} from './segment-contents.ts';
import {decodeContents, encodeContents, isPossible} from './segment-contents.ts';
import {WalCorruptionError} from './storage-error.ts';
import type {WalDirectory} from './wal-directory.ts';
import {openLog} from './wal-log-store.ts';
import {walOptions} from './wal-options.ts';
import {readEntries} from './wal-reader.ts';
import type {RecoveredLog} from './wal-recovery.ts';
import {recoverLog} from './wal-recovery.ts';
import type {SegmentHeader} from './wal-segment.ts';
import {decodeSegmentHeader, encodeSegmentHeader, segmentFileName} from './wal-segment.ts';

const identity = {clusterId: 'c', nodeId: 'node1', incarnation: '0123456789abcdef'};
const options = walOptions({
  segmentSizeBytes: 32 * 1024,
  fillStepSizeBytes: 8 * 1024,
  tailSizeBytesMax: 2 * 1024,
  syncMarkDelayMs: 60_000,
});

function place(disk: FakeDisk): WalDirectory {
  return {disk, directory: '/wal', identity, options};
}

const membership = {
  voters: [nodeId('a')],
  votersOutgoing: [],
  learners: [],
  members: [{id: nodeId('a'), incarnation: 'x', listen: 'l', http: 'h'}],
};

function membershipEntry(index: number, termValue: number): Entry {
  const fields = {term: term(termValue), index: logIndex(index), proposedAtMs: index};
  return makeEntry({...fields, type: 'membership', data: encodeMembership(membership)});
}

interface WrittenLog {
  readonly disk: FakeDisk;
  /** No entry up to here was ever superseded behind it. */
  readonly committed: number;
}

/** Terms change, memberships come, later leaders supersede what is not committed, nodes restart. */
async function randomLog(seed: number): Promise<WrittenLog> {
  const prng = new Prng(seed);
  const draw = (max: number): number => prng.integer({min: 1, max});
  const disk = new FakeDisk();
  const open = {disk, directory: '/wal', clock: realClock, identity, checkpoint: null, options};
  let {store} = openLog(open);
  let [termValue, committed, last] = [1, 0, 0];
  for (let step = 0; step < 150; step++) {
    let first = last + 1;
    if (draw(30) === 1) termValue++;
    if (draw(30) === 1 && last > committed) {
      termValue++;
      first = committed + draw(last - committed);
    }
    const count = draw(6);
    const entries = someEntries(first, count, {term: termValue, sizeBytes: draw(700)});
    if (draw(20) === 1) entries.push(membershipEntry(first + count, termValue));
    await appended(store, entries, someHardState(termValue, committed));
    last = first + entries.length - 1;
    if (draw(3) === 1) committed = last;
    if (draw(40) > 1) continue;
    await closed(store);
    ({store} = openLog(open));
  }
  await closed(store);
  return {disk, committed};
}

/** Everything that recovery says of the log, and every entry if `withEntries`. */
function outlineOf(log: RecoveredLog, withEntries: boolean): object {
  const {start, last, hardState, memberships, terms, segments, index, prepared} = log;
  const indices = Array.from({length: last.index - start.index}, (_, i) => start.index + 1 + i);
  const range = {from: logIndex(start.index + 1), to: last.index, sizeBytesMax: 1 << 30};
  const outline = {
    ...{start, last, hardState, memberships},
    terms: indices.map(at => terms.at(logIndex(at))),
    ends: segments.map(segment => segment.end),
    entries: withEntries ? readEntries({segments, index}, range) : null,
  };
  for (const segment of [...segments, ...prepared]) segment.close();
  return outline;
}

function recovered(disk: FakeDisk, trusted: number): RecoveredLog {
  return must(recoverLog(place(disk), noIndex, logIndex(trusted)), 'a log');
}

function headers(disk: FakeDisk): SegmentHeader[] {
  return disk.listSync('/wal').flatMap(name => {
    const bytes = Buffer.from(disk.content(`/wal/${name}`));
    const reading = decodeSegmentHeader(bytes, {
      sequence: Number.parseInt(name, 10),
      incarnation: identity.incarnation,
    });
    return reading.kind === 'valid' ? [reading.header] : [];
  });
}

/** Makes noise of every closed segment that the next header describes, up to `committed`. */
function garble({disk, committed}: WrittenLog): number {
  let count = 0;
  for (const {sequence, preceding, previous} of headers(disk)) {
    if (preceding === null || previous.index > committed) continue;
    const file = `/wal/${segmentFileName(sequence - 1)}`;
    const bytes = new Uint8Array(disk.content(file));
    bytes.fill(0xa5, Buffer.from(bytes).readUInt32LE(12));
    disk.replace(file, bytes);
    count++;
  }
  return count;
}

test('a log reads the same whether its closed segments are read at the start or not', async () => {
  let unreadCount = 0;
  let supersedingCount = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const log = await randomLog(seed);
    const read = outlineOf(recovered(log.disk, 0), true);
    assert.deepEqual(outlineOf(recovered(log.disk, log.committed), true), read, `seed ${seed}`);
    const stated = headers(log.disk).slice(1);
    supersedingCount += stated.filter(header => header.preceding === null).length;
    unreadCount += garble(log);
    const without = outlineOf(recovered(log.disk, log.committed), false);
    assert.deepEqual(without, {...read, entries: null}, `seed ${seed}, unread`);
  }
  assert.ok(unreadCount > 20, `${unreadCount} segments were not read`);
  assert.ok(supersedingCount > 5, `${supersedingCount} segments supersede`);
});

test('a closed segment that the checkpoint does not hold is read, whatever is stated of it', async () => {
  const {disk} = await randomLog(1);
  const [, second] = headers(disk);
  assert.ok(second !== undefined && second.preceding !== null);
  garble({disk, committed: Number.MAX_SAFE_INTEGER});
  assert.throws(() => recovered(disk, second.previous.index - 1), WalCorruptionError);
});

const contents: SegmentContents = {
  places: [
    {firstIndex: logIndex(8), offset: 4096},
    {firstIndex: logIndex(300), offset: 80_000},
  ],
  terms: [
    {index: logIndex(8), term: term(2)},
    {index: logIndex(310), term: term(5)},
  ],
  memberships: [{index: logIndex(310), membership}],
};
const range = {
  previous: {index: logIndex(7), term: term(2)},
  last: {index: logIndex(400), term: term(5)},
  end: 90_000,
};
const nothing: SegmentContents = {places: [], terms: [], memberships: []};

test('contents survive encoding; what takes too many bytes is left out', () => {
  assert.deepEqual(decodeContents(encodeContents(contents)), contents);
  assert.deepEqual(decodeContents(encodeContents(nothing)), nothing);
  assert.equal(decodeContents(encodeContents(null)), null);
  const terms = Array.from({length: 1000}, (_, i) => ({index: logIndex(8 + i), term: term(i)}));
  assert.equal(encodeContents({...contents, terms}).length, 0);
});

test('a header that would be too large with the contents is written without them', () => {
  const names = Array.from({length: 15}, (_, i) => nodeId(`member-${i}`.padEnd(64, 'x')));
  const host = `${'h'.repeat(253)}:65535`;
  const members = names.map(id => ({id, incarnation: 'f'.repeat(16), listen: host, http: host}));
  const large = {...membership, voters: names, votersOutgoing: names, members};
  const places = Array.from({length: 1000}, (_, i) => {
    return {firstIndex: logIndex(8 + 20_000 * i), offset: 70_000 * (i + 1)};
  });
  const fields = {sequence: 2, isStart: false, previousEnd: 80_000_000, identity};
  const previous = {index: logIndex(30_000_000), term: term(5)};
  for (const [membershipInForce, isStated] of [
    [membership, true],
    [large, false],
  ] as const) {
    const bytes = encodeSegmentHeader({
      ...fields,
      previous,
      hardState: {term: term(5), vote: null, commit: logIndex(1)},
      membership: {index: logIndex(1), membership: membershipInForce},
      preceding: {...contents, places},
    });
    const {incarnation} = identity;
    const reading = decodeSegmentHeader(bytes, {sequence: 2, incarnation});
    assert.ok(reading.kind === 'valid');
    assert.equal(reading.header.preceding !== null, isStated);
    assert.deepEqual(reading.header.membership.membership, membershipInForce);
  }
});

test('bytes that are no contents are refused, and nothing else is thrown', () => {
  const encoded = encodeContents(contents);
  const damaged = fc
    .tuple(fc.nat(encoded.length - 1), fc.integer({min: 0, max: 255}))
    .map(([at, byte]) => {
      const bytes = new Uint8Array(encoded);
      bytes[at] = byte;
      return bytes;
    });
  const property = fc.property(fc.oneof(damaged, fc.uint8Array({maxLength: 80})), bytes => {
    try {
      const decoded = decodeContents(bytes);
      assert.equal(decoded === null, bytes.length === 0);
    } catch (error) {
      assert.ok(error instanceof MalformedBytesError, String(error));
    }
  });
  fc.assert(property, {numRuns: 5_000});
});

test('contents that the headers around them contradict are not possible', () => {
  assert.ok(isPossible(contents, range));
  assert.ok(isPossible(nothing, {...range, last: range.previous}));
  const {places, terms, memberships} = contents;
  const wrong: readonly SegmentContents[] = [
    nothing,
    {...contents, places: places.slice(1)},
    {...contents, places: places.toReversed()},
    {...contents, terms: terms.slice(1)},
    {...contents, terms: terms.slice(0, 1)},
    {...contents, terms: terms.toReversed()},
    {...contents, memberships: [...memberships, ...memberships]},
    {...contents, memberships: [{index: logIndex(7), membership}]},
    {...contents, memberships: [{index: logIndex(401), membership}]},
    {...contents, places: [...places, {firstIndex: logIndex(399), offset: 90_000}]},
    {...contents, places: [...places, {firstIndex: logIndex(401), offset: 85_000}]},
  ];
  for (const [i, one] of wrong.entries()) assert.ok(!isPossible(one, range), `${i}`);
  assert.ok(!isPossible(contents, {...range, previous: {...range.previous, term: term(3)}}));
});
