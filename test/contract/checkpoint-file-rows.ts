/** What is in a checkpoint's file, by our own walk through its pages and by LMDB, as text. */
import assert from 'node:assert/strict';
import {Buffer} from 'node:buffer';
import {walkPages} from '../../src/storage/checkpoint-pages.ts';
import {openRowView} from '../../src/storage/checkpoint-row.ts';
import type {LmdbEnvironment} from '../../src/storage/lmdb-environment.ts';

/** Bytes as latin1. */
export type TextRow = readonly [key: string, value: string];

const everything = {start: Buffer.of(1), end: Buffer.of(255), isReverse: false};

export function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

export function rowsThroughLmdb(environment: LmdbEnvironment): TextRow[] {
  const rows: TextRow[] = [];
  environment.scan(everything, (key, value) => {
    rows.push([text(key), text(value)]);
    return true;
  });
  return rows;
}

/** No page is damaged, and these are the rows, beside those of the checkpoint itself. */
export function assertSoundPages(
  file: string,
  rows: readonly TextRow[],
): ReturnType<typeof walkPages> {
  const found: TextRow[] = [];
  const damages: string[] = [];
  const outline = walkPages(file, {
    onRow: (key, stored) => {
      const value = openRowView(key, stored);
      if (value === null) damages.push(`checksum of ${text(key)}`);
      else if (key[0] !== 0) found.push([text(key), text(value)]);
    },
    onDamage: (offset, problem) => damages.push(`${problem} at ${offset}`),
  });
  assert.deepEqual(damages, []);
  assert.deepEqual(found, rows);
  return outline;
}
