/**
 * Equality of decoded values: bytes are equal whatever class holds them, objects whatever their
 * prototype. Plain and quick, since it runs several times a case.
 */
import {AssertionError} from '../../src/base/assert.ts';

export function isSameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  }
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every(
    name => Object.hasOwn(b, name) && isSameValue(Reflect.get(a, name), Reflect.get(b, name)),
  );
}

export function mustBeSame(actual: unknown, expected: unknown, what: string): void {
  if (isSameValue(actual, expected)) return;
  throw new AssertionError(`${what}: ${textOf(actual)} instead of ${textOf(expected)}`);
}

/** For people: bytes as hex. */
export function textOf(value: unknown): string {
  const text = JSON.stringify(value, (_name, field: unknown) => {
    if (field instanceof Uint8Array) return `hex ${Buffer.from(field).toString('hex')}`;
    if (typeof field !== 'object' || field === null) return field;
    // What a Buffer's own toJSON has made of it before this function is asked.
    const {type, data} = field as {type?: unknown; data?: unknown};
    if (type !== 'Buffer' || !Array.isArray(data)) return field;
    return `hex ${Buffer.from(data as number[]).toString('hex')}`;
  });
  return typeof text === 'string' ? text : String(value);
}
