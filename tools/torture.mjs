/**
 * `npm run torture -- --minutes 5`: sets the checkout up and tortures a cluster of real processes.
 * With `--network namespaces` the run gets a network of its own first, which ends with it.
 */
import {spawn} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {withSetup} from './setup.mjs';

const ownNetwork = 'ROSETTA_TORTURE_OWN_NETWORK';
const args = process.argv.slice(2);
const wantsNamespaces = /--network[= ]namespaces/.test(args.join(' '));

await withSetup({}, async () => {
  if (!wantsNamespaces || process.env[ownNetwork] !== undefined) {
    await import('../dist/test/torture/main.js');
    return;
  }
  const self = fileURLToPath(import.meta.url);
  const child = spawn('unshare', ['--net', '--mount', process.execPath, self, ...args], {
    stdio: 'inherit',
    env: {...process.env, [ownNetwork]: '1'},
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  child.on('error', error => {
    process.stderr.write(`rosetta: no network namespace: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on('exit', code => (process.exitCode = code ?? 1));
});
