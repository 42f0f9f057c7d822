import assert from 'node:assert/strict';
import {test} from 'node:test';
import type {Clock} from '../base/clock.ts';
import {silentLogger} from '../base/logger.ts';
import {Rejections} from './rejections.ts';

test('several that dial in vain by turns are each told of once a minute, and all are counted', () => {
  let nowMs = 0;
  const clock: Clock = {
    wallMs: () => nowMs,
    monotonicMs: () => nowMs,
    setTimer: () => ({cancel: () => undefined}),
    afterPoll: () => undefined,
  };
  const lines: string[] = [];
  const warn = (_: object, line: string): void => void lines.push(line);
  const rejections = new Rejections(clock, {...silentLogger, warn});
  const roundCount = 120;
  for (let round = 0; round < roundCount; round++) {
    for (const id of ['node1', 'node2', 'node3']) {
      nowMs += 1_001;
      rejections.note('wrong-cluster', `${id} belongs to another cluster`, undefined);
    }
  }
  const lineCountMax = 3 * (nowMs / 60_000 + 1);
  assert.ok(lines.length >= 3 && lines.length <= lineCountMax, `${lines.length} lines`);
  assert.equal(rejections.counts()['wrong-cluster'], 3 * roundCount);
});
