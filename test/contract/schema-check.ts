/**
 * The part of JSON Schema that GET /openapi.json uses, and the structure of an OpenAPI 3.1
 * document. Both say what is wrong, one line each; an unknown keyword is wrong.
 */

export type Json = Readonly<Record<string, unknown>>;

const annotations = new Set(['description', 'default']);

/** `root`: where `$ref` looks. */
export function schemaFaults(schema: unknown, value: unknown, root: Json, at = '$'): string[] {
  return Object.entries(asObject(schema)).flatMap(([keyword, rule]) => {
    if (annotations.has(keyword)) return [];
    const check = keywords[keyword];
    if (check === undefined) return [`${at}: the keyword ${keyword} is not known here`];
    return check(rule, value, {root, at, schema: asObject(schema)});
  });
}

interface Place {
  readonly root: Json;
  readonly at: string;
  readonly schema: Json;
}

type Check = (rule: unknown, value: unknown, place: Place) => string[];

const keywords: Readonly<Record<string, Check>> = {
  $ref: (rule, value, {root, at}) => schemaFaults(resolve(root, String(rule)), value, root, at),
  type: (rule, value, {at}) => {
    const types = Array.isArray(rule) ? rule.map(String) : [String(rule)];
    return types.some(type => isOfType(value, type)) ? [] : [`${at} is no ${types.join(' or ')}`];
  },
  const: (rule, value, {at}) => (value === rule ? [] : [`${at} is not ${String(rule)}`]),
  enum: (rule, value, {at}) => (asList(rule).includes(value) ? [] : [`${at} is none of the enum`]),
  minimum: (rule, value, {at}) =>
    typeof value === 'number' && value < Number(rule) ? [`${at} is too small`] : [],
  maximum: (rule, value, {at}) =>
    typeof value === 'number' && value > Number(rule) ? [`${at} is too large`] : [],
  minLength: (rule, value, {at}) =>
    typeof value === 'string' && value.length < Number(rule) ? [`${at} is too short`] : [],
  maxLength: (rule, value, {at}) =>
    typeof value === 'string' && value.length > Number(rule) ? [`${at} is too long`] : [],
  pattern: (rule, value, {at}) =>
    typeof value === 'string' && !new RegExp(String(rule), 'u').test(value)
      ? [`${at} does not match ${String(rule)}`]
      : [],
  items: (rule, value, {root, at}) =>
    Array.isArray(value)
      ? value.flatMap((item, i) => schemaFaults(rule, item, root, `${at}[${i}]`))
      : [],
  maxItems: (rule, value, {at}) =>
    Array.isArray(value) && value.length > Number(rule) ? [`${at} has too many items`] : [],
  properties: (rule, value, {root, at}) =>
    Object.entries(asObject(rule)).flatMap(([name, inner]) =>
      isObject(value) && name in value
        ? schemaFaults(inner, value[name], root, `${at}.${name}`)
        : [],
    ),
  required: (rule, value, {at}) =>
    asList(rule)
      .map(String)
      .flatMap(name => (isObject(value) && !(name in value) ? [`${at}.${name} is missing`] : [])),
  additionalProperties: (rule, value, {at, schema}) => {
    if (rule !== false) return [`${at}: additionalProperties can only be false here`];
    const known = asObject(schema['properties'] ?? {});
    const names = isObject(value) ? Object.keys(value) : [];
    return names.filter(name => !(name in known)).map(name => `${at}.${name} is not described`);
  },
  minProperties: (rule, value, {at}) =>
    isObject(value) && Object.keys(value).length < Number(rule) ? [`${at} has too few fields`] : [],
  maxProperties: (rule, value, {at}) =>
    isObject(value) && Object.keys(value).length > Number(rule)
      ? [`${at} has too many fields`]
      : [],
  allOf: (rule, value, {root, at}) =>
    asList(rule).flatMap(inner => schemaFaults(inner, value, root, at)),
  oneOf: (rule, value, {root, at}) => {
    const fitting = asList(rule).filter(inner => schemaFaults(inner, value, root, at).length === 0);
    return fitting.length === 1 ? [] : [`${at} fits ${fitting.length} of oneOf`];
  },
};

const methods = new Set(['get', 'put', 'post', 'delete']);

/** Of a document that no tool would take for OpenAPI 3.1. */
export function documentFaults(document: Json): string[] {
  const faults: string[] = [];
  const must = (holds: boolean, fault: string): void => {
    if (!holds) faults.push(fault);
  };
  must(/^3\.1\.\d+$/.test(String(document['openapi'])), 'openapi is not 3.1');
  const info = asObject(document['info']);
  must(typeof info['title'] === 'string' && typeof info['version'] === 'string', 'info lacks');
  for (const ref of refs(document)) must(resolve(document, ref) !== undefined, `${ref} is nothing`);
  const ids = new Set<string>();
  for (const [path, item] of Object.entries(asObject(document['paths']))) {
    must(path.startsWith('/'), `${path} is no path`);
    const {parameters: shared = [], ...operations} = asObject(item);
    for (const [method, each] of Object.entries(operations)) {
      const at = `${method} ${path}`;
      const operation = asObject(each);
      must(methods.has(method), `${at}: no method`);
      const id = operation['operationId'];
      must(typeof id === 'string' && !ids.has(id), `${at}: ${String(id)} is not unique`);
      ids.add(String(id));
      const parameters = [...asList(shared), ...asList(operation['parameters'])].map(asObject);
      faults.push(...parameterFaults(parameters, path, at));
      const responses = Object.entries(asObject(operation['responses']));
      must(responses.length > 0, `${at}: no responses`);
      for (const [status, response] of responses) {
        must(/^([1-5]\d\d|default)$/.test(status), `${at}: ${status} is no status`);
        const {description, $ref} = asObject(response);
        must(typeof (description ?? $ref) === 'string', `${at} ${status}: no description`);
      }
    }
  }
  return faults;
}

function parameterFaults(parameters: readonly Json[], path: string, at: string): string[] {
  const faults: string[] = [];
  const names = new Set<string>();
  for (const {name, in: place, required, schema} of parameters) {
    const key = `${String(place)} ${String(name)}`;
    if (names.has(key)) faults.push(`${at}: ${key} twice`);
    names.add(key);
    if (!['path', 'query', 'header'].includes(String(place))) faults.push(`${at}: in ${key}`);
    if (!isObject(schema)) faults.push(`${at}: ${key} has no schema`);
    if (place === 'path' && required !== true) faults.push(`${at}: ${key} must be required`);
    if (place === 'path' && !path.includes(`{${String(name)}}`)) faults.push(`${at}: ${key}`);
  }
  for (const [, name = ''] of path.matchAll(/\{([^}]+)\}/g)) {
    if (!names.has(`path ${name}`)) faults.push(`${at}: {${name}} is not declared`);
  }
  return faults;
}

/** All of them, wherever they are. */
function refs(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(refs);
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    name === '$ref' ? [String(inner)] : refs(inner),
  );
}

function resolve(root: Json, ref: string): unknown {
  let found: unknown = root;
  for (const name of ref.replace(/^#\//, '').split('/')) {
    found = isObject(found) ? found[name] : undefined;
  }
  return found;
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isObject(value);
    case 'integer':
      return Number.isSafeInteger(value);
    default:
      return typeof value === type;
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function asObject(value: unknown): Json {
  if (!isObject(value)) throw new Error(`${JSON.stringify(value)} is no object`);
  return value;
}

export function asList(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`${JSON.stringify(value)} is no list`);
  return value;
}
