/**
 * Runs every scenario beside this file and compares the transcript. ROSETTA_REWRITE=1 writes what
 * the protocol does now into the files instead; review the difference like code.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import {test} from 'node:test';
import {runScenario} from './script.ts';

const directory = path.join(projectRoot(import.meta.dirname), 'test', 'scenarios');
const isRewrite = process.env['ROSETTA_REWRITE'] === '1';

const names = fs
  .readdirSync(directory)
  .filter(name => name.endsWith('.txt'))
  .sort();

test('the scenarios are read from where they are', () => {
  assert.ok(names.length >= 20, `${names.length} scenarios`);
});

for (const name of names) {
  test(`scenario ${name.slice(0, -'.txt'.length)}`, () => {
    const file = path.join(directory, name);
    const expected = fs.readFileSync(file, 'utf8');
    const actual = runScenario(expected);
    if (isRewrite) fs.writeFileSync(file, actual);
    else assert.equal(actual, expected);
  });
}

/** The compiled test lives elsewhere than its scenarios; both are under package.json. */
function projectRoot(from: string): string {
  let directory = from;
  while (!fs.existsSync(path.join(directory, 'package.json'))) {
    const parent = path.dirname(directory);
    assert.notEqual(parent, directory, `no package.json above ${from}`);
    directory = parent;
  }
  return directory;
}
