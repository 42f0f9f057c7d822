import assert from 'node:assert/strict';
import {test} from 'node:test';
import {ByteReader, ByteWriter, copyBytes, readU64} from './bytes.ts';

test('what finish handed out is never written again, whatever its size', () => {
  const writer = new ByteWriter(64);
  const finished: {readonly bytes: Uint8Array; readonly fill: number}[] = [];
  for (const [fill, size] of [10, 200_000, 30, 190_000, 100_000, 200_000, 1].entries()) {
    writer.reset();
    writer.bytes(new Uint8Array(size).fill(fill));
    finished.push({bytes: writer.finish(), fill});
  }
  for (const {bytes, fill} of finished) {
    const reader = new ByteReader(bytes);
    assert.ok(reader.bytesView().every(byte => byte === fill));
    reader.end();
  }
});

test('what a writer finishes shares memory with its own kind only', () => {
  const writer = new ByteWriter();
  const finished = [1, 2].map(value => {
    writer.reset();
    writer.u64(value);
    const bytes = writer.finish();
    copyBytes(bytes);
    return bytes;
  });
  const [first, second] = finished;
  assert.equal(first?.buffer, second?.buffer);
  assert.notEqual(first?.buffer, copyBytes(new Uint8Array(8)).buffer);
  assert.deepEqual(
    finished.map(bytes => readU64(bytes, 0)),
    [1, 2],
  );
});
