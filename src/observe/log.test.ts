import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';
import type {LogOptions} from './log.ts';
import {createLogger} from './log.ts';

async function logged(options: Pick<LogOptions, 'level' | 'isTerminal'>): Promise<string> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-log-'));
  const file = path.join(folder, 'log');
  const fd = fs.openSync(file, 'a');
  try {
    const logger = await createLogger({...options, nodeId: 'node1', fd});
    logger.debug({}, 'too small to tell');
    logger.warn({peer: 'node2'}, 'gone\nfor good');
    return fs.readFileSync(file, 'utf8');
  } finally {
    fs.closeSync(fd);
    fs.rmSync(folder, {recursive: true});
  }
}

test('a log that is not read on a terminal is one JSON object per line, written at once', async () => {
  const lines = (await logged({level: 'info', isTerminal: false})).trimEnd().split('\n');
  assert.equal(lines.length, 1);
  const entry = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  assert.equal(entry['level'], 'warn');
  assert.equal(entry['node'], 'node1');
  assert.equal(entry['peer'], 'node2');
  assert.equal(entry['msg'], 'gone\nfor good');
  assert.match(String(entry['time']), /^\d{4}-\d\d-\d\dT/);
});

test('a terminal gets the level and the message in words', async () => {
  const text = await logged({level: 'info', isTerminal: true});
  assert.match(text, /WARN/);
  assert.match(text, /gone/);
  assert.ok(!text.includes('too small'));
});
