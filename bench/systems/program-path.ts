/** Which of the programs that a comparison needs are installed, and where they come from. */
import {accessSync, constants} from 'node:fs';
import path from 'node:path';
import {runToEnd} from './child-process.ts';

/** With the Debian package that brings each. */
export const programs = {
  wrk: {package: 'wrk', versionArgs: ['-v'], for: 'load on Rosetta'},
  h2load: {package: 'nghttp2-client', versionArgs: ['--version'], for: 'load on etcd'},
  etcd: {package: 'etcd-server', versionArgs: ['--version'], for: 'the comparison with etcd'},
  'redis-server': {
    package: 'redis-server',
    versionArgs: ['--version'],
    for: 'the comparison with Redis',
  },
  'redis-benchmark': {package: 'redis-tools', versionArgs: ['--version'], for: 'load on Redis'},
} as const;

export type ProgramName = keyof typeof programs;

export const programNames = Object.keys(programs) as ProgramName[];

export function isInstalled(name: ProgramName): boolean {
  return (process.env['PATH'] ?? '').split(path.delimiter).some(directory => {
    try {
      accessSync(path.join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export function missingPrograms(): ProgramName[] {
  return programNames.filter(name => !isInstalled(name));
}

/** The first number with dots that the program says of itself; `?` when it says none. */
export async function programVersion(name: ProgramName): Promise<string> {
  // wrk prints its version and leaves with an error.
  const output = await runToEnd(name, programs[name].versionArgs, {timeoutMs: 5_000}).catch(String);
  return /\d+\.\d+(\.\d+)?/.exec(output)?.[0] ?? '?';
}
