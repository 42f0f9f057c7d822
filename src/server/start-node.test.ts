import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import type {StartNodeOptions} from './start-node.ts';
import {startNode} from './start-node.ts';

test('a number that a flag would not take is refused by its name, and nothing is started', async t => {
  const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'start-node-'));
  t.after(() => fs.rmSync(parent, {recursive: true}));
  const data = path.join(parent, 'data');
  const refused: readonly (readonly [Partial<StartNodeOptions>, RegExp])[] = [
    [{historyAgeMs: 0.5}, /^historyAgeMs must be a whole number from 0 to .*, not 0.5$/],
    [{historyAgeMs: -1}, /^historyAgeMs /],
    [{historyAgeMs: Infinity}, /^historyAgeMs /],
    [{historyAgeMs: 1e12}, /^historyAgeMs /],
    [{historySizeBytesMax: 1.5}, /^historySizeBytesMax /],
    [{historySizeBytesMax: -1}, /^historySizeBytesMax /],
    [{electionTimeoutMs: NaN}, /^electionTimeoutMs /],
    [{electionTimeoutMs: 1e9}, /^electionTimeoutMs /],
    [{electionTimeoutMs: 19, heartbeatMs: 10}, /^electionTimeoutMs /],
    [{heartbeatMs: 12.5}, /^heartbeatMs /],
    [{heartbeatMs: 9}, /^heartbeatMs /],
    [{heartbeatMs: 76}, /^heartbeatMs, 76, must be at most half of electionTimeoutMs, 150$/],
  ];
  for (const [options, message] of refused) {
    const started = startNode({
      id: 'a',
      listen: 'localhost:0',
      http: 'localhost:0',
      data,
      ...options,
    });
    await assert.rejects(started, {code: 'INVALID_REQUEST', message});
  }
  assert.equal(fs.existsSync(data), false);
});
