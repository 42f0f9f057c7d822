/** History that a load replaces goes in small pieces: a checkpoint that removed much would be large. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {limits} from '../../src/base/limits.ts';
import {TestCluster} from './test-cluster.ts';

const historySizeBytesMax = 4 * 1024 * 1024;
const valueSizeBytes = 64 * 1024;
const writeIntervalMs = 100;
const seconds = 40;
const secondSizeBytes = (1_000 / writeIntervalMs) * valueSizeBytes;
/** Between two samples of the time index; the last write before one may take it beyond. */
const sampleSizeBytesMax = limits.historySampleSizeBytes + valueSizeBytes;

test('under load a compaction comes every second and removes what a second wrote', () => {
  const cluster = new TestCluster({ids: ['node1'], member: {node: {historySizeBytesMax}}});
  cluster.startAll();
  const leader = cluster.leader();
  const pieces: number[] = [];
  let compactedRevision = 0;
  let mostKept = 0;
  for (let i = 0; i < (seconds * 1_000) / writeIntervalMs; i++) {
    cluster.write(leader, 'key', `${i}`.padEnd(valueSizeBytes));
    cluster.advance(writeIntervalMs);
    const status = leader.node.status();
    mostKept = Math.max(mostKept, (status.revision - status.compactedRevision) * valueSizeBytes);
    if (status.compactedRevision === compactedRevision) continue;
    pieces.push((status.compactedRevision - compactedRevision) * valueSizeBytes);
    compactedRevision = status.compactedRevision;
  }
  const most = secondSizeBytes + sampleSizeBytesMax;
  for (const piece of pieces) assert.ok(piece <= most, `a piece of ${piece} bytes`);
  const secondsBefore = historySizeBytesMax / secondSizeBytes;
  const expectedCount = 0.9 * (seconds - secondsBefore);
  assert.ok(pieces.length >= expectedCount, `${pieces.length} compactions`);
  // What was written since the last look comes on top.
  assert.ok(mostKept <= historySizeBytesMax + most, `${mostKept} bytes were kept`);
});
