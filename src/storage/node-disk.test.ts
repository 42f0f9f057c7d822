import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {diskContract} from '../../test/contract/disk-contract.ts';
import {FakeDisk} from '../../test/sim/fake-disk.ts';
import {nodeDisk} from './node-disk.ts';

diskContract('node disk', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-disk-'));
  const dispose = (): void => fs.rmSync(directory, {recursive: true, force: true});
  return {disk: nodeDisk, directory, dispose};
});

diskContract('fake disk', () => {
  const disk = new FakeDisk();
  disk.makeDirectorySync('/data');
  return {disk, directory: '/data', dispose: () => undefined};
});
