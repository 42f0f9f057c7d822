/**
 * A disk in memory that forgets. Writes lie in a volatile layer until a sync; a crash keeps, drops
 * or tears each of them by seed, and undoes directory changes that were not synced. Faults: a
 * budget of bytes (ENOSPC), one EIO on the next write or sync.
 */
import path from 'node:path';
import {assert} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {Disk, DiskFile} from '../../src/storage/disk.ts';

const sectorSizeBytes = 512;

type Schedule = (operation: () => void) => void;

interface PendingWrite {
  readonly position: number;
  readonly bytes: Uint8Array;
}

class FakeInode {
  /** What a crash cannot take away. */
  durable = new Uint8Array(0);
  /** What readers see. */
  visible = new Uint8Array(0);
  pending: PendingWrite[] = [];

  write(bytes: Uint8Array, position: number): void {
    this.visible = patched(this.visible, bytes, position);
    this.pending.push({position, bytes: new Uint8Array(bytes)});
  }

  sync(): void {
    this.durable = new Uint8Array(this.visible);
    this.pending = [];
  }

  crash(prng: Prng): void {
    let content = this.durable;
    for (const write of this.pending) {
      const fate = prng.integer({min: 0, max: 2});
      if (fate === 0) content = patched(content, write.bytes, write.position);
      if (fate !== 1) continue;
      for (let at = 0; at < write.bytes.length; at += sectorSizeBytes) {
        if (prng.integer({min: 0, max: 1}) === 0) continue;
        const sector = write.bytes.subarray(at, at + sectorSizeBytes);
        content = patched(content, sector, write.position + at);
      }
    }
    this.durable = new Uint8Array(content);
    this.visible = new Uint8Array(content);
    this.pending = [];
  }
}

export class FakeDisk implements Disk {
  #visible = new Map<string, FakeInode>();
  #durable = new Map<string, FakeInode>();
  readonly #directories = new Set<string>(['/']);
  readonly #schedule: Schedule;
  /** Rises at a crash; operations of before then never end. */
  #life = 0;
  /** Bytes that files may still grow by. */
  spaceSizeBytes = Number.POSITIVE_INFINITY;
  failNextWrite: 'EIO' | null = null;
  failNextSync: 'EIO' | null = null;
  syncCount = 0;
  /** Synchronous changes that still succeed; the one after them throws, and all later ones. */
  changesLeft = Number.POSITIVE_INFINITY;

  constructor(schedule: Schedule = setImmediate) {
    this.#schedule = schedule;
  }

  get life(): number {
    return this.#life;
  }

  crash(prng: Prng): void {
    this.#life++;
    const names = new Set([...this.#visible.keys(), ...this.#durable.keys()]);
    const after = new Map<string, FakeInode>();
    for (const name of names) {
      const visible = this.#visible.get(name);
      const durable = this.#durable.get(name);
      const isKept = visible === durable || prng.integer({min: 0, max: 1}) === 0;
      const inode = isKept ? visible : durable;
      if (inode !== undefined) after.set(name, inode);
    }
    for (const inode of new Set(after.values())) inode.crash(prng);
    this.#visible = after;
    this.#durable = new Map(after);
  }

  /** The content of a file, to look at or to damage: a copy. */
  content(file: string): Uint8Array {
    return new Uint8Array(this.#inode(file).visible);
  }

  replace(file: string, bytes: Uint8Array): void {
    const inode = this.#inode(file);
    inode.visible = new Uint8Array(bytes);
    inode.sync();
  }

  /** Called by every synchronous change: where a test puts a crash between two of them. */
  countChange(): void {
    if (this.changesLeft <= 0) throw new Error('the crash comes here');
    this.changesLeft--;
  }

  openSync(file: string, mode: 'create' | 'open'): DiskFile {
    if (mode === 'create') {
      this.countChange();
      if (this.#visible.has(file)) throw systemError('EEXIST', file);
      this.#visible.set(file, new FakeInode());
    }
    return new FakeFile(this, this.#inode(file), this.#schedule);
  }

  existsSync(file: string): boolean {
    return this.#visible.has(file) || this.#directories.has(file);
  }

  listSync(directory: string): readonly string[] {
    if (!this.#directories.has(directory)) throw systemError('ENOENT', directory);
    const all = [...this.#visible.keys(), ...this.#directories];
    const children = all.filter(name => name !== directory && path.dirname(name) === directory);
    return children.map(name => path.basename(name)).sort();
  }

  makeDirectorySync(directory: string): void {
    for (let level = directory; level !== '/'; level = path.dirname(level)) {
      this.#directories.add(level);
    }
  }

  renameSync(source: string, target: string): void {
    this.countChange();
    const inode = this.#inode(source);
    this.#visible.delete(source);
    this.#visible.set(target, inode);
  }

  removeSync(file: string): void {
    this.countChange();
    for (const name of [...this.#visible.keys()]) {
      if (name === file || name.startsWith(`${file}/`)) this.#visible.delete(name);
    }
    for (const name of [...this.#directories]) {
      if (name === file || name.startsWith(`${file}/`)) this.#directories.delete(name);
    }
  }

  syncDirectorySync(directory: string): void {
    this.countChange();
    for (const name of new Set([...this.#visible.keys(), ...this.#durable.keys()])) {
      if (path.dirname(name) !== directory) continue;
      const inode = this.#visible.get(name);
      if (inode === undefined) this.#durable.delete(name);
      else this.#durable.set(name, inode);
    }
  }

  #inode(file: string): FakeInode {
    const inode = this.#visible.get(file);
    if (inode === undefined) throw systemError('ENOENT', file);
    return inode;
  }
}

class FakeFile implements DiskFile {
  readonly #disk: FakeDisk;
  readonly #inode: FakeInode;
  readonly #schedule: Schedule;
  readonly #life: number;
  #isOpen = true;

  constructor(disk: FakeDisk, inode: FakeInode, schedule: Schedule) {
    this.#disk = disk;
    this.#inode = inode;
    this.#schedule = schedule;
    this.#life = disk.life;
  }

  write(bytes: Uint8Array, position: number, callback: (error: Error | null) => void): void {
    this.#later(() => this.writeSync(bytes, position), callback);
  }

  sync(callback: (error: Error | null) => void): void {
    this.#later(() => this.syncSync(), callback);
  }

  writeSync(bytes: Uint8Array, position: number): void {
    this.#disk.countChange();
    assert(this.#isOpen, 'write to a closed file');
    if (this.#disk.failNextWrite !== null) {
      this.#disk.failNextWrite = null;
      throw systemError('EIO', 'write');
    }
    const growth = Math.max(0, position + bytes.length - this.#inode.visible.length);
    if (growth > this.#disk.spaceSizeBytes) throw systemError('ENOSPC', 'write');
    this.#disk.spaceSizeBytes -= growth;
    this.#inode.write(bytes, position);
  }

  syncSync(): void {
    this.#disk.countChange();
    assert(this.#isOpen, 'sync of a closed file');
    this.#disk.syncCount++;
    if (this.#disk.failNextSync !== null) {
      this.#disk.failNextSync = null;
      // The pages look clean from here on, and are not on the disk.
      this.#inode.pending = [];
      throw systemError('EIO', 'fdatasync');
    }
    this.#inode.sync();
  }

  truncateSync(sizeBytes: number): void {
    this.#disk.countChange();
    this.#inode.visible = this.#inode.visible.slice(0, sizeBytes);
  }

  readSync(target: Uint8Array, position: number): number {
    assert(this.#isOpen, 'read of a closed file');
    const bytes = this.#inode.visible.subarray(position, position + target.length);
    target.set(bytes);
    return bytes.length;
  }

  sizeBytes(): number {
    return this.#inode.visible.length;
  }

  closeSync(): void {
    assert(this.#isOpen, 'a file is closed once');
    this.#isOpen = false;
  }

  #later(operation: () => void, callback: (error: Error | null) => void): void {
    this.#schedule(() => {
      if (this.#disk.life !== this.#life) return;
      let failure: Error | null = null;
      try {
        operation();
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error));
      }
      this.#schedule(() => {
        if (this.#disk.life === this.#life) callback(failure);
      });
    });
  }
}

function patched(old: Uint8Array, bytes: Uint8Array, position: number): Uint8Array<ArrayBuffer> {
  const size = Math.max(old.length, position + bytes.length);
  const content = new Uint8Array(size);
  content.set(old);
  content.set(bytes, position);
  return content;
}

function systemError(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), {code});
}
