import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {mock, test} from 'node:test';
import {isDamage, LmdbEnvironment} from './lmdb-environment.ts';

test('a scan whose visitor throws pins no pages', () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-lmdb-'));
  const file = path.join(root, 'data.mdb');
  const environment = new LmdbEnvironment(file, {isUnsynced: true});
  try {
    const key = Buffer.from('key');
    const rewrite = (): void => {
      environment.transaction(() => environment.put(key, Buffer.alloc(100_000)));
      environment.refresh();
    };
    for (let i = 0; i < 5; i++) rewrite();
    const before = fs.statSync(file).size;
    const range = {start: Buffer.from('a'), end: Buffer.from('z'), isReverse: false};
    const scan = (): void => {
      environment.scan(range, () => {
        throw new Error('the visitor gives up');
      });
    };
    assert.throws(scan, /gives up/);
    // Each leaves the pages of the one before it free, unless a reader still sees them.
    for (let i = 0; i < 30; i++) rewrite();
    const grown = fs.statSync(file).size - before;
    assert.ok(grown < 500_000, `the file has grown by ${grown} bytes`);
  } finally {
    environment.close();
    fs.rmSync(root, {recursive: true, force: true});
  }
});

test('the file of a commit gets its length without another file descriptor', t => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-lmdb-'));
  const environment = new LmdbEnvironment(path.join(root, 'data.mdb'), {isUnsynced: true});
  t.after(() => {
    mock.restoreAll();
    environment.close();
    fs.rmSync(root, {recursive: true, force: true});
  });
  environment.transaction(() => environment.put(Buffer.from('key'), Buffer.alloc(100_000)));
  const length = fs.statSync(environment.path).size;
  fs.truncateSync(environment.path, length - 4096);
  const refuse = (): never => {
    throw Object.assign(new Error('EMFILE: too many open files'), {code: 'EMFILE'});
  };
  for (const method of ['openSync', 'truncateSync'] as const) mock.method(fs, method, refuse);
  environment.padFile();
  assert.equal(fs.statSync(environment.path).size, length);
});

test('damage is what LMDB finds in the file, and nothing that the system refuses', () => {
  const coded = (code: number | string): Error => Object.assign(new Error('an error'), {code});
  // MDB_PAGE_NOTFOUND, MDB_CORRUPTED, MDB_VERSION_MISMATCH, MDB_INVALID, MDB_CURSOR_FULL.
  const damage = [-30_797, -30_796, -30_794, -30_793, -30_787];
  for (const code of damage) assert.ok(isDamage(coded(code)), `${code}`);
  // What the binding says of an impossible key.
  assert.ok(isDamage(new Error('Invalid key size fffe')));
  // MDB_PANIC, MDB_MAP_FULL, MDB_READERS_FULL, MDB_TLS_FULL, MDB_TXN_FULL, MDB_BAD_RSLOT.
  const momentary = [-30_795, -30_792, -30_790, -30_789, -30_788, -30_783];
  // ENOMEM in both forms.
  for (const code of [...momentary, 12, 'ENOMEM']) assert.ok(!isDamage(coded(code)), `${code}`);
  assert.ok(!isDamage(new RangeError('Array buffer allocation failed')));
  assert.ok(!isDamage('text'));
});
