/**
 * The most frequent bodies of POST /txn, read without making text of them: compares of numbers and
 * values, then puts, gets and deletes, with their fields in the order of docs/http-api.md and
 * nothing that is optional in them. Every other body is parseJson's; what is read here is read
 * there alike.
 */
import {isUtf8, type Buffer} from 'node:buffer';
import {limits} from '../../base/limits.ts';
import type {Compare, CompareOperator, CompareTarget, Transaction} from '../../kv/command.ts';
import type {KeyOperation} from '../../kv/key-executor.ts';
import {bytesOf, closingBrace, endOfPlainText, hasAt} from './plain-json.ts';

/** Null: this body is not of that shape. Keys and values are views of it. */
export function readPlainTransaction(body: Buffer): Transaction | null {
  // Of a body that ends otherwise not all of it need be looked at twice.
  if (body.at(-1) !== closingBrace) return null;
  const transaction = new PlainTransactionReader(body).read();
  return transaction !== null && isUtf8(body) ? transaction : null;
}

/** One of several texts that may come next, and what it stands for. */
interface Word<T> {
  readonly meaning: T;
  readonly text: readonly number[];
}

const beforeCompares = bytesOf('{"compare":[');
const beforeSuccess = bytesOf(',"success":[');
const beforeFirstSuccess = bytesOf('{"success":[');
const beforeFailure = bytesOf(',"failure":[');
const comma = bytesOf(',');
const listEnd = bytesOf(']');
const objectEnd = bytesOf('}');
const operationEnd = bytesOf('}}');
const beforeKey = bytesOf('{"key":"');
const beforeTarget = bytesOf(',"target":"');
const beforeText = bytesOf('"');
const beforeValue = bytesOf(',"value":"');
const targetWords = words<CompareTarget['type']>(
  ['version', 'modRevision', 'createRevision', 'value'],
  target => `${target}","op":"`,
);
const operatorWords = words<CompareOperator>(
  ['=', '>', '<', '!='],
  operator => `${operator}","value":`,
);
const operationWords = words<KeyOperation['type']>(
  ['put', 'get', 'delete'],
  type => `{"${type}":{"key":"`,
);
/** So many digits are a safe integer. */
const digitCountMax = 15;

function words<T extends string>(
  meanings: readonly T[],
  textOf: (meaning: T) => string,
): readonly Word<T>[] {
  return meanings.map(meaning => ({meaning, text: bytesOf(textOf(meaning))}));
}

class PlainTransactionReader {
  readonly #body: Buffer;
  #at = 0;

  constructor(body: Buffer) {
    this.#body = body;
  }

  read(): Transaction | null {
    const isConditional = this.#take(beforeCompares);
    const compare = isConditional ? this.#list(() => this.#compare()) : [];
    if (compare === null) return null;
    if (!this.#take(isConditional ? beforeSuccess : beforeFirstSuccess)) return null;
    const success = this.#list(() => this.#operation());
    if (success === null) return null;
    const failure = this.#take(beforeFailure) ? this.#list(() => this.#operation()) : [];
    if (failure === null || !this.#take(objectEnd)) return null;
    return this.#at === this.#body.length ? {type: 'transaction', compare, success, failure} : null;
  }

  /** Behind the opening bracket; the closing one is taken too. */
  #list<T>(takeItem: () => T | null): readonly T[] | null {
    const items: T[] = [];
    if (this.#take(listEnd)) return items;
    do {
      const item = takeItem();
      if (item === null || items.length === limits.operationCountMax) return null;
      items.push(item);
    } while (this.#take(comma));
    return this.#take(listEnd) ? items : null;
  }

  #compare(): Compare | null {
    if (!this.#take(beforeKey)) return null;
    const key = this.#key();
    if (key === null || !this.#take(beforeTarget)) return null;
    const type = this.#oneOf(targetWords);
    if (type === null) return null;
    const operator = this.#oneOf(operatorWords);
    if (operator === null) return null;
    const target = this.#target(type);
    return target !== null && this.#take(objectEnd) ? {keys: {key}, operator, target} : null;
  }

  #target(type: CompareTarget['type']): CompareTarget | null {
    if (type === 'value') {
      const value = this.#take(beforeText) ? this.#text(limits.valueSizeBytesMax) : null;
      return value && {type, value};
    }
    const value = this.#integer();
    return value === null ? null : {type, value};
  }

  #operation(): KeyOperation | null {
    const type = this.#oneOf(operationWords);
    if (type === null) return null;
    const key = this.#key();
    if (key === null) return null;
    const operation = type === 'put' ? this.#put(key) : read(type, key);
    return this.#take(operationEnd) ? operation : null;
  }

  #put(key: Buffer): KeyOperation | null {
    const value = this.#take(beforeValue) ? this.#text(limits.valueSizeBytesMax) : null;
    if (value === null) return null;
    return {
      type: 'put',
      key,
      value,
      leaseId: 0,
      ttlMs: 0,
      ignoreValue: false,
      ignoreLease: false,
      wantsPrevious: false,
    };
  }

  #key(): Buffer | null {
    const key = this.#text(limits.keySizeBytesMax);
    return key === null || key.length === 0 ? null : key;
  }

  /** Behind the opening quote; the closing one is taken too. */
  #text(sizeBytesMax: number): Buffer | null {
    const start = this.#at;
    const end = endOfPlainText(this.#body, start);
    if (end === this.#body.length || end - start > sizeBytesMax) return null;
    this.#at = end + 1;
    return this.#body.subarray(start, end);
  }

  /** Not negative, in decimal digits alone. */
  #integer(): number | null {
    const start = this.#at;
    let value = 0;
    for (;;) {
      const digit = (this.#body[this.#at] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      this.#at++;
    }
    const count = this.#at - start;
    const hasLeadingZero = count > 1 && this.#body[start] === 0x30;
    return count === 0 || count > digitCountMax || hasLeadingZero ? null : value;
  }

  #oneOf<T>(choice: readonly Word<T>[]): T | null {
    for (const {meaning, text} of choice) if (this.#take(text)) return meaning;
    return null;
  }

  /** Whether this comes next; then it is behind. */
  #take(text: readonly number[]): boolean {
    if (!hasAt(this.#body, this.#at, text)) return false;
    this.#at += text.length;
    return true;
  }
}

function read(type: 'get' | 'delete', key: Buffer): KeyOperation {
  return type === 'get' ? {type, key} : {type, key, wantsPrevious: false};
}
