import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {mock, test} from 'node:test';
import type {TestContext} from 'node:test';
import {Prng} from '../base/prng.ts';
import {walkPages} from './checkpoint-pages.ts';
import {openRowView} from './checkpoint-row.ts';
import {isDamage, LmdbEnvironment} from './lmdb-environment.ts';

/** Where a file of rows may be; what is there is removed when the test ends. */
function emptyPlace(t: TestContext): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-lmdb-'));
  t.after(() => fs.rmSync(root, {recursive: true, force: true}));
  return path.join(root, 'data.mdb');
}

/** Closed when the test ends. */
function newEnvironment(t: TestContext): LmdbEnvironment {
  const environment = new LmdbEnvironment(emptyPlace(t), {isUnsynced: true});
  t.after(() => environment.close());
  return environment;
}

test('a scan whose visitor throws pins no pages', () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-lmdb-'));
  const file = path.join(root, 'data.mdb');
  const environment = new LmdbEnvironment(file, {isUnsynced: true});
  try {
    const key = Buffer.from('key');
    const rewrite = (): void => {
      environment.transaction(() => environment.put(key, Buffer.alloc(100_000)));
      environment.refresh();
    };
    for (let i = 0; i < 5; i++) rewrite();
    const before = fs.statSync(file).size;
    const range = {start: Buffer.from('a'), end: Buffer.from('z'), isReverse: false};
    const scan = (): void => {
      environment.scan(range, () => {
        throw new Error('the visitor gives up');
      });
    };
    assert.throws(scan, /gives up/);
    // Each leaves the pages of the one before it free, unless a reader still sees them.
    for (let i = 0; i < 30; i++) rewrite();
    const grown = fs.statSync(file).size - before;
    assert.ok(grown < 500_000, `the file has grown by ${grown} bytes`);
  } finally {
    environment.close();
    fs.rmSync(root, {recursive: true, force: true});
  }
});

test('the file of a commit gets its length without another file descriptor', t => {
  t.after(() => mock.restoreAll());
  const environment = newEnvironment(t);
  environment.transaction(() => environment.put(Buffer.from('key'), Buffer.alloc(100_000)));
  const length = fs.statSync(environment.path).size;
  fs.truncateSync(environment.path, length - 4096);
  const refuse = (): never => {
    throw Object.assign(new Error('EMFILE: too many open files'), {code: 'EMFILE'});
  };
  for (const method of ['openSync', 'truncateSync'] as const) mock.method(fs, method, refuse);
  environment.padFile();
  assert.equal(fs.statSync(environment.path).size, length);
});

test('damage is what LMDB finds in the file, and nothing that the system refuses', () => {
  const coded = (code: number | string): Error => Object.assign(new Error('an error'), {code});
  // MDB_PAGE_NOTFOUND, MDB_CORRUPTED, MDB_VERSION_MISMATCH, MDB_INVALID, MDB_CURSOR_FULL.
  const damage = [-30_797, -30_796, -30_794, -30_793, -30_787];
  for (const code of damage) assert.ok(isDamage(coded(code)), `${code}`);
  // What the binding says of an impossible key.
  assert.ok(isDamage(new Error('Invalid key size fffe')));
  // MDB_PANIC, MDB_MAP_FULL, MDB_READERS_FULL, MDB_TLS_FULL, MDB_TXN_FULL, MDB_BAD_RSLOT.
  const momentary = [-30_795, -30_792, -30_790, -30_789, -30_788, -30_783];
  // ENOMEM in both forms.
  for (const code of [...momentary, 12, 'ENOMEM']) assert.ok(!isDamage(coded(code)), `${code}`);
  assert.ok(!isDamage(new RangeError('Array buffer allocation failed')));
  assert.ok(!isDamage('text'));
});

/** Key to size and content of its value; a size of null removes it. */
type Rows = Map<string, {readonly size: number | null; readonly content: number}>;

function randomRows(prng: Prng, count: number): Rows {
  const rows: Rows = new Map();
  while (rows.size < count) {
    const key = `key${prng.uint32() % 20_000}`;
    const isLarge = prng.uint32() % 200 === 0;
    const size = prng.uint32() % 3 === 0 ? null : prng.uint32() % (isLarge ? 30_000 : 300);
    rows.set(key, {size, content: prng.uint32() & 0xff});
  }
  return new Map([...rows].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function writeInParts(environment: LmdbEnvironment, rows: Rows, rowCount: number): void {
  const all = [...rows];
  for (let start = 0; start < all.length; start += rowCount) {
    environment.part(() => {
      for (const [key, {size, content}] of all.slice(start, start + rowCount)) {
        if (size === null) environment.remove(Buffer.from(key));
        else environment.put(Buffer.from(key), Buffer.alloc(size, content));
      }
    });
  }
}

test('what is written in parts is there as a whole, or nothing of it is', t => {
  const environment = newEnvironment(t);
  const file = environment.path;
  const prng = new Prng(11);
  const expected: Rows = new Map();
  for (let commit = 0; commit < 20; commit++) {
    const rows = randomRows(prng, 1 + (prng.uint32() % 3_000));
    const fails = commit % 4 === 3;
    const write = (): void => {
      environment.transaction(() => {
        writeInParts(environment, rows, 1 + (prng.uint32() % 300));
        if (fails) throw new Error('it goes no further');
      });
    };
    if (fails) {
      assert.throws(write, /no further/);
    } else {
      write();
      for (const [key, row] of rows) {
        if (row.size === null) expected.delete(key);
        else expected.set(key, row);
      }
    }
    environment.padFile();
    const found: Rows = new Map();
    const damages: string[] = [];
    const onDamage = (offset: number, problem: string): void => {
      damages.push(`${problem} at ${offset}`);
    };
    walkPages(file, {
      onDamage,
      onFreeListDamage: onDamage,
      onRow: (key, stored, offset) => {
        const value = openRowView(key, stored);
        if (value === null) onDamage(offset, 'checksum');
        else found.set(key.toString(), {size: value.length, content: value[0] ?? 0});
      },
    });
    assert.deepEqual(damages, []);
    const wanted = [...expected].map(([key, row]) => {
      return [key, row.size === 0 ? {size: 0, content: 0} : row] as const;
    });
    assert.deepEqual(found, new Map(wanted.sort(([a], [b]) => (a < b ? -1 : 1))));
  }
});

test('parts write fewer rows the more branches there are, and all of a small checkpoint', t => {
  const environment = newEnvironment(t);
  assert.equal(environment.partedRowCountMax(), 21_666);
  // Two keys of this size are all that a branch holds.
  const key = (i: number): Buffer => Buffer.from(String(i).padStart(1_900, 'x'));
  environment.transaction(() => {
    for (let i = 0; i < 3_000; i++) environment.put(key(i), Buffer.from('value'));
  });
  const max = environment.partedRowCountMax();
  assert.ok(max < 21_666 - 100 && max > 20_000, `${max}`);
});

test('as many rows as parts may write fit, where each costs the most pages', t => {
  const environment = newEnvironment(t);
  // The longest keys there are: three in a leaf, four below a branch.
  const key = (i: number): Buffer => Buffer.from(`\x02${String(i).padStart(1_024, '0')}`);
  const value = Buffer.from('value');
  const baseCount = 66_000;
  environment.transaction(() => {
    for (let i = 0; i < baseCount; i++) environment.append(key(3 * i), value);
  });
  const rowCount = environment.partedRowCountMax();
  assert.ok(rowCount > 18_000 && 3 * rowCount < baseCount, `${rowCount}`);
  environment.transaction(() => {
    for (let start = 0; start < rowCount; start += 256) {
      environment.part(() => {
        const end = Math.min(rowCount, start + 256);
        for (let i = start; i < end; i++) environment.put(key(9 * i + 1), value);
      });
    }
  });
  let found = 0;
  environment.scan({start: key(0), end: key(3 * baseCount), isReverse: false}, () => {
    found += 1;
    return true;
  });
  assert.equal(found, baseCount + rowCount);
});

test('no page is in use and free, however readers lag and however often it is opened', t => {
  const file = emptyPlace(t);
  let environment = new LmdbEnvironment(file, {isUnsynced: true});
  t.after(() => environment.close());
  const prng = new Prng(23);
  const key = (number: number): Buffer => Buffer.from(`\x02${String(number).padStart(9, '0')}`);
  const value = Buffer.alloc(170, 1);
  const rowCount = 60_000;
  environment.transaction(() => {
    for (let i = 0; i < rowCount; i++) environment.append(key(i), value);
  });
  for (let phase = 0; phase < 12; phase++) {
    environment.close();
    environment = new LmdbEnvironment(file, {isUnsynced: true});
    // Its transactions are its own: what it reads stays as it is until it is refreshed.
    const reader = new LmdbEnvironment(file, {isUnsynced: true});
    const rowCountMax = [4_000, 400, 60][prng.uint32() % 3] ?? 0;
    const lag = 1 + (prng.uint32() % 6);
    for (let commit = 0; commit < 20; commit++) {
      if (commit % lag === 0) reader.refresh();
      reader.get(key(0));
      const numbers = Array.from({length: 1 + (prng.uint32() % rowCountMax)}, () => {
        return prng.uint32() % rowCount;
      });
      environment.transaction(() => {
        for (let start = 0; start < numbers.length; start += 256) {
          const part = numbers.slice(start, start + 256);
          environment.part(() => {
            for (const number of part) environment.put(key(number), value);
          });
        }
      });
    }
    reader.close();
    environment.padFile();
    const damages: string[] = [];
    const onDamage = (offset: number, problem: string): void => {
      damages.push(`${problem} at ${offset}`);
    };
    const visitor = {onDamage, onFreeListDamage: onDamage, onRow: () => undefined};
    assert.equal(walkPages(file, visitor).rowCount, rowCount);
    assert.deepEqual(damages, [], `phase ${phase}`);
  }
});
