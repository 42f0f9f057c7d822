/**
 * `npm run verify`: everything about the sources that can be judged without running them. Reads
 * only; what it has to remember goes to .build. `npm run fix` repairs what a machine can repair.
 */
import {spawn} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {home, withSetup} from './setup.mjs';

// Lint's memory goes by file: a rule that asks for types can miss what a change elsewhere broke. In
// a clean checkout, as continuous integration has it, there is no memory and nothing is missed.
const prettierCache = ['--cache', '--cache-location', '.build/verify/prettier'];
const parts = [
  ['types', 'tsc', ['-p', '.', '--noEmit', '--tsBuildInfoFile', '.build/verify/types']],
  ['lint', 'eslint', ['.', '--cache', '--cache-location', '.build/verify/eslint']],
  ['format', 'prettier', ['--check', '--log-level', 'warn', ...prettierCache, '.']],
  ['boundaries', 'depcruise', ['--config', '.dependency-cruiser.cjs', 'src', 'test', 'bench']],
  ['dead code', 'knip', ['--no-progress', '--no-config-hints']],
  ['tidy', process.execPath, ['tools/tidy.mjs']],
];
/** As many cores as the smallest machine this runs on. */
const concurrency = 2;

await withSetup({mustBuild: false}, main);

async function main() {
  const startedAt = performance.now();
  fs.mkdirSync(path.join(home, '.build', 'verify'), {recursive: true});
  const waiting = [...parts];
  const failed = [];
  const work = async () => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      const [name, program, args] = part;
      const {status, output, seconds} = await runPart(program, args);
      process.stdout.write(`${status === 0 ? '✔' : '✖'} ${name.padEnd(11)} ${seconds} s\n`);
      if (status !== 0) {
        failed.push(name);
        process.stdout.write(`${output.trimEnd()}\n\n`);
      }
    }
  };
  await Promise.all(Array.from({length: concurrency}, work));
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  process.stdout.write(
    failed.length === 0
      ? `verified in ${seconds} s\n`
      : `failed: ${failed.join(', ')} (${seconds} s; npm run fix repairs format and some lint)\n`,
  );
  process.exitCode = failed.length === 0 ? 0 : 1;
}

function runPart(program, args) {
  const startedAt = performance.now();
  const file = path.isAbsolute(program)
    ? program
    : path.join(home, 'node_modules', '.bin', program);
  return new Promise(resolve => {
    let output = '';
    const child = spawn(file, args, {cwd: home, stdio: ['ignore', 'pipe', 'pipe']});
    child.stdout.on('data', text => (output += text));
    child.stderr.on('data', text => (output += text));
    child.on('error', error => (output += error.message));
    child.on('close', status => {
      resolve({status, output, seconds: ((performance.now() - startedAt) / 1000).toFixed(1)});
    });
  });
}
