/**
 * The parameters of a query, by name. A route says which names it knows; an unknown or a repeated
 * one is refused by name, because a misspelt `revison=7` must not silently read the present.
 */
import {isUtf8} from 'node:buffer';
import {RosettaError} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import type {Consistency} from '../../node/service.ts';
import {integerParameter, type IntegerParameter, type Parameter} from './parameter.ts';
import {percentDecode} from './request-target.ts';

export const timeoutParameter = integerParameter(
  'timeout',
  'Milliseconds after which the request is given up',
  {minimum: 1, maximum: limits.requestTimeoutMsMax, default: limits.requestTimeoutMsDefault},
);

export const consistencyParameter: Parameter = {
  name: 'consistency',
  description: 'local: the state of the node that is asked, maybe stale, without a leader',
  schema: {type: 'string', enum: ['linearizable', 'local'], default: 'linearizable'},
};

export const revisionParameter = integerParameter(
  'revision',
  'The state at this revision; default: the present one',
  {minimum: 1, maximum: Number.MAX_SAFE_INTEGER},
);

export class QueryParameters {
  readonly #values: ReadonlyMap<string, Buffer>;

  constructor(values: ReadonlyMap<string, Buffer>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  bytes(name: string): Buffer | undefined {
    return this.#values.get(name);
  }

  text(name: string): string | undefined {
    const bytes = this.#values.get(name);
    if (bytes === undefined) return undefined;
    if (!isUtf8(bytes)) throw invalidParameter(name, 'is not UTF-8');
    return bytes.toString('utf8');
  }

  integer({name, schema}: IntegerParameter): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const {minimum, maximum} = schema;
    const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : NaN;
    if (!(value >= minimum && value <= maximum)) {
      throw invalidParameter(name, `must be a whole number from ${minimum} to ${maximum}`);
    }
    return value;
  }

  /** Present without a value means true. */
  flag(name: string): boolean | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (text === '' || text === 'true' || text === '1') return true;
    if (text === 'false' || text === '0') return false;
    throw invalidParameter(name, 'must be true or false');
  }

  timeoutMs(): number {
    return this.integer(timeoutParameter) ?? limits.requestTimeoutMsDefault;
  }

  consistency(): Consistency {
    const text = this.text('consistency');
    if (text === undefined || text === 'linearizable') return 'linearizable';
    if (text === 'local') return 'local';
    throw invalidParameter('consistency', 'must be linearizable or local');
  }
}

const none = new QueryParameters(new Map());

/** Throws INVALID_PARAMETER or BAD_PERCENT_ENCODING. */
export function parseQuery(query: string, known: ReadonlySet<string>): QueryParameters {
  if (query === '') return none;
  const values = new Map<string, Buffer>();
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const rawName = equals < 0 ? pair : pair.slice(0, equals);
    const name = percentDecode(rawName, {isQuery: true}).toString('latin1');
    if (!known.has(name)) throw invalidParameter(name, 'is not known to this route');
    if (values.has(name)) throw invalidParameter(name, 'is given twice');
    values.set(name, percentDecode(equals < 0 ? '' : pair.slice(equals + 1), {isQuery: true}));
  }
  return new QueryParameters(values);
}

export function invalidParameter(name: string, sentence: string): RosettaError {
  return new RosettaError(
    'INVALID_PARAMETER',
    `the parameter ${JSON.stringify(name.slice(0, 64))} ${sentence}`,
  );
}
