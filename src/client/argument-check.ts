/**
 * What a program without types can pass, or one whose types have a hole: refused before anything is
 * sent, where it would mean something else than was meant. Each throws INVALID_ARGUMENT.
 */
import {invalidArgument} from './client-error.ts';

/** In the words of an error. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}

/** `names`: of the properties it may have; null: of any. */
export function checkObject(value: unknown, what: string, names: readonly string[] | null): void {
  const shape = names === null ? `${what} is an object` : `${what} is {${names.join(', ')}}`;
  if (!isObject(value)) throw invalidArgument(`${shape}; not ${kindOf(value)}`);
  // A promise that nobody awaited, a Map: their content would be passed over.
  if (Object.keys(value).length === 0 && !isPlain(value)) {
    throw invalidArgument(`${shape}; not an object of another class`);
  }
  const stranger = Object.keys(value).find(name => names !== null && !names.includes(name));
  if (stranger !== undefined) throw invalidArgument(`${shape}; it has no "${stranger}"`);
}

export function checkList(value: unknown, what: string): void {
  if (!Array.isArray(value)) throw invalidArgument(`${what} is a list, not ${kindOf(value)}`);
}

export const rangeNames: readonly string[] = ['prefix', 'start', 'end'];
const rangeShape = 'a range is {prefix}, or {start, end}; {} means all keys';

/**
 * A range without bounds is all keys, so it must not come from a mistake: a text in its place, a
 * promise, a name that is none, a prefix that turned out undefined. `isStrict`: for what cannot be
 * undone.
 */
export function checkRange(range: unknown, names: readonly string[], isStrict: boolean): void {
  if (!isObject(range)) throw invalidArgument(`${rangeShape}; not ${kindOf(range)}`);
  const own = Object.keys(range);
  const isBounded = names.some(name => range[name] !== undefined);
  const stranger = own.find(name => !names.includes(name));
  if (stranger !== undefined && (isStrict || !isBounded)) {
    throw invalidArgument(`${rangeShape}; it has no "${stranger}"`);
  }
  if (isBounded) return;
  const vague = own.find(name => isStrict || name === 'prefix' || name === 'key');
  if (vague !== undefined) throw invalidArgument(`${rangeShape}; "${vague}" is undefined`);
  if (!isPlain(range)) throw invalidArgument(`${rangeShape}; not an object of another class`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Made by `{}`, here or in another window, or without a prototype. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
