/**
 * Transactions as clients think of them: compares with what they have seen, some operations on
 * either side, reads among them, now and then one inside another. No key is written twice.
 */
import {must} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {Compare, Operation, Transaction} from '../../src/kv/command.ts';
import type {CommandResult, KeyRecord, OperationResult} from '../../src/kv/result.ts';
import {
  bytes,
  compare,
  del,
  deleteRange,
  get,
  list,
  put,
  range,
  text,
  transaction,
} from '../contract/commands.ts';

const operators = ['=', '=', '!=', '<', '>'] as const;
const keyCountMax = 4;

export class RandomTransaction {
  readonly #prng: Prng;
  readonly #keyCount: number;
  /** By key, as it was last seen. */
  readonly #seen = new Map<string, KeyRecord>();

  constructor(prng: Prng, keyCount: number) {
    this.#prng = prng;
    this.#keyCount = keyCount;
  }

  /** `mark`: tells it from all others, in its values and by a key that nobody writes. */
  draw(mark: string): Transaction {
    const keys = this.keys(keyCountMax);
    const conditions = keys.slice(0, this.#dice(3) - 1).map(key => this.#compare(key));
    if (this.#dice(12) === 1) conditions.push(this.#compareRange());
    const seen = get(`!${mark}`);
    return transaction({
      compare: conditions,
      success: [...this.#side(keys, mark), seen],
      failure: [...(this.#dice(2) === 1 ? this.#side(keys.slice(0, 2), mark) : []), seen],
    });
  }

  /** Different ones, at least one. */
  keys(countMax: number): string[] {
    const keys = new Set<string>();
    const count = this.#dice(Math.min(countMax, this.#keyCount));
    while (keys.size < count) keys.add(`k${this.#dice(this.#keyCount)}`);
    return [...keys];
  }

  /** Of an answer: what the next compares are about. */
  learn(result: CommandResult): void {
    if (result.type === 'transaction') for (const each of result.results) this.#learn(each);
  }

  #learn(result: OperationResult): void {
    if (result.type === 'get' && result.record !== null) {
      this.#seen.set(text(result.record.key), result.record);
    } else if (result.type === 'range') {
      for (const record of result.records) this.#seen.set(text(record.key), record);
    } else if (result.type === 'transaction') {
      for (const each of result.results) this.#learn(each);
    }
  }

  #side(keys: readonly string[], mark: string): Operation[] {
    const dice = this.#dice(16);
    const some = range('k1', 'k2');
    if (dice === 1) return [deleteRange(some, true), list(range('k', 'l'), {keysOnly: true})];
    const [first] = keys;
    const operations = keys.map(key => this.#operation(key, mark));
    if (dice === 2) operations.push(list(some, {limit: 3, isReverse: this.#dice(2) === 1}));
    if (dice === 3) operations.push(list(some, {countOnly: true}));
    if (dice > 5 || first === undefined) return operations;
    const inner = transaction({
      compare: [this.#compare(must(keys.at(-1), 'a key'))],
      success: [this.#operation(first, `${mark}i`)],
      failure: [get(first), del(first)],
    });
    return [...operations.slice(1), inner];
  }

  #operation(key: string, mark: string): Operation {
    const dice = this.#dice(20);
    if (dice <= 5) return get(key);
    if (dice <= 8) return del(key, dice === 6);
    const value = `${mark} `.padEnd(this.#dice(40), '.');
    return put(key, value, {ignoreLease: dice === 9, wantsPrevious: dice <= 12});
  }

  #compare(key: string): Compare {
    const seen = this.#seen.get(key);
    const operator = must(operators[this.#dice(operators.length) - 1], 'an operator');
    switch (this.#dice(8)) {
      case 1:
        return compare(key, '=', {type: 'version', value: 0});
      case 2:
        return compare(key, operator, {type: 'version', value: seen?.version ?? 1});
      case 3:
        return compare(key, operator, {type: 'value', value: seen?.value ?? bytes('v')});
      case 4:
        return compare(key, operator, {type: 'createRevision', value: seen?.createRevision ?? 0});
      case 5:
        return compare(key, operator, {type: 'lease', value: seen?.leaseId ?? 0});
      default:
        return compare(key, '=', {type: 'modRevision', value: seen?.modRevision ?? 0});
    }
  }

  #compareRange(): Compare {
    return compare(range('k1', 'k2'), '>', {type: 'createRevision', value: this.#dice(100)});
  }

  #dice(sides: number): number {
    return this.#prng.integer({min: 1, max: sides});
  }
}
