import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';
import {mutants} from './mutants.ts';

test('each mutant finds its place in the build exactly once', () => {
  for (const {name, edits} of mutants) {
    for (const {file, find} of edits) {
      const built = new URL(`../../../src/${file.replace(/\.ts$/, '.js')}`, import.meta.url);
      const count = readFileSync(built, 'utf8').split(find).length - 1;
      assert.equal(count, 1, `${name}: ${find} in ${file}`);
    }
  }
});
