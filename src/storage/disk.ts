/**
 * Files as storage sees them: the interface that the simulator replaces. Start-up is synchronous;
 * while the node runs, only `write` and `sync` of the WAL are used, with callbacks. Errors are
 * Node's, with `code` (ENOSPC, EIO, …).
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
  renameSync(source: string, target: string): void;
  /** Files and directories, recursively; absent is fine. */
  removeSync(path: string): void;
  /** Makes creations, renames and removals in `directory` durable. */
  syncDirectorySync(directory: string): void;
}
