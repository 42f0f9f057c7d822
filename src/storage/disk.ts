/**
 * Files as storage sees them: the interface that the simulator replaces. What ends in `Sync` is for
 * start-up: a busy disk answers an fsync after seconds, and a node that waits for it sends no
 * heartbeats. While the node runs the log uses what takes a callback. Errors are Node's, with
 * `code` (ENOSPC, EIO, …). No callback runs inside the call, that of a `write` excepted.
 */

export interface DiskFile {
  /**
   * One write of all of `bytes` at `position`. The caller keeps `bytes` unchanged until the
   * callback, which may run inside the call when there is no error.
   */
  write(bytes: Uint8Array, position: number, callback: (error: Error | null) => void): void;
  /** fdatasync. After an error the file must not be used any more. */
  sync(callback: (error: Error | null) => void): void;
  writeSync(bytes: Uint8Array, position: number): void;
  /** fsync, length and times included. */
  syncSync(): void;
  truncateSync(sizeBytes: number): void;
  /** Fills `target` from `position`; returns the bytes read, fewer only at the end of the file. */
  readSync(target: Uint8Array, position: number): number;
  sizeBytes(): number;
  /** Frees the blocks of a file whose name was removed, which takes its time if it is large. */
  close(callback: (error: Error | null) => void): void;
  closeSync(): void;
}

export interface Disk {
  /** `create`: fails if it exists. `open`: fails if it does not. Read and write. */
  openSync(path: string, mode: 'create' | 'open'): DiskFile;
  existsSync(path: string): boolean;
  /** Names, sorted by code unit. */
  listSync(directory: string): readonly string[];
  /** Creates parents too. Mode 0700. */
  makeDirectorySync(directory: string): void;
  /** As `openSync` with `create`. */
  create(path: string, callback: (result: DiskFile | Error) => void): void;
  /**
   * As `openSync` with `open`. A file opened twice hears of an error of its disk twice: the system
   * tells each open file of it once.
   */
  open(path: string, callback: (result: DiskFile | Error) => void): void;
  rename(source: string, target: string, callback: (error: Error | null) => void): void;
  /** One file; absent is fine. */
  remove(path: string, callback: (error: Error | null) => void): void;
  /** As `syncDirectorySync`, for what had ended when it was called. Waits for a file descriptor. */
  syncDirectory(directory: string, callback: (error: Error | null) => void): void;
  renameSync(source: string, target: string): void;
  /** Files and directories, recursively; absent is fine. */
  removeSync(path: string): void;
  /** Makes creations, renames and removals in `directory` durable. */
  syncDirectorySync(directory: string): void;
}
