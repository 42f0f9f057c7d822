/**
 * The numbers and names of the protocol, branded so that one cannot be passed for the other. Each
 * has one maker that asserts its range. 64-bit on disk and on the wire, JavaScript numbers here:
 * safe up to 2^53 - 1.
 */
import {assert} from '../base/assert.ts';

declare const termBrand: unique symbol;
declare const indexBrand: unique symbol;
declare const nodeIdBrand: unique symbol;

/** Election epoch. 0 before the first election, never decreases on a node. */
export type Term = number & {readonly [termBrand]: true};

/** Position in the log, 1-based; 0 is the position before the first entry. */
export type LogIndex = number & {readonly [indexBrand]: true};

/** A member's name, `[A-Za-z0-9_-]{1,64}`. Never used again after its removal. */
export type NodeId = string & {readonly [nodeIdBrand]: true};

const nodeIdPattern = /^[A-Za-z0-9_-]{1,64}$/;

export function isNodeId(text: string): text is NodeId {
  return nodeIdPattern.test(text);
}

export function nodeId(text: string): NodeId {
  assert(isNodeId(text), 'not a node id: %', text);
  return text;
}

export function term(value: number): Term {
  assert(Number.isSafeInteger(value) && value >= 0, 'not a term: %', value);
  return value as Term;
}

export function logIndex(value: number): LogIndex {
  assert(Number.isSafeInteger(value) && value >= 0, 'not a log index: %', value);
  return value as LogIndex;
}

export const noTerm = term(0);
export const noIndex = logIndex(0);

export function termAfter(value: Term): Term {
  return term(value + 1);
}

export function indexAfter(index: LogIndex): LogIndex {
  return logIndex(index + 1);
}

/** `index` must be above 0. */
export function indexBefore(index: LogIndex): LogIndex {
  return logIndex(index - 1);
}

export function minIndex(a: LogIndex, b: LogIndex): LogIndex {
  return a < b ? a : b;
}

export function maxIndex(a: LogIndex, b: LogIndex): LogIndex {
  return a > b ? a : b;
}
