import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type {TestContext} from 'node:test';
import {test} from 'node:test';
import {Prng} from '../base/prng.ts';
import {DirectFileWriter, openDirectFileWriter} from './direct-file-writer.ts';
import {directFlag} from './direct-io.ts';

const mib = 1024 * 1024;

function temporaryFile(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'direct-file-writer-'));
  t.after(() => fs.rmSync(directory, {recursive: true}));
  return path.join(directory, 'file');
}

/** In pieces of any size, some larger than a write. */
async function writeInPieces(writer: DirectFileWriter, bytes: Buffer): Promise<void> {
  const prng = new Prng(bytes.length);
  for (let at = 0; at < bytes.length;) {
    const piece = Buffer.from(bytes.subarray(at, at + 1 + (prng.uint32() % (mib + 70_000))));
    await writer.write(piece);
    // The writer has taken a copy.
    piece.fill(0);
    at += piece.length;
  }
}

function content(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let at = 0; at + 4 <= sizeBytes; at += 4) bytes.writeUInt32LE(at, at);
  return bytes;
}

test('a file of any size holds what was written', async t => {
  for (const size of [0, 1, 4096, mib - 1, mib, mib + 1, 2 * mib, 5 * mib + 12_345]) {
    const file = temporaryFile(t);
    const writer = await openDirectFileWriter(file, 0o600);
    await writeInPieces(writer, content(size));
    await writer.finish();
    await writer.close();
    assert.ok(fs.readFileSync(file).equals(content(size)), `${size} bytes`);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  }
});

test(
  'whole writes go past the page cache, as it asks for',
  {skip: directFlag === null},
  async t => {
    const file = temporaryFile(t);
    const handle = await fs.promises.open(file, 'wx');
    const direct = await fs.promises.open(file, fs.constants.O_WRONLY | (directFlag ?? 0));
    const {mock: past} = t.mock.method(direct, 'write');
    const {mock: cached} = t.mock.method(handle, 'write');
    const writer = new DirectFileWriter(handle, direct);
    await writeInPieces(writer, content(3 * mib + 7));
    await writer.finish();
    await writer.close();
    const sizesAndPositions = (calls: readonly {readonly arguments: unknown[]}[]): unknown[] =>
      calls.map(call => call.arguments.slice(2));
    assert.deepEqual(sizesAndPositions(past.calls), [
      [mib, 0],
      [mib, mib],
      [mib, 2 * mib],
    ]);
    assert.deepEqual(sizesAndPositions(cached.calls), [[7, 3 * mib]]);
    assert.ok(fs.readFileSync(file).equals(content(3 * mib + 7)));
  },
);

test('what cannot be written past the page cache goes through it', async t => {
  const file = temporaryFile(t);
  const handle = await fs.promises.open(file, 'wx');
  const writer = new DirectFileWriter(handle, await fs.promises.open(file, 'r'));
  await writeInPieces(writer, content(3 * mib + 7));
  await writer.finish();
  await writer.close();
  assert.ok(fs.readFileSync(file).equals(content(3 * mib + 7)));
});

test('so does what is left when a write past it stops half-way', async t => {
  const file = temporaryFile(t);
  const handle = await fs.promises.open(file, 'wx');
  const direct = await fs.promises.open(file, 'r+');
  const write = direct.write.bind(direct) as (...call: unknown[]) => Promise<unknown>;
  let callCount = 0;
  t.mock.method(direct, 'write', (bytes: Buffer, offset: number, size: number, at: number) => {
    callCount += 1;
    if (callCount < 3) return write(bytes, offset, callCount === 2 ? 5_000 : size, at);
    return Promise.reject(Object.assign(new Error('not a whole block'), {code: 'EINVAL'}));
  });
  const writer = new DirectFileWriter(handle, direct);
  await writeInPieces(writer, content(4 * mib + 7));
  await writer.finish();
  await writer.close();
  assert.equal(callCount, 3);
  assert.ok(fs.readFileSync(file).equals(content(4 * mib + 7)));
});

const hasFullDisk = fs.existsSync('/dev/full');

test('a full disk is an error, once it is known', {skip: !hasFullDisk}, async () => {
  const open = (): Promise<fs.promises.FileHandle> => fs.promises.open('/dev/full', 'r+');
  const small = new DirectFileWriter(await open(), await open());
  await small.write(content(10));
  await assert.rejects(small.finish(), {code: 'ENOSPC'});
  await small.close();
  const large = new DirectFileWriter(await open(), await open());
  await large.write(content(mib));
  await assert.rejects(large.finish(), {code: 'ENOSPC'});
  await assert.rejects(large.write(content(mib)), {code: 'ENOSPC'});
  await large.close();
});

test('its handles are closed whatever closing one of them says', async t => {
  const file = temporaryFile(t);
  const handle = await fs.promises.open(file, 'wx');
  const direct = await fs.promises.open(file, 'r+');
  t.after(() => direct.close());
  t.mock.method(direct, 'close', () => Promise.reject(new Error('EIO')), {times: 1});
  const writer = new DirectFileWriter(handle, direct);
  await assert.rejects(writer.close(), /EIO/);
  assert.equal(handle.fd, -1);
});

test('a file that is there is left alone', async t => {
  const file = temporaryFile(t);
  fs.writeFileSync(file, 'mine');
  await assert.rejects(openDirectFileWriter(file, 0o600), {code: 'EEXIST'});
  assert.equal(fs.readFileSync(file, 'latin1'), 'mine');
});
