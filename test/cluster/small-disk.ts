/**
 * A small file system of its own for some nodes: a tmpfs in a mount namespace that a helper
 * process holds open and that vanishes with it, whatever becomes of the test. Needs root, or a
 * kernel that lets users have namespaces.
 */
import {spawn, spawnSync} from 'node:child_process';
import {mkdirSync} from 'node:fs';
import type {TestContext} from 'node:test';
import {atEnd} from './at-end.ts';
import {eventually} from './eventually.ts';
import {killAtExit} from './node-process.ts';

export interface SmallDisk {
  /** As the nodes see it. */
  readonly directory: string;
  /** As the test sees it. */
  readonly outside: string;
  /** Command that runs another command where the disk is. */
  readonly wrapper: readonly string[];
}

/** Null: this system allows no mounts to this user. Ends with the test. */
export async function smallDisk(
  context: TestContext,
  directory: string,
  sizeMiB: number,
): Promise<SmallDisk | null> {
  const mounted = await mountSmallDisk(directory, sizeMiB);
  if (mounted !== null) atEnd(context, mounted.unmount);
  return mounted?.disk ?? null;
}

/** As `smallDisk`, for callers that end it themselves. */
export async function mountSmallDisk(
  directory: string,
  sizeMiB: number,
): Promise<{readonly disk: SmallDisk; readonly unmount: () => void} | null> {
  const asUser = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const probe = spawnSync('unshare', [
    ...asUser,
    '--mount',
    'mount',
    '-t',
    'tmpfs',
    'none',
    '/mnt',
  ]);
  if (probe.status !== 0) return null;
  mkdirSync(directory, {recursive: true});
  const script = `mount -t tmpfs -o size=${sizeMiB}m none "$0" && echo mounted && exec cat`;
  const holder = spawn('unshare', [...asUser, '--mount', 'sh', '-c', script, directory], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  killAtExit(holder);
  const unmount = (): void => {
    holder.stdin.end();
  };
  const {pid} = holder;
  if (pid === undefined) return null;
  let said = '';
  holder.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await eventually('the small disk', 5_000, () => (said.includes('mounted') ? true : null));
  const enter = ['nsenter', `--target=${pid}`, '--mount'];
  if (asUser.length > 0) enter.push('--user', '--preserve-credentials');
  const outside = `/proc/${pid}/root${directory}`;
  return {disk: {directory, outside, wrapper: enter}, unmount};
}
