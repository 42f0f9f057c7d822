/**
 * Makes the checkout runnable: installs what package-lock.json names, compiles what changed. Says
 * nothing and takes a moment when there is nothing to do. Any number of processes may call it at
 * once; one works, the others wait for it.
 *
 *   node tools/setup.mjs [--quiet]     --quiet: the lines of progress go to stderr
 */
import {spawnSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {bundle} from './bundle.mjs';

export const home = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

const sourceFolders = ['src', 'test', 'bench', 'examples'];
const stampFile = path.join(home, 'dist', 'build-stamp');
const nodeVersionMin = [20, 20];

/** Throws SetupError with one clear line when something cannot be done. */
export async function setup({quiet = false, mustBuild = true} = {}) {
  requireNodeVersion();
  if (isInstalled() && (!mustBuild || isBuilt())) return;
  const say = line => (quiet ? process.stderr : process.stdout).write(`rosetta: ${line}\n`);
  const release = await lock();
  try {
    // Another process may have done the work while this one waited.
    if (!isInstalled()) install(say);
    if (!isInstalled()) throw new SetupError('npm left packages out; try once more');
    if (mustBuild && !isBuilt()) await build(say);
  } finally {
    release();
  }
}

export class SetupError extends Error {}

function requireNodeVersion() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const isOld =
    major < nodeVersionMin[0] || (major === nodeVersionMin[0] && minor < nodeVersionMin[1]);
  if (isOld) {
    throw new SetupError(`Node.js 20.20 or newer is needed, this is ${process.versions.node}`);
  }
}

/**
 * npm writes node_modules/.package-lock.json last, so it tells what is completely installed; but an
 * install that outlived its caller may have worked beside the next one, and left packages out.
 */
function isInstalled() {
  const wanted = readPackages(path.join(home, 'package-lock.json'));
  if (wanted === null) throw new SetupError('package-lock.json is missing or damaged');
  const installed = readPackages(path.join(home, 'node_modules', '.package-lock.json'));
  if (installed === null) return false;
  for (const [name, entry] of Object.entries(wanted)) {
    // Optional packages are those of other platforms.
    if (name === '' || entry.optional === true) continue;
    if (installed[name]?.version !== entry.version) return false;
    if (!fs.existsSync(path.join(home, name, 'package.json'))) return false;
  }
  return true;
}

function readPackages(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')).packages ?? null;
  } catch {
    return null;
  }
}

/**
 * `npm install` rather than `npm ci`: both take exactly the versions of package-lock.json, but ci
 * refuses a lock that lacks an optional package of another platform.
 */
function install(say) {
  say('installing packages, once …');
  // npm believes it of packages that are not there.
  const hiddenLock = path.join(home, 'node_modules', '.package-lock.json');
  try {
    fs.rmSync(hiddenLock, {force: true});
  } catch (error) {
    throw new SetupError(`the packages cannot be installed: ${error.message}`);
  }
  const flags = ['--no-save', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund'];
  const result = spawnSync('npm', ['install', ...flags, '--loglevel=error'], {
    cwd: home,
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  if (result.error) throw new SetupError(`npm cannot be run: ${result.error.message}`);
  if (result.status !== 0) {
    const reason = result.stderr.trim().split('\n').slice(0, 8).join('\n');
    throw new SetupError(`the packages could not be installed\n${reason}`);
  }
}

/** Names, sizes and times of everything the compiler reads. */
function sourceStamp() {
  const hash = createHash('sha256');
  const add = file => {
    const {size, mtimeMs} = fs.statSync(path.join(home, file));
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  };
  for (const folder of sourceFolders) {
    for (const file of listFiles(folder)) if (file.endsWith('.ts')) add(file);
  }
  for (const file of ['tsconfig.json', 'tools/bundle.mjs']) add(file);
  const {packages} = JSON.parse(fs.readFileSync(path.join(home, 'package-lock.json'), 'utf8'));
  for (const name of ['typescript', 'esbuild', 'pino', 'pino-pretty', 'prom-client']) {
    hash.update(`${name} ${packages[`node_modules/${name}`]?.version ?? ''}\n`);
  }
  return hash.digest('hex');
}

function isBuilt() {
  try {
    return fs.readFileSync(stampFile, 'utf8') === sourceStamp();
  } catch (error) {
    if (error.code === 'ENOENT') return false;
    throw error;
  }
}

async function build(say) {
  say('building …');
  fs.rmSync(stampFile, {force: true});
  // Taken before the compiler reads: a file saved meanwhile makes the next call build again.
  const stamp = sourceStamp();
  const compiler = path.join(home, 'node_modules', 'typescript', 'bin', 'tsc');
  const result = spawnSync(process.execPath, [compiler, '-p', home, '--pretty', 'false'], {
    cwd: home,
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (result.error) throw new SetupError(`the compiler cannot be run: ${result.error.message}`);
  if (result.status !== 0) {
    throw new SetupError(
      `the sources do not compile\n${(result.stdout + result.stderr).trimEnd()}`,
    );
  }
  removeOrphans();
  await bundleProgram();
  fs.writeFileSync(stampFile, stamp);
}

async function bundleProgram() {
  // Chunks carry a hash in their names: those of earlier builds would stay for ever.
  fs.rmSync(path.join(home, 'dist', 'program'), {recursive: true, force: true});
  try {
    await bundle(home);
  } catch (error) {
    throw new SetupError(`the program cannot be bundled: ${error.message}`);
  }
}

/** Output of a source that is gone must not run as a test, nor be imported by mistake. */
function removeOrphans() {
  for (const folder of sourceFolders) {
    for (const file of listFiles(path.join('dist', folder))) {
      const source = file
        .slice('dist/'.length)
        .replace(/\.map$/, '')
        .replace(/(\.d\.ts|\.js)$/, '.ts');
      if (!fs.existsSync(path.join(home, source))) fs.rmSync(path.join(home, file));
    }
  }
}

/** Files below a folder, relative to the checkout, in order. */
export function listFiles(folder) {
  const root = path.join(home, folder);
  if (!fs.existsSync(root)) return [];
  return fs
    .readdirSync(root, {recursive: true, withFileTypes: true})
    .filter(entry => entry.isFile())
    .map(entry => path.join(path.relative(home, entry.parentPath ?? entry.path), entry.name))
    .sort();
}

/**
 * One holder at a time: a listening local socket, which the system frees however its owner ends.
 * Who comes later connects and is told by the closing connection. Resolves to the release.
 */
async function lock() {
  const address = lockAddress();
  for (;;) {
    const waiting = new Set();
    const server = await listen(address, waiting);
    if (server !== null) {
      return () => {
        server.close();
        for (const socket of waiting) socket.destroy();
      };
    }
    if (!(await waitForClose(address)) && isSocketFile(address)) fs.rmSync(address, {force: true});
  }
}

function lockAddress() {
  const name = `rosetta-setup-${createHash('sha256').update(home).digest('hex').slice(0, 24)}`;
  if (process.platform === 'linux') return `\0${name}`;
  if (process.platform === 'win32') return `\\\\.\\pipe\\${name}`;
  return path.join(os.tmpdir(), `${name}.sock`);
}

function isSocketFile(address) {
  return process.platform !== 'linux' && process.platform !== 'win32' && fs.existsSync(address);
}

/** Null when another process listens there. */
function listen(address, waiting) {
  return new Promise((resolve, reject) => {
    const server = net.createServer(socket => {
      waiting.add(socket);
      socket.on('error', () => undefined);
    });
    server.on('error', error => {
      if (error.code === 'EADDRINUSE') resolve(null);
      else reject(new SetupError(`cannot take the build lock: ${error.message}`));
    });
    server.listen(address, () => {
      server.unref();
      resolve(server);
    });
  });
}

/** False when nobody listens. */
function waitForClose(address) {
  return new Promise(resolve => {
    let isConnected = false;
    const socket = net.connect(address);
    socket.on('connect', () => (isConnected = true));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(isConnected));
    socket.resume();
  });
}

/** Runs `main` with the checkout set up; prints a SetupError as one line and exits with 1. */
export async function withSetup(options, main) {
  try {
    await setup(options);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`rosetta: ${error.message}\n`);
    process.exit(1);
  }
  await main();
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await withSetup({quiet: process.argv.includes('--quiet')}, () => undefined);
}
