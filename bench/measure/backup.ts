/** How long `./rosetta snapshot save` takes on a cluster that does nothing else. */
import {statSync} from 'node:fs';
import path from 'node:path';
import {must} from '../../src/base/assert.ts';
import type {BackupFigures} from '../report/results.ts';
import {runToEnd} from '../systems/child-process.ts';
import type {RosettaCluster} from '../systems/rosetta-cluster.ts';
import {rosettaProgram} from '../systems/rosetta-cluster.ts';

const timeoutMs = 180_000;

export async function measureBackup(
  cluster: RosettaCluster,
  directory: string,
): Promise<BackupFigures> {
  const file = path.join(directory, 'backup');
  const port = must(cluster.clientPorts[await cluster.leader()], 'a leader has a port');
  const startedAtMs = performance.now();
  await runToEnd(
    process.execPath,
    [rosettaProgram, 'snapshot', 'save', file, `-endpoints=127.0.0.1:${port}`],
    {timeoutMs},
  );
  const durationMs = performance.now() - startedAtMs;
  return {sizeBytes: statSync(file).size, durationMs};
}
