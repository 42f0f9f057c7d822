/** The files of a log as bytes, to be damaged. */
import {FakeDisk} from '../sim/fake-disk.ts';

/** A disk that holds these files and nothing else, all durable. */
export function copyOf(
  disk: FakeDisk,
  changed: ReadonlyMap<string, Uint8Array> = new Map(),
): FakeDisk {
  const copy = new FakeDisk();
  copy.placeFiles(new Map([...disk.copyFiles(), ...changed]));
  return copy;
}

/** Where the batches of a segment begin, and the end of the last one. */
export function batchOffsets(bytes: Uint8Array): number[] {
  const buffer = Buffer.from(bytes);
  const offsets: number[] = [];
  let at = buffer.readUInt32LE(12);
  while (buffer.toString('latin1', at, at + 4) === 'RWB1') {
    offsets.push(at);
    at += buffer.readUInt32LE(at + 12);
  }
  return [...offsets, at];
}
