import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {test} from 'node:test';

const timeout = 60_000;

/** Runs dist/examples/<name>.js as a user would, and returns the lines that it prints. */
async function run(name: string): Promise<string[]> {
  const child = spawn(process.execPath, [`dist/examples/${name}.js`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout,
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  child.stderr.on('data', (text: Buffer) => (errors += text.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  assert.equal(errors, '');
  assert.equal(status, 0);
  return output.trim().split('\n');
}

test('replicated-counter: a state machine of one’s own on rosetta/raft', {timeout}, async () => {
  const [first = '', second = '', third = ''] = await run('replicated-counter');
  assert.match(first, /^[abc] leads, the counter is 100$/);
  assert.match(second, /^[abc] was killed, [abc] leads, the counter is 300$/);
  assert.match(third, /^[abc] is back, and all three say 300$/);
});
