/** A Disk that reports how long every fdatasync took. */
import type {Clock} from '../base/clock.ts';
import type {Disk, DiskFile} from '../storage/disk.ts';

export function observedDisk(disk: Disk, clock: Clock, onSync: (durationMs: number) => void): Disk {
  const observe = (file: DiskFile): DiskFile => ({
    write: (bytes, position, callback) => file.write(bytes, position, callback),
    sync: callback => {
      const startedAtMs = clock.monotonicMs();
      file.sync(error => {
        onSync(clock.monotonicMs() - startedAtMs);
        callback(error);
      });
    },
    writeSync: (bytes, position) => file.writeSync(bytes, position),
    syncSync: () => file.syncSync(),
    truncateSync: sizeBytes => file.truncateSync(sizeBytes),
    readSync: (target, position) => file.readSync(target, position),
    sizeBytes: () => file.sizeBytes(),
    close: callback => file.close(callback),
    closeSync: () => file.closeSync(),
  });
  return {
    openSync: (path, mode) => observe(disk.openSync(path, mode)),
    existsSync: path => disk.existsSync(path),
    listSync: directory => disk.listSync(directory),
    makeDirectorySync: directory => disk.makeDirectorySync(directory),
    create: (path, callback) => {
      disk.create(path, result => callback(result instanceof Error ? result : observe(result)));
    },
    open: (path, callback) => {
      disk.open(path, result => callback(result instanceof Error ? result : observe(result)));
    },
    rename: (source, target, callback) => disk.rename(source, target, callback),
    remove: (path, callback) => disk.remove(path, callback),
    syncDirectory: (directory, callback) => disk.syncDirectory(directory, callback),
    renameSync: (source, target) => disk.renameSync(source, target),
    removeSync: path => disk.removeSync(path),
    syncDirectorySync: directory => disk.syncDirectorySync(directory),
  };
}
