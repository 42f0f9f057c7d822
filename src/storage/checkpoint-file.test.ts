import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {CheckpointFile, makeWindow} from './checkpoint-file.ts';
import {LmdbEnvironment} from './lmdb-environment.ts';

test('a window shows what is in the file, whatever memory it is read into', t => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-file-'));
  t.after(() => fs.rmSync(directory, {recursive: true}));
  const environment = new LmdbEnvironment(path.join(directory, 'data.mdb'), {isUnsynced: true});
  environment.transaction(() => {
    for (let i = 0; i < 300; i++) environment.put(Buffer.from(`key${i}`), Buffer.alloc(9_000, i));
  });
  environment.close();
  const content = fs.readFileSync(environment.path);
  const file = new CheckpointFile(environment.path);
  t.after(() => file.close());
  const {pageSize} = file.meta;
  const windows = [
    makeWindow(),
    // Nothing can be read into this one past the page cache; the last one comes after it.
    Buffer.alloc(100 * pageSize + 1).subarray(1),
    makeWindow(),
  ];
  for (const window of windows) {
    for (const position of [0, 7 * pageSize, content.length - pageSize, content.length]) {
      const count = file.readWindow(window, position);
      const expected = content.subarray(position, position + window.length);
      assert.ok(window.subarray(0, count).equals(expected), `at ${position}`);
    }
  }
});
