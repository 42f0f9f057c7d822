/**
 * What a request may carry beside its body, in the query or as a header: described where it is
 * validated, and told by GET /openapi.json.
 */
import type {JsonSchema} from './json-schema.ts';

export interface Parameter {
  readonly name: string;
  readonly description: string;
  readonly schema: JsonSchema;
}

export interface IntegerParameter extends Parameter {
  /** Inclusive. */
  readonly schema: JsonSchema & {readonly minimum: number; readonly maximum: number};
}

/** The query parameters that a route knows; every other name is refused. */
export interface ParameterSet {
  readonly names: ReadonlySet<string>;
  readonly all: readonly Parameter[];
}

export function parameterSet(...all: readonly Parameter[]): ParameterSet {
  return {names: new Set(all.map(({name}) => name)), all};
}

export function integerParameter(
  name: string,
  description: string,
  range: {readonly minimum: number; readonly maximum: number; readonly default?: number},
): IntegerParameter {
  return {name, description, schema: {type: 'integer', ...range}};
}

/** Present without a value means true. */
export function flagParameter(name: string, description: string): Parameter {
  return {
    name,
    description,
    schema: {type: 'string', enum: ['', 'true', '1', 'false', '0'], default: 'false'},
  };
}

/** Bytes, percent-encoded. */
export function bytesParameter(name: string, description: string): Parameter {
  return {name, description, schema: {type: 'string'}};
}
