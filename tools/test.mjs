/**
 * `npm test`: sets the checkout up and runs every test. Files run side by side; those that start
 * whole clusters come last, and of them those that measure time (`*-timed.test.ts`) run alone.
 * Words after the command keep only the files whose path contains one of them:
 * `npm test -- raft kv`.
 */
import os from 'node:os';
import path from 'node:path';
import {run} from 'node:test';
import {home, listFiles, withSetup} from './setup.mjs';

const clusterFolder = path.join('dist', 'test', 'cluster') + path.sep;
/** Of a file. Only what hangs takes so long. */
const timeoutMs = 600_000;
const countNames = ['tests', 'suites', 'pass', 'fail', 'cancelled', 'skipped', 'todo'];

await withSetup({}, main);

async function main() {
  const startedAt = performance.now();
  const words = process.argv.slice(2);
  const files = listFiles('dist')
    .filter(file => file.endsWith('.test.js'))
    .filter(file => words.length === 0 || words.some(word => file.includes(word)));
  const isCluster = file => file.startsWith(clusterFolder);
  const isTimed = file => file.endsWith('-timed.test.js');
  const totals = new Map(countNames.map(name => [name, 0]));
  const failures = [];

  // A developer's own settings must not reach the servers under test.
  for (const name of Object.keys(process.env)) {
    if (name.startsWith('ROSETTA_')) delete process.env[name];
  }
  // Backwards: the longest stand late in the alphabet, and at the end nothing should run alone.
  const clusters = files.filter(isCluster).reverse();
  const concurrency = Math.max(1, os.availableParallelism());
  for (const [group, atOnce] of [
    [files.filter(file => !isCluster(file)), concurrency],
    // Clusters wait for timers now and then.
    [clusters.filter(file => !isTimed(file)), Math.min(3, concurrency + 1)],
    [clusters.filter(isTimed), 1],
  ]) {
    await runFiles(group, {concurrency: atOnce, timeout: timeoutMs}, {totals, failures});
  }

  printFailures(failures);
  process.stdout.write('\n');
  for (const name of countNames) process.stdout.write(`# ${name} ${totals.get(name)}\n`);
  process.stdout.write(`# duration_ms ${Math.round(performance.now() - startedAt)}\n`);
  const isGood = totals.get('fail') + totals.get('cancelled') + failures.length === 0;
  if (files.length === 0) process.stderr.write('rosetta: no test file matches\n');
  process.exitCode = isGood && files.length > 0 ? 0 : 1;
}

/** One line per file when it is through; a line per failed test at once. */
function runFiles(files, {concurrency, timeout}, {totals, failures}) {
  if (files.length === 0) return Promise.resolve();
  const byFile = new Map();
  return new Promise((resolve, reject) => {
    const stream = run({
      files: files.map(file => path.join(home, file)),
      concurrency,
      timeout,
    });
    stream.on('test:pass', event => note(event, 'pass'));
    stream.on('test:fail', event => note(event, 'fail'));
    stream.on('test:stdout', event => process.stdout.write(event.message));
    stream.on('test:stderr', event => process.stderr.write(event.message));
    stream.on('test:diagnostic', ({message, nesting}) => {
      const match = /^(\w+) (\d+)$/.exec(message);
      if (nesting === 0 && match && totals.has(match[1])) {
        totals.set(match[1], totals.get(match[1]) + Number(match[2]));
      }
    });
    stream.on('error', reject);
    stream.on('end', () => {
      flush();
      resolve();
    });
    // A stream is read only when somebody takes its data.
    stream.resume();
  });

  function flush() {
    for (const [file, row] of byFile) {
      if (row.pass + row.fail === 0) {
        row.fail += 1;
        failures.push({file, name: file, error: new Error('the file holds no test')});
      }
      printFile(file, row);
    }
    byFile.clear();
  }

  function note(event, outcome) {
    const file = path.relative(home, event.file ?? event.name);
    // The events of one file come together, so the files before it are through.
    if (!byFile.has(file)) flush();
    const row = byFile.get(file) ?? {pass: 0, fail: 0, ms: 0};
    byFile.set(file, row);
    if (event.nesting === 0) row.ms += event.details.duration_ms;
    // Neither a suite nor a file shows anything: of a file without tests the runner tells as one.
    const isFile = event.nesting === 0 && path.resolve(event.name) === event.file;
    if ((event.details.type === 'suite' || isFile) && outcome === 'pass') return;
    row[outcome] += 1;
    if (outcome === 'fail' && event.details.error?.failureType !== 'subtestsFailed') {
      failures.push({file, name: event.name, error: event.details.error});
      process.stdout.write(`✖ ${file}: ${event.name}\n`);
    }
  }
}

function printFile(file, {pass, fail, ms}) {
  const counts = `${pass} passed${fail === 0 ? '' : `, ${fail} failed`}`;
  process.stdout.write(`${fail === 0 ? '✔' : '✖'} ${file} (${counts}, ${Math.round(ms)} ms)\n`);
}

function printFailures(failures) {
  for (const {file, name, error} of failures) {
    const cause = error?.cause instanceof Error ? error.cause : error;
    const text = cause?.stack ?? cause?.message ?? String(error?.cause ?? error);
    process.stdout.write(`\n✖ ${name}\n  ${file}\n  ${text.replaceAll('\n', '\n  ')}\n`);
  }
}
