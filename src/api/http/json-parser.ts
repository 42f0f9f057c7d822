/**
 * A strict JSON parser. Unlike JSON.parse it refuses duplicate names, lone surrogates and deep
 * nesting, says where, and never builds an object with a prototype: objects are Maps, so that
 * `__proto__` is a name like any other.
 */
import {isUtf8} from 'node:buffer';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export type JsonObject = ReadonlyMap<string, JsonValue>;

/** Throws INVALID_JSON for what is not JSON, INVALID_REQUEST for JSON that is not accepted. */
export function parseJson(body: Buffer): JsonValue {
  if (!isUtf8(body)) throw new RosettaError('INVALID_JSON', 'the body is not UTF-8');
  return new JsonParser(body.toString('utf8')).parse();
}

class JsonParser {
  readonly #text: string;
  #at = 0;
  /** Where we are, for error messages: names and indexes from the root. */
  readonly #path: (string | number)[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  parse(): JsonValue {
    this.#skipSpace();
    const value = this.#value();
    this.#skipSpace();
    if (this.#at < this.#text.length) throw this.#malformed();
    return value;
  }

  #value(): JsonValue {
    switch (this.#text.charCodeAt(this.#at)) {
      case 0x22:
        return this.#string();
      case 0x7b:
        return this.#object();
      case 0x5b:
        return this.#array();
      case 0x74:
        return this.#word('true', true);
      case 0x66:
        return this.#word('false', false);
      case 0x6e:
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #object(): JsonObject {
    const members = new Map<string, JsonValue>();
    this.#at++;
    this.#skipSpace();
    if (this.#take(0x7d)) return members;
    do {
      this.#skipSpace();
      if (this.#text.charCodeAt(this.#at) !== 0x22) throw this.#malformed();
      const name = this.#string();
      this.#enter(name);
      if (members.has(name)) throw this.#refused('is given twice');
      this.#skipSpace();
      if (!this.#take(0x3a)) throw this.#malformed();
      this.#skipSpace();
      members.set(name, this.#value());
      this.#path.pop();
      this.#skipSpace();
    } while (this.#take(0x2c));
    if (!this.#take(0x7d)) throw this.#malformed();
    return members;
  }

  #array(): readonly JsonValue[] {
    const items: JsonValue[] = [];
    this.#at++;
    this.#skipSpace();
    if (this.#take(0x5d)) return items;
    do {
      this.#skipSpace();
      this.#enter(items.length);
      items.push(this.#value());
      this.#path.pop();
      this.#skipSpace();
    } while (this.#take(0x2c));
    if (!this.#take(0x5d)) throw this.#malformed();
    return items;
  }

  /** The text between the quotes is native JSON.parse's work only when it holds an escape. */
  #string(): string {
    const text = this.#text;
    const start = this.#at + 1;
    let at = start;
    let hasEscape = false;
    for (;;) {
      const code = text.charCodeAt(at);
      if (code === 0x22) break;
      if (code === 0x5c) {
        hasEscape = true;
        at++;
      } else if (!(code >= 0x20)) {
        this.#at = at;
        throw this.#malformed();
      }
      at++;
    }
    this.#at = at + 1;
    return hasEscape ? this.#unescaped(start - 1, at + 1) : text.slice(start, at);
  }

  #unescaped(start: number, end: number): string {
    let value: unknown;
    try {
      value = JSON.parse(this.#text.slice(start, end));
    } catch {
      this.#at = start;
      throw this.#malformed();
    }
    if (typeof value !== 'string') throw this.#malformed();
    if (/\p{Surrogate}/u.test(value)) throw this.#refused('holds a lone surrogate');
    return value;
  }

  #number(): number {
    const start = this.#at;
    let at = start;
    while (isNumberCode(this.#text.charCodeAt(at))) at++;
    const literal = this.#text.slice(start, Math.min(at, start + 64));
    if (!/^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/.test(literal)) {
      throw this.#malformed();
    }
    if (at - start > 64) throw this.#refused('is a number of more than 64 digits');
    this.#at = at;
    return Number(literal);
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#malformed();
    this.#at += word.length;
    return value;
  }

  #enter(step: string | number): void {
    this.#path.push(step);
    if (this.#path.length > limits.jsonDepthMax) {
      throw new RosettaError(
        'INVALID_REQUEST',
        `the body is nested deeper than ${limits.jsonDepthMax} levels`,
      );
    }
  }

  #take(code: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== code) return false;
    this.#at++;
    return true;
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }

  #malformed(): RosettaError {
    const what =
      this.#at >= this.#text.length
        ? 'the body ends too early'
        : `unexpected character at offset ${this.#at}`;
    return new RosettaError('INVALID_JSON', what);
  }

  #refused(sentence: string): RosettaError {
    const place = this.#path.length === 0 ? 'the body' : `the field ${fieldName(this.#path)}`;
    return new RosettaError('INVALID_REQUEST', `${place} ${sentence}`);
  }
}

/** `success[0].put.key`, quoted and bounded, for people to read. */
function fieldName(path: readonly (string | number)[]): string {
  let name = '';
  for (const step of path) {
    if (typeof step === 'number') name += `[${step}]`;
    else name += name === '' ? step : `.${step}`;
  }
  return JSON.stringify(name.slice(0, 128));
}

function isNumberCode(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) ||
    code === 0x2d ||
    code === 0x2b ||
    code === 0x2e ||
    code === 0x65 ||
    code === 0x45
  );
}
