import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import type {ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {otherNamespaces} from '../../test/storage/other-namespaces.ts';
import type {DirectoryLock} from './directory-lock.ts';
import {lockDirectory} from './directory-lock.ts';
import {StorageError} from './storage-error.ts';

type AnnounceIn = Parameters<typeof lockDirectory>[2];

function locked(root: string, announceIn?: AnnounceIn): Promise<DirectoryLock> {
  return new Promise((resolve, reject) => {
    const callback = (error: Error | null, lock: DirectoryLock | null): void => {
      if (lock === null) reject(error ?? new Error('neither error nor lock'));
      else resolve(lock);
    };
    lockDirectory(root, callback, announceIn);
  });
}

/** Those that run still; a test that fails leaves none behind. */
const children = new Set<ChildProcess>();

function withTemporary(body: (root: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-lock-'));
    try {
      await body(root);
    } finally {
      for (const child of children) child.kill('SIGKILL');
      fs.rmSync(root, {recursive: true, force: true});
    }
  };
}

/** A process that takes the lock and stays; it says `held`, or why it does not hold it. */
async function locker(
  root: string,
  wrapper: readonly string[],
): Promise<{child: ChildProcess; said: string}> {
  const module = new URL('./directory-lock.js', import.meta.url).href;
  const script = `
    import {lockDirectory} from ${JSON.stringify(module)};
    lockDirectory(${JSON.stringify(root)}, error => {
      process.stdout.write(error === null ? 'held' : error.message);
      if (error === null) setInterval(() => undefined, 1000);
    });`;
  const [command, ...rest] = [...wrapper, process.execPath];
  const child = spawn(command, [...rest, '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
  return {child, said: chunk.toString()};
}

async function kill9(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

test(
  'a holder in another network namespace is named, and its death frees the lock at once',
  withTemporary(async root => {
    const {child, said} = await locker(root, otherNamespaces(['net']));
    assert.equal(said, 'held');
    await assert.rejects(locked(root), (error: unknown) => {
      assert.ok(error instanceof StorageError);
      assert.match(error.message, new RegExp(`in use by process ${child.pid ?? 0} `));
      return true;
    });
    await kill9(child);
    (await locked(root)).release();
  }),
);

test(
  'a process in network and pid namespaces of its own is refused while the lock is held',
  withTemporary(async root => {
    const lock = await locked(root);
    const wrapper = otherNamespaces(['net', 'pid']);
    const refused = await locker(root, wrapper);
    assert.match(refused.said, new RegExp(`in use by process ${process.pid} `));
    if (refused.child.exitCode === null) await once(refused.child, 'exit');
    lock.release();
    const next = await locker(root, wrapper);
    assert.equal(next.said, 'held');
    await kill9(next.child);
  }),
);

test(
  'where sockets do not work in the directory a warning says who is not kept out',
  withTemporary(async root => {
    const lock = await locked(root, (_directory, callback) => {
      callback({type: 'unheard', reason: 'no sockets'});
    });
    assert.equal(lock.warnings.length, 1);
    assert.match(lock.warnings[0] ?? '', /other containers .*no sockets/);
    // Its own namespace it keeps out all the same.
    await assert.rejects(locked(root), /in use by process/);
    lock.release();
    const next = await locked(root);
    assert.deepEqual(next.warnings, []);
    next.release();
  }),
);

test(
  'who cannot announce itself does not keep the lock',
  withTemporary(async root => {
    const failing: AnnounceIn = (_directory, callback) => {
      callback({type: 'failed', error: new Error('no inodes')});
    };
    await assert.rejects(locked(root, failing), /no inodes/);
    await assert.rejects(
      locked(root, (_directory, callback) => callback({type: 'met'})),
      /in use by another process/,
    );
    assert.ok(!fs.existsSync(path.join(root, 'LOCK')));
    (await locked(root)).release();
    assert.deepEqual(fs.readdirSync(root), ['holder']);
  }),
);
