import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';
import {AssertionError, entryDataSizeBytesMax} from './raft-library.ts';
import {startCluster} from './testing/memory-cluster.ts';

test('a proposal is as large as the library says, and no larger', () => {
  const cluster = startCluster(1);
  cluster.elect('1');
  cluster.stabilize();
  const raft = cluster.raft('1');
  const result = raft.propose(new Uint8Array(entryDataSizeBytesMax), 1);
  assert.equal(result.type, 'accepted');
  const larger = new Uint8Array(entryDataSizeBytesMax + 1);
  assert.throws(() => raft.propose(larger, 1), AssertionError);
  const text = readFileSync('docs/raft-library.md', 'utf8');
  assert.match(text, /`entryDataSizeBytesMax` bytes at most \(5 MiB\)/);
  assert.equal(entryDataSizeBytesMax, 5 * 1024 * 1024);
});
