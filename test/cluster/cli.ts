/** The command line as a user runs it: one process a call, its output and its exit code. */
import {spawn} from 'node:child_process';
import {nodeProcessEnvironment, nodeProcessFlags} from '../../src/cli/node-process-settings.ts';
import {killAtExit, mainPath} from './node-process.ts';

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `./rosetta <words>`. */
export function runCli(words: readonly string[], input = ''): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...nodeProcessFlags, mainPath, ...words], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {...nodeProcessEnvironment, ...process.env, NO_COLOR: '1'},
    });
    killAtExit(child);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', reject);
    child.once('close', code => resolve({code, stdout, stderr}));
    child.stdin.end(input);
  });
}
