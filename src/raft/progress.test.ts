import assert from 'node:assert/strict';
import {test} from 'node:test';
import {logIndex, nodeId} from './ids.ts';
import {Progress} from './progress.ts';

const log = {lastIndex: logIndex(100_000), commitIndex: logIndex(0)};

/** Sends up to `lastIndex`, as little as that is in bytes, with more behind it. */
function send(progress: Progress, lastIndex: number): void {
  const {commitIndex} = log;
  progress.noteSent({lastIndex: logIndex(lastIndex), sizeBytes: 1, commitIndex, isCut: true});
}

test('a window is bounded by entries, however small they are', () => {
  const progress = new Progress({
    id: nodeId('2'),
    incarnation: '0123456789abcdef',
    nextIndex: logIndex(1001),
    silenceTicks: 0,
    inflightCountMax: 256,
    inflightSizeBytesMax: 8 << 20,
  });
  progress.noteMatch(logIndex(1000));
  progress.becomeReplicate();
  send(progress, 3000);
  send(progress, 5000);
  assert.equal(progress.needsAppend(log), true);
  send(progress, 7000);
  assert.equal(progress.needsAppend(log), false, 'a returning member takes the rest later');
  progress.noteMatch(logIndex(3000));
  progress.inflights.freeTo(logIndex(3000));
  assert.equal(progress.needsAppend(log), true);
});
