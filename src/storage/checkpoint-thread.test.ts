import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {close, write} from '../../test/contract/checkpoint-store-contract.ts';
import {openLmdbCheckpointStore} from './lmdb-checkpoint-store.ts';

const threads = '/proc/self/task';
const hasProc = fs.existsSync(threads);

/** Of every thread of this process (proc(5), `stat`, field 19). */
function niceness(): number[] {
  return fs.readdirSync(threads).map(id => {
    const stat = fs.readFileSync(path.join(threads, id, 'stat'), 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
  });
}

test(
  'event loops go before a checkpoint where processors are scarce',
  {skip: hasProc ? false : 'no /proc here'},
  async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'checkpoint-thread-'));
    try {
      const own = os.getPriority();
      const store = openLmdbCheckpointStore({directory});
      await write(store, 1, [['row', 'value']]);
      assert.ok(niceness().includes(Math.min(own + 5, 19)), niceness().join());
      assert.equal(os.getPriority(), own, 'it alone stands back');
      await close(store);
    } finally {
      fs.rmSync(directory, {recursive: true, force: true});
    }
  },
);
