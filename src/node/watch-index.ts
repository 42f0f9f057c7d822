/**
 * Finds the watchers of a key. Those with the same range form a topic, and topics are found by the
 * key itself, by its prefixes (as many look-ups as there are different lengths of prefixes), or,
 * for ranges of another shape, one by one.
 */
import {Buffer} from 'node:buffer';
import {equalBytes, keySuccessor, prefixEnd} from '../base/bytes.ts';
import {must} from '../base/assert.ts';
import type {KeyRange} from '../kv/command.ts';
import type {WatchEvent} from './watch-event.ts';

/** A range as latin1 text, which sorts as its bytes do. */
export interface TextRange {
  readonly shape: 'key' | 'prefix' | 'range';
  readonly start: string;
  /** Exclusive; null: to the end of the key space. */
  readonly end: string | null;
}

export class Topic<W> {
  readonly range: TextRange;
  readonly watchers = new Set<W>();
  /** Of the revision that is being told. */
  pending: WatchEvent[] = [];

  constructor(range: TextRange) {
    this.range = range;
  }
}

export class WatchIndex<W> {
  readonly #keys = new Map<string, Topic<W>>();
  readonly #prefixes = new Map<string, Topic<W>>();
  readonly #ranges = new Map<string, Topic<W>>();
  /** How many prefixes there are of each length. */
  readonly #prefixCounts = new Map<number, number>();
  /** Their lengths, ascending. */
  #prefixLengths: readonly number[] = [];

  add(range: TextRange, watcher: W): void {
    const topics = this.#topicsOf(range);
    const name = nameOf(range);
    let topic = topics.get(name);
    if (topic === undefined) {
      topic = new Topic(range);
      topics.set(name, topic);
      if (range.shape === 'prefix') this.#countPrefix(range.start.length, 1);
    }
    topic.watchers.add(watcher);
  }

  remove(range: TextRange, watcher: W): void {
    const topics = this.#topicsOf(range);
    const name = nameOf(range);
    const topic = must(topics.get(name), 'a watcher has its topic');
    topic.watchers.delete(watcher);
    if (topic.watchers.size > 0) return;
    topics.delete(name);
    if (range.shape === 'prefix') this.#countPrefix(range.start.length, -1);
  }

  forEachTopic(keyText: string, visit: (topic: Topic<W>) => void): void {
    const exact = this.#keys.get(keyText);
    if (exact !== undefined) visit(exact);
    for (const length of this.#prefixLengths) {
      if (length > keyText.length) break;
      const topic = this.#prefixes.get(keyText.slice(0, length));
      if (topic !== undefined) visit(topic);
    }
    for (const topic of this.#ranges.values()) {
      if (isWithin(keyText, topic.range)) visit(topic);
    }
  }

  #topicsOf(range: TextRange): Map<string, Topic<W>> {
    switch (range.shape) {
      case 'key':
        return this.#keys;
      case 'prefix':
        return this.#prefixes;
      case 'range':
        return this.#ranges;
    }
  }

  #countPrefix(length: number, change: 1 | -1): void {
    const count = (this.#prefixCounts.get(length) ?? 0) + change;
    if (count > 0) this.#prefixCounts.set(length, count);
    else this.#prefixCounts.delete(length);
    this.#prefixLengths = [...this.#prefixCounts.keys()].sort((a, b) => a - b);
  }
}

export function textRange({start, end}: KeyRange): TextRange {
  const text = {start: latin1(start), end: end === null ? null : latin1(end)};
  if (end !== null && equalBytes(end, keySuccessor(start))) return {shape: 'key', ...text};
  const ofPrefix = prefixEnd(start);
  const isPrefix = end === null ? ofPrefix === null : ofPrefix && equalBytes(end, ofPrefix);
  return {shape: isPrefix === true ? 'prefix' : 'range', ...text};
}

export function isWithin(keyText: string, {start, end}: TextRange): boolean {
  return keyText >= start && (end === null || keyText < end);
}

function nameOf({shape, start, end}: TextRange): string {
  if (shape !== 'range') return start;
  return `${start.length} ${start}${end === null ? '' : ` ${end}`}`;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
