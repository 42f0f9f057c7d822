/** What a crash would leave of a directory in which another thread is at work. */
import fs from 'node:fs';
import path from 'node:path';
import {systemErrorCode} from '../../src/storage/storage-error.ts';

/** Copies `from` into `to`, as far as it is there: what is removed meanwhile may be left out. */
export function crashImage(from: string, to: string): void {
  fs.mkdirSync(to, {recursive: true});
  const entries = unlessGone(() => fs.readdirSync(from, {withFileTypes: true})) ?? [];
  for (const entry of entries) {
    const source = path.join(from, entry.name);
    const target = path.join(to, entry.name);
    if (entry.isDirectory()) crashImage(source, target);
    else unlessGone(() => fs.copyFileSync(source, target));
  }
}

function unlessGone<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return null;
    throw error;
  }
}
