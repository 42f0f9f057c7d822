/**
 * Preloaded into a server (`node --import`) to make its disk lie: what is written to the log stays
 * in the memory of the process, is acknowledged as durable at once, and reaches the file later. A
 * kill -9 then loses what a power failure would lose without fdatasync. The program itself has no
 * such switch; this is there to see whether its tests notice.
 */
import fs from 'node:fs';

/** Longer than a client waits for an answer and shorter than the test waits for a kill. */
const delayMs = 1_500;

interface Pending {
  readonly bytes: Uint8Array;
  readonly position: number;
}

const real = {
  openSync: fs.openSync,
  open: fs.open,
  writeSync: fs.writeSync,
  write: fs.write,
  readSync: fs.readSync,
  fdatasync: fs.fdatasync,
  fsyncSync: fs.fsyncSync,
  fsync: fs.fsync,
  ftruncateSync: fs.ftruncateSync,
  closeSync: fs.closeSync,
  close: fs.close,
};

/** Log files that are open, with what was not written to them yet. */
const files = new Map<number, Pending[]>();

function flush(descriptor: unknown): void {
  const pending = typeof descriptor === 'number' ? files.get(descriptor) : undefined;
  if (pending === undefined || typeof descriptor !== 'number') return;
  for (const {bytes, position} of pending.splice(0)) {
    real.writeSync(descriptor, bytes, 0, bytes.length, position);
  }
}

function keep(descriptor: number, bytes: Uint8Array, position: number): boolean {
  const pending = files.get(descriptor);
  if (pending === undefined) return false;
  pending.push({bytes: Uint8Array.from(bytes), position});
  return true;
}

function replace(name: keyof typeof real, replacement: (...args: unknown[]) => unknown): void {
  Object.defineProperty(fs, name, {value: replacement});
}

replace('openSync', (...args) => {
  const descriptor: unknown = Reflect.apply(real.openSync, fs, args);
  if (typeof descriptor === 'number' && String(args[0]).endsWith('.wal')) files.set(descriptor, []);
  return descriptor;
});
replace('open', (...args) => {
  const callback: unknown = args.pop();
  const onOpen = (error: Error | null, descriptor: number): void => {
    if (error === null && String(args[0]).endsWith('.wal')) files.set(descriptor, []);
    if (typeof callback === 'function') Reflect.apply(callback, undefined, [error, descriptor]);
  };
  return Reflect.apply(real.open, fs, [...args, onOpen]);
});
replace('writeSync', (...args) => {
  const [descriptor, bytes, offset, length, position] = args;
  if (typeof descriptor === 'number' && bytes instanceof Uint8Array) {
    const [from, count] = [Number(offset), Number(length)];
    if (keep(descriptor, bytes.subarray(from, from + count), Number(position))) return count;
  }
  return Reflect.apply(real.writeSync, fs, args);
});
replace('write', (...args) => {
  const [descriptor, bytes, offset, length, position, callback] = args;
  if (typeof descriptor === 'number' && bytes instanceof Uint8Array) {
    const [from, count] = [Number(offset), Number(length)];
    if (keep(descriptor, bytes.subarray(from, from + count), Number(position))) {
      setImmediate(callback as (error: null, count: number) => void, null, count);
      return;
    }
  }
  Reflect.apply(real.write, fs, args);
});
replace('fdatasync', (...args) => {
  const [descriptor, callback] = args;
  if (typeof descriptor === 'number' && files.has(descriptor)) {
    setImmediate(callback as (error: null) => void, null);
    return;
  }
  Reflect.apply(real.fdatasync, fs, args);
});
for (const name of ['readSync', 'fsyncSync', 'fsync', 'ftruncateSync'] as const) {
  replace(name, (...args) => {
    flush(args[0]);
    return Reflect.apply(real[name], fs, args) as unknown;
  });
}
for (const name of ['closeSync', 'close'] as const) {
  replace(name, (...args) => {
    flush(args[0]);
    files.delete(Number(args[0]));
    return Reflect.apply(real[name], fs, args) as unknown;
  });
}
setInterval(() => {
  for (const descriptor of files.keys()) flush(descriptor);
}, delayMs).unref();
process.stderr.write('this server lies about its disk: acknowledged writes are NOT durable\n');
