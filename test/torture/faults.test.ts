import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdirSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {killAtExit} from '../cluster/node-process.ts';
import {problemOfFailedSync} from './faults.ts';
import type {Met} from './sync-trace.ts';
import {SyncTrace, canTrace} from './sync-trace.ts';

/** Goes on whatever a sync says. */
const swallows = `
  const file = require('node:fs').openSync(process.argv[1], 'w');
  setInterval(() => require('node:fs').fdatasync(file, () => undefined), 20);
  console.log('ready');
`;
const asksForNone = `
  setInterval(() => undefined, 1_000);
  console.log('ready');
`;

async function metBy(t: TestContext, program: string, msMax: number): Promise<Met> {
  const directory = mkdtempSync(join(tmpdir(), 'rosetta-sync-trace-'));
  mkdirSync(join(directory, 'wal'));
  const child = spawn(process.execPath, ['-e', program, join(directory, 'wal', 'file')]);
  killAtExit(child);
  t.after(() => {
    child.kill('SIGKILL');
    rmSync(directory, {recursive: true, force: true});
  });
  await once(child.stdout, 'data');
  const traced = {id: 'node1', pid: child.pid ?? 0, isRunning: true};
  const trace = new SyncTrace(traced, directory, 'error=EIO:when=1');
  await trace.metOrEnded(msMax);
  const met = await trace.end();
  assert.equal(child.exitCode, null, 'it still runs');
  return met;
}

test('a process that goes on after a failed fdatasync is a problem', async t => {
  if (!(await canTrace())) {
    t.skip('there is no strace, or it may not trace');
    return;
  }
  const met = await metBy(t, swallows, 10_000);
  assert.equal(met, 'log');
  assert.match(problemOfFailedSync(met, null, 0) ?? '', /goes on/);
});

test('a fault of a disk that was asked for nothing did not strike', async t => {
  if (!(await canTrace())) {
    t.skip('there is no strace, or it may not trace');
    return;
  }
  const met = await metBy(t, asksForNone, 500);
  assert.equal(met, 'none');
  assert.equal(problemOfFailedSync(met, null, 0), null);
});

test('a failed fdatasync ends a node with exit code 1 and one line, and nothing else ends it', () => {
  const exit = {code: 1, signal: null};
  assert.equal(problemOfFailedSync('log', exit, 1), null);
  assert.match(problemOfFailedSync('log', exit, 2) ?? '', /one clear line/);
  assert.match(problemOfFailedSync('log', {code: 7, signal: null}, 1) ?? '', /one clear line/);
  assert.match(problemOfFailedSync('none', exit, 1) ?? '', /no fdatasync failed/);
});
