/**
 * Where a process sees as little of others as in a container of its own. Needs root, or a kernel
 * that lets users have namespaces.
 */
import {spawnSync} from 'node:child_process';

export type Namespace = 'net' | 'pid';

/**
 * Command that runs another command in new namespaces. With a pid namespace that is a child of the
 * command, killed with it. Empty where this system allows this user no namespaces.
 */
export function otherNamespaces(namespaces: readonly Namespace[]): readonly string[] {
  const flags = namespaces.map(namespace => `--${namespace}`);
  if (namespaces.includes('pid')) flags.push('--fork', '--kill-child');
  for (const asUser of [[], ['--user', '--map-root-user']]) {
    const probe = spawnSync('unshare', [...asUser, ...flags, 'true']);
    if (probe.status === 0) return ['unshare', ...asUser, ...flags];
  }
  return [];
}
