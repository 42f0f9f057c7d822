/**
 * A disk in memory that forgets. Writes lie in a volatile layer until a sync; a crash keeps, drops
 * or tears each of them by seed. A creation, rename or removal lies there until a sync of its
 * directory; a crash keeps or drops each of them, whatever it does with the others. Faults: a
 * budget of bytes (ENOSPC), one EIO on the next write or sync, one error on the next change of a
 * name or sync of a directory.
 */
import path from 'node:path';
import {assert, must} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {Disk, DiskFile} from '../../src/storage/disk.ts';

const sectorSizeBytes = 512;

type Schedule = (operation: () => void) => void;

/** A change that no sync has confirmed yet. */
type PendingChange =
  | {readonly type: 'write'; readonly position: number; readonly bytes: Uint8Array}
  | {readonly type: 'truncate'; readonly sizeBytes: number};

/** A change of a name that no sync of its directory has confirmed yet. */
type NameChange =
  | {readonly type: 'create'; readonly name: string; readonly inode: FakeInode}
  | {readonly type: 'rename'; readonly name: string; readonly target: string}
  | {readonly type: 'remove'; readonly name: string};

/** Bytes that grow in place. */
class Content {
  #bytes = new Uint8Array(0);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  view(from = 0, to = this.#size): Uint8Array {
    return this.#bytes.subarray(Math.min(from, this.#size), Math.min(to, this.#size));
  }

  apply(change: PendingChange): void {
    if (change.type === 'truncate') {
      if (change.sizeBytes < this.#size) this.#bytes.fill(0, change.sizeBytes, this.#size);
      this.#size = Math.min(this.#size, change.sizeBytes);
    } else {
      this.write(change.bytes, change.position);
    }
  }

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.#size));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, position);
    this.#size = Math.max(this.#size, end);
  }

  replace(bytes: Uint8Array): void {
    this.#bytes = new Uint8Array(bytes);
    this.#size = bytes.length;
  }
}

class FakeInode {
  /** What a power cut cannot take away. */
  readonly durable = new Content();
  /** What readers see: the page cache. */
  readonly visible = new Content();
  /** In the page cache and dirty, oldest first. */
  pending: PendingChange[] = [];
  /** Times that pending changes were lost to an error. */
  lossCount = 0;

  change(change: PendingChange): void {
    this.visible.apply(change);
    this.pending.push(change);
  }

  sync(): void {
    for (const change of this.pending) this.durable.apply(change);
    this.pending = [];
  }

  /** The pages look clean from here on, and are not on the disk. */
  lose(): void {
    this.pending = [];
    this.lossCount++;
  }

  replace(bytes: Uint8Array): void {
    this.visible.replace(bytes);
    this.durable.replace(bytes);
    this.pending = [];
  }

  crash(prng: Prng): void {
    for (const change of this.pending) {
      const fate = prng.integer({min: 0, max: 2});
      if (fate === 0) this.durable.apply(change);
      if (fate === 1 && change.type === 'write') this.#tear(change, prng);
    }
    this.pending = [];
    this.visible.replace(this.durable.view());
  }

  #tear(write: PendingChange & {readonly type: 'write'}, prng: Prng): void {
    const {bytes, position} = write;
    let at = 0;
    while (at < bytes.length) {
      // To the next border between sectors of the disk.
      const end = at + sectorSizeBytes - ((position + at) % sectorSizeBytes);
      if (prng.integer({min: 0, max: 1}) === 1) {
        this.durable.write(bytes.subarray(at, end), position + at);
      }
      at = end;
    }
  }
}

export class FakeDisk implements Disk {
  #visible = new Map<string, FakeInode>();
  #durable = new Map<string, FakeInode>();
  /** From the durable names to the visible ones, in the order they were made. */
  #changes: NameChange[] = [];
  readonly #directories = new Set<string>(['/']);
  readonly #schedule: Schedule;
  readonly #report: Schedule;
  /** Rises at a crash; operations of before then never end. */
  #life = 0;
  /** Bytes that files may still grow by. */
  spaceSizeBytes = Number.POSITIVE_INFINITY;
  failNextWrite: 'EIO' | null = null;
  failNextSync: 'EIO' | null = null;
  /** Of a creation, a rename or a removal. */
  failNextNameChange: 'EIO' | 'ENOSPC' | null = null;
  failNextDirectorySync: 'EIO' | null = null;
  /** In this life. */
  openFileCount = 0;
  syncCount = 0;
  directorySyncCount = 0;
  /** Changes that still succeed; the one after them fails, and all later ones. */
  changesLeft = Number.POSITIVE_INFINITY;

  /** `report` runs the callbacks of operations that have ended; by default it takes as long. */
  constructor(schedule: Schedule = setImmediate, report: Schedule = schedule) {
    this.#schedule = schedule;
    this.#report = report;
  }

  get life(): number {
    return this.#life;
  }

  /** The process is gone, the machine is not: the page cache keeps what no sync has confirmed. */
  kill(): void {
    this.#life++;
    this.openFileCount = 0;
  }

  /** A power cut. */
  crash(prng: Prng): void {
    this.kill();
    for (const change of this.#changes) {
      if (prng.integer({min: 0, max: 1}) === 0) makeChange(this.#durable, change);
    }
    this.#changes = [];
    for (const inode of new Set(this.#durable.values())) inode.crash(prng);
    this.#visible = new Map(this.#durable);
  }

  /** A power cut would take something away. */
  isDirty(): boolean {
    return [...this.#visible.values()].some(inode => inode.pending.length > 0);
  }

  /** The content of a file, to look at or to damage: a copy. */
  content(file: string): Uint8Array {
    return new Uint8Array(this.#inode(file).visible.view());
  }

  replace(file: string, bytes: Uint8Array): void {
    this.#inode(file).replace(bytes);
  }

  /** All files as a copy of the disk would hold them. */
  copyFiles(): ReadonlyMap<string, Uint8Array> {
    return new Map([...this.#visible.keys()].map(file => [file, this.content(file)]));
  }

  /** Files of a copy, on an empty disk; durable. */
  placeFiles(files: ReadonlyMap<string, Uint8Array>): void {
    for (const [file, bytes] of files) {
      this.makeDirectorySync(path.dirname(file));
      const inode = new FakeInode();
      inode.replace(bytes);
      this.#visible.set(file, inode);
      this.#durable.set(file, inode);
    }
  }

  /** Called by every change: where a test puts a crash between two of them. */
  countChange(): void {
    if (this.changesLeft <= 0) throw new Error('the crash comes here');
    this.changesLeft--;
  }

  openSync(file: string, mode: 'create' | 'open'): DiskFile {
    if (mode === 'create') {
      this.countChange();
      if (this.#visible.has(file)) throw systemError('EEXIST', file);
      this.#change({type: 'create', name: file, inode: new FakeInode()});
    }
    return new FakeFile(this, this.#inode(file));
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

  create(file: string, callback: (result: DiskFile | Error) => void): void {
    let opened: DiskFile | null = null;
    this.later(
      () => (opened = this.openSync(file, 'create')),
      error => callback(error ?? must(opened, 'what was created is open')),
    );
  }

  open(file: string, callback: (result: DiskFile | Error) => void): void {
    let opened: DiskFile | null = null;
    this.later(
      () => (opened = this.openSync(file, 'open')),
      error => callback(error ?? must(opened, 'what was opened is open')),
    );
  }

  rename(source: string, target: string, callback: (error: Error | null) => void): void {
    this.later(() => this.renameSync(source, target), callback);
  }

  remove(file: string, callback: (error: Error | null) => void): void {
    this.later(() => this.removeSync(file), callback);
  }

  syncDirectory(directory: string, callback: (error: Error | null) => void): void {
    this.later(() => this.syncDirectorySync(directory), callback);
  }

  renameSync(source: string, target: string): void {
    this.countChange();
    this.#inode(source);
    this.#change({type: 'rename', name: source, target});
  }

  removeSync(file: string): void {
    this.countChange();
    for (const name of [...this.#visible.keys()]) {
      const isInside = name === file || name.startsWith(`${file}/`);
      if (isInside) this.#change({type: 'remove', name});
    }
    for (const name of [...this.#directories]) {
      if (name === file || name.startsWith(`${file}/`)) this.#directories.delete(name);
    }
  }

  syncDirectorySync(directory: string): void {
    this.countChange();
    this.directorySyncCount++;
    if (this.failNextDirectorySync !== null) {
      this.failNextDirectorySync = null;
      throw systemError('EIO', 'fsync');
    }
    const rest: NameChange[] = [];
    for (const change of this.#changes) {
      if (path.dirname(change.name) === directory) makeChange(this.#durable, change);
      else rest.push(change);
    }
    this.#changes = rest;
  }

  /** The operation takes its time, and so does the news of it; neither survives a crash. */
  later(
    operation: () => void,
    callback: (error: Error | null) => void,
    life: number = this.#life,
  ): void {
    this.#schedule(() => {
      if (this.#life !== life) return;
      let failure: Error | null = null;
      try {
        operation();
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error));
      }
      this.#report(() => {
        if (this.#life === life) callback(failure);
      });
    });
  }

  #change(change: NameChange): void {
    if (this.failNextNameChange !== null) {
      const code = this.failNextNameChange;
      this.failNextNameChange = null;
      throw systemError(code, change.type);
    }
    makeChange(this.#visible, change);
    this.#changes.push(change);
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
  readonly #life: number;
  /** As the system has it: each open file hears of a loss once, whoever caused it. */
  #heardLossCount: number;
  #isOpen = true;

  constructor(disk: FakeDisk, inode: FakeInode) {
    this.#disk = disk;
    this.#inode = inode;
    this.#life = disk.life;
    this.#heardLossCount = inode.lossCount;
    disk.openFileCount++;
  }

  write(bytes: Uint8Array, position: number, callback: (error: Error | null) => void): void {
    this.#disk.later(() => this.writeSync(bytes, position), callback, this.#life);
  }

  sync(callback: (error: Error | null) => void): void {
    this.#disk.later(() => this.syncSync(), callback, this.#life);
  }

  writeSync(bytes: Uint8Array, position: number): void {
    this.#disk.countChange();
    assert(this.#isOpen, 'write to a closed file');
    if (this.#disk.failNextWrite !== null) {
      this.#disk.failNextWrite = null;
      throw systemError('EIO', 'write');
    }
    const growth = Math.max(0, position + bytes.length - this.#inode.visible.size);
    if (growth > this.#disk.spaceSizeBytes) throw systemError('ENOSPC', 'write');
    this.#disk.spaceSizeBytes -= growth;
    this.#inode.change({type: 'write', position, bytes: new Uint8Array(bytes)});
  }

  syncSync(): void {
    this.#disk.countChange();
    assert(this.#isOpen, 'sync of a closed file');
    this.#disk.syncCount++;
    if (this.#disk.failNextSync !== null) {
      this.#disk.failNextSync = null;
      this.#inode.lose();
    }
    if (this.#heardLossCount !== this.#inode.lossCount) {
      this.#heardLossCount = this.#inode.lossCount;
      throw systemError('EIO', 'fdatasync');
    }
    this.#inode.sync();
  }

  truncateSync(sizeBytes: number): void {
    this.#disk.countChange();
    this.#inode.change({type: 'truncate', sizeBytes});
  }

  readSync(target: Uint8Array, position: number): number {
    assert(this.#isOpen, 'read of a closed file');
    const bytes = this.#inode.visible.view(position, position + target.length);
    target.set(bytes);
    return bytes.length;
  }

  sizeBytes(): number {
    return this.#inode.visible.size;
  }

  close(callback: (error: Error | null) => void): void {
    this.closeSync();
    this.#disk.later(() => undefined, callback, this.#life);
  }

  closeSync(): void {
    assert(this.#isOpen, 'a file is closed once');
    this.#isOpen = false;
    if (this.#life === this.#disk.life) this.#disk.openFileCount--;
  }
}

/** Nothing where an earlier change that it stands on was dropped. */
function makeChange(names: Map<string, FakeInode>, change: NameChange): void {
  if (change.type === 'create') {
    names.set(change.name, change.inode);
    return;
  }
  const inode = names.get(change.name);
  names.delete(change.name);
  if (change.type === 'rename' && inode !== undefined) names.set(change.target, inode);
}

function systemError(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), {code});
}
