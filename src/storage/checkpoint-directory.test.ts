import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {moveDamagedCheckpointAside} from './checkpoint-directory.ts';

function fill(root: string, sizeBytes: number): void {
  const environment = path.join(root, 'checkpoint', '000001');
  fs.mkdirSync(environment, {recursive: true});
  fs.writeFileSync(path.join(environment, 'data.mdb'), Buffer.alloc(sizeBytes));
}

test('of two damaged checkpoints the larger one is kept', () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-damaged-'));
  try {
    for (const [sizeBytes, keptSizeBytes] of [
      [5000, 5000],
      [200, 5000],
      [9000, 9000],
    ] as const) {
      fill(root, sizeBytes);
      const kept = moveDamagedCheckpointAside(root);
      const {size} = fs.statSync(path.join(kept, '000001', 'data.mdb'));
      assert.equal(size, keptSizeBytes);
      assert.equal(fs.existsSync(path.join(root, 'checkpoint')), false);
    }
    assert.deepEqual(fs.readdirSync(path.join(root, 'tmp')), []);
  } finally {
    fs.rmSync(root, {recursive: true, force: true});
  }
});
