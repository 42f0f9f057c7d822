/**
 * What a verb is: `./rosetta <words> OPERANDS -flags`. It answers with an exit code: 0 done, 1 not
 * done, 2 wrong usage. Errors that speak for themselves are thrown; main.ts prints their message.
 */
import {UsageError} from '../usage-error.ts';

export interface VerbFlag {
  readonly kind: 'text' | 'switch';
  /** Shown behind the name in the help; empty for a switch. */
  readonly value: string;
  readonly help: string;
}

export interface VerbOutput {
  /** Standard output: what was asked for. */
  readonly print: (content: string | Uint8Array) => void;
  /** Resolves when what was printed has left, as far as whoever reads it takes it. */
  readonly drained: () => Promise<void>;
  /** Standard error: what goes on meanwhile. */
  readonly note: (text: string) => void;
  /** Whether standard output, and standard error, is read by a person. */
  readonly isTerminal: boolean;
  readonly isNoteTerminal: boolean;
  /** Of the terminal, in characters; elsewhere there is no limit. */
  readonly columnCount: number;
}

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** What a verb knows of its process. */
export interface VerbSurroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly output: VerbOutput;
  /** A terminal has started this process and sends its signals to whatever runs in it. */
  readonly isAtTerminal: boolean;
  /** Standard input. */
  readonly input: () => AsyncIterable<Uint8Array>;
  /** From then on these signals are the verb's business and end nothing by themselves. */
  readonly onSignal: (listener: (signal: StopSignal) => void) => void;
}

export interface VerbInput extends VerbSurroundings {
  readonly operands: readonly string[];
  /** By name, without a dash; a switch that is on has the value `true`. */
  readonly flags: ReadonlyMap<string, string>;
}

export interface Verb {
  /** `snapshot save`. */
  readonly name: string;
  /** As the help shows them; one that ends in `…` stands for any number, `[…]` may be left out. */
  readonly operands: readonly string[];
  readonly summary: string;
  readonly flags: Readonly<Record<string, VerbFlag>>;
  readonly run: (input: VerbInput) => Promise<number>;
}

/** Why a verb could not do what it was asked to; one clear line. The process exits with 1. */
export class VerbError extends Error {
  override readonly name: string = 'VerbError';
  /** Errors with advice are shown without a stack. */
  readonly advice = '';
  /** Of the API or the client; null: there is none. */
  readonly code: string | null;
  /** `unknown`: a write may have happened. */
  readonly outcome: string;

  constructor(message: string, fields: {readonly code?: string; readonly outcome?: string} = {}) {
    super(message);
    this.code = fields.code ?? null;
    this.outcome = fields.outcome ?? 'definite';
  }
}

export const jsonFlag = {
  json: {kind: 'switch', value: '', help: 'print JSON, for programs'},
} as const;

export function text(value: string, help: string): VerbFlag {
  return {kind: 'text', value, help};
}

/** `words`: what follows the verb's name. Throws UsageError. */
export function parseVerbWords(
  verb: Verb,
  words: readonly string[],
): Pick<VerbInput, 'operands' | 'flags'> {
  const operands: string[] = [];
  const flags = new Map<string, string>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (word === '--') {
      operands.push(...words.slice(i + 1));
      break;
    }
    const match = /^--?([A-Za-z][A-Za-z0-9-]*)(?:=(.*))?$/s.exec(word);
    if (match === null) {
      operands.push(word);
      continue;
    }
    const name = match[1] ?? '';
    const flag = Object.hasOwn(verb.flags, name) ? verb.flags[name] : undefined;
    if (flag === undefined) throw new UsageError(`${verb.name} has no flag -${name}; ${see(verb)}`);
    if (flags.has(name)) throw new UsageError(`-${name} is given twice`);
    let value = match[2];
    if (flag.kind === 'switch') {
      value ??= 'true';
      if (value !== 'true' && value !== 'false') {
        throw new UsageError(`-${name}=${value} must be true or false`);
      }
    } else if (value === undefined) {
      i += 1;
      value = words[i];
      if (value === undefined)
        throw new UsageError(`-${name} needs a value: -${name}=${flag.value}`);
    }
    flags.set(name, value);
  }
  checkOperands(verb, operands);
  return {operands, flags};
}

function checkOperands(verb: Verb, operands: readonly string[]): void {
  const wanted = verb.operands;
  const isOpen = wanted.at(-1)?.endsWith('…') === true;
  const countMin = wanted.filter(operand => !operand.startsWith('[')).length;
  const missing = wanted[operands.length];
  if (operands.length < countMin) {
    throw new UsageError(`${verb.name} needs ${missing ?? 'more'}: ${usageLine(verb)}`);
  }
  if (operands.length > wanted.length && !isOpen) {
    const extra = JSON.stringify(operands[wanted.length]);
    throw new UsageError(`${verb.name} does not know what to do with ${extra}; ${see(verb)}`);
  }
}

export function isOn(input: VerbInput, name: string): boolean {
  return input.flags.get(name) === 'true';
}

/** Throws UsageError. */
export function requiredFlag(input: VerbInput, name: string, example: string): string {
  const value = input.flags.get(name);
  if (value !== undefined && value !== '') return value;
  throw new UsageError(`-${name} is missing; for example -${name}=${example}`);
}

/** Throws UsageError. */
export function integerFlag(
  input: VerbInput,
  name: string,
  range: {readonly min: number; readonly max: number; readonly fallback: number},
): number {
  const given = input.flags.get(name);
  if (given === undefined) return range.fallback;
  const value = /^[0-9]{1,15}$/.test(given) ? Number(given) : NaN;
  if (value >= range.min && value <= range.max) return value;
  throw new UsageError(
    `-${name}=${given} must be a whole number from ${range.min} to ${range.max}`,
  );
}

/** Undefined: the flag is not there. Throws UsageError. */
export function optionalInteger(
  input: VerbInput,
  name: string,
  range: {readonly min: number; readonly max: number},
): number | undefined {
  if (!input.flags.has(name)) return undefined;
  return integerFlag(input, name, {...range, fallback: range.min});
}

/** Undefined: the flag is not there. Throws UsageError. */
export function secondsFlag(
  input: VerbInput,
  name: string,
  range: {readonly min: number; readonly max: number},
): number | undefined {
  const given = input.flags.get(name);
  return given === undefined ? undefined : secondsOf(given, `-${name}=${given}`, range);
}

/** Throws UsageError. */
export function secondsOf(
  given: string,
  name: string,
  range: {readonly min: number; readonly max: number},
): number {
  const value = /^[0-9]{1,10}(?:\.[0-9]{1,6})?$/.test(given) ? Number(given) : NaN;
  if (value >= range.min && value <= range.max) return value;
  throw new UsageError(`${name} must be seconds, from ${range.min} to ${range.max}`);
}

function usageLine(verb: Verb): string {
  return ['./rosetta', verb.name, ...verb.operands].join(' ');
}

function see(verb: Verb): string {
  return `./rosetta ${verb.name} -help lists what it knows`;
}

export function verbHelp(verb: Verb): string {
  const lines = [`Usage: ${usageLine(verb)} [flags]`, '', verb.summary, ''];
  for (const [name, {value, help}] of Object.entries(verb.flags)) {
    const left = value === '' ? `-${name}` : `-${name}=${value}`;
    lines.push(`  ${left.padEnd(28)} ${help}`);
  }
  return `${lines.join('\n')}\n`;
}
