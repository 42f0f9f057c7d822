import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';
import {survives} from '../seed-pool.ts';
import {mutants} from './mutants.ts';
import {hasSeen} from './run-mutants.ts';

test('each mutant finds its place in the build exactly once', () => {
  for (const {name, edits} of mutants) {
    for (const {file, find} of edits) {
      const built = new URL(`../../../src/${file.replace(/\.ts$/, '.js')}`, import.meta.url);
      const count = readFileSync(built, 'utf8').split(find).length - 1;
      assert.equal(count, 1, `${name}: ${find} in ${file}`);
    }
  }
});

test('a mutant is seen by a check, on a seed that holds without it', () => {
  const overrides = {chaosMs: 1_000, size: 1};
  const seen = (check: string | null): boolean =>
    hasSeen({seed: 1, violation: check === null ? null : {check, message: ''}}, overrides);
  assert.equal(seen('histories are linearizable'), true);
  assert.equal(seen(survives), false);
  assert.equal(seen(null), false);
});
