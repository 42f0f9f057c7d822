/** JSON Schema (draft 2020-12, as OpenAPI 3.1 has it), as far as requests and answers need it. */

export interface JsonSchema {
  /** Of a schema among the components of the document: `#/components/schemas/<name>`. */
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly const?: string;
  readonly enum?: readonly string[];
  readonly default?: string | number | boolean;
  /** Inclusive, as the maximum. */
  readonly minimum?: number;
  readonly maximum?: number;
  /** Characters, or bytes of what has no type. */
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly items?: JsonSchema;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly oneOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
}

/** Revisions, and what else is counted from 0 and stays below 2^53. */
export function integerSchema(minimum: number, description?: string): JsonSchema {
  const schema = {type: 'integer', minimum, maximum: Number.MAX_SAFE_INTEGER};
  return description === undefined ? schema : {...schema, description};
}

/** The fields of an object that a request may have: what the others are refused by, and told by. */
export interface FieldSet {
  readonly names: ReadonlySet<string>;
  readonly schema: JsonSchema;
}

export function fieldSet(fields: {
  readonly required?: Readonly<Record<string, JsonSchema>>;
  readonly optional?: Readonly<Record<string, JsonSchema>>;
}): FieldSet {
  const {required = {}, optional = {}} = fields;
  const properties = {...required, ...optional};
  return {names: new Set(Object.keys(properties)), schema: objectSchema(required, optional)};
}

/** An object that has the first fields always, the others sometimes, and no more. */
export function objectSchema(
  required: Readonly<Record<string, JsonSchema>>,
  optional: Readonly<Record<string, JsonSchema>> = {},
): JsonSchema {
  const names = Object.keys(required);
  const fields = {properties: {...required, ...optional}, additionalProperties: false};
  return names.length === 0
    ? {type: 'object', ...fields}
    : {type: 'object', ...fields, required: names};
}
