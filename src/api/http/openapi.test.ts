/** GET /openapi.json: sound as such, and held against the routes and what the server does. */
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test, type TestContext} from 'node:test';
import {startHttp, type Answer, type HttpFixture} from '../../../test/contract/http-fixture.ts';
import {MachineService} from '../../../test/contract/machine-service.ts';
import {
  asList,
  asObject,
  documentFaults,
  schemaFaults,
  type Json,
} from '../../../test/contract/schema-check.ts';
import {errorTable} from '../../base/errors.ts';
import {routes} from './router.ts';

interface Described {
  /** As `GET /kv/{key}`. */
  readonly name: string;
  readonly method: string;
  /** Of a path that exists or is well formed. */
  readonly path: string;
  readonly operation: Json;
}

class Door {
  readonly http: HttpFixture;
  readonly document: Json;

  private constructor(http: HttpFixture, document: Json) {
    this.http = http;
    this.document = document;
  }

  static async open(t: TestContext): Promise<Door> {
    const service = new MachineService();
    const http = await startHttp(t, {service, watches: service.watches});
    const answer = await http.request('GET', '/openapi.json');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], 'application/json');
    assert.equal(answer.headers['cache-control'], 'no-cache');
    return new Door(http, asObject(answer.json));
  }

  operations(): Described[] {
    return Object.entries(asObject(this.document['paths'])).flatMap(([route, item]) =>
      Object.entries(asObject(item))
        .filter(([method]) => method !== 'parameters')
        .map(([method, operation]) => ({
          name: `${method.toUpperCase()} ${route}`,
          method: method.toUpperCase(),
          path: route.replace('{key}', 'k').replace('{id}', pathIds.get(route) ?? '7'),
          operation: asObject(operation),
        })),
    );
  }

  /** An answer that goes on is asked for its head alone. */
  send(
    {method, path}: Described,
    query: string,
    options: {readonly headers?: Readonly<Record<string, string>>; readonly body?: string} = {},
  ): Promise<Answer> {
    const isEndless = path === '/watch' || path === '/cluster/snapshot';
    return this.http.request(isEndless ? 'HEAD' : method, `${path}${query}`, options);
  }

  /** The answer must be one that the document has for the request. */
  assertDescribed({name, operation}: Described, answer: Answer): void {
    const response = asObject(operation['responses'])[String(answer.status)];
    assert.ok(response !== undefined, `${name} answers ${answer.status}: ${answer.text}`);
    const type = answer.headers['content-type']?.split(';')[0] ?? '';
    const {content = {}, headers = {}} = asObject(response);
    for (const header of Object.keys(asObject(headers))) {
      if (header === 'Content-Disposition') continue;
      assert.ok(answer.headers[header.toLowerCase()] !== undefined, `${name}: ${header}`);
    }
    if (type === '') return;
    const {schema = {}} = asObject(asObject(content)[type]);
    const value = type.endsWith('json') ? answer.json : answer.text;
    assert.deepEqual(schemaFaults(schema, value, this.document), [], `${name}: ${answer.text}`);
  }
}

const pathIds = new Map([
  ['/session/{id}', '0123456789abcdef'],
  ['/cluster/members/{id}', 'node2'],
]);

function parametersOf({operation}: Described, place: 'query' | 'header'): Json[] {
  return asList(operation['parameters'])
    .map(asObject)
    .filter(parameter => parameter['in'] === place);
}

function bodyOf({operation}: Described): Json | null {
  const body = operation['requestBody'];
  if (body === undefined) return null;
  const json = asObject(asObject(body)['content'])['application/json'];
  return json === undefined ? null : asObject(asObject(json)['schema']);
}

/** What a text of the schema may be, and what it must not be. */
function samples(schema: Json): {readonly good: string[]; readonly bad: string[]} {
  const {type, minimum, maximum} = schema;
  if (type === 'integer' || type === 'number') {
    const [least, most] = [Number(minimum), Number(maximum)];
    const low = least > 0 ? String(type === 'integer' ? least - 1 : least / 2) : '-1';
    return {good: [String(least), String(most)], bad: [low, String(most * 1.5), 'x', '']};
  }
  if (schema['enum'] !== undefined) {
    return {good: asList(schema['enum']).map(String), bad: ['maybe']};
  }
  if (schema['pattern'] !== undefined) return {good: ['7'], bad: ['x', '-1']};
  return {good: ['a'], bad: []};
}

test('the document is sound OpenAPI 3.1, with every route and every code', async t => {
  const door = await Door.open(t);
  assert.deepEqual(documentFaults(door.document), []);
  assert.deepEqual(
    door.operations().map(({name}) => name),
    routes.flatMap(({name, operations}) => [...operations.keys()].map(each => `${each} ${name}`)),
  );
  const {ErrorCode} = asObject(asObject(door.document['components'])['schemas']);
  const codes = asList(asObject(ErrorCode)['oneOf']).map(row => asObject(row)['const']);
  assert.deepEqual(codes, Object.keys(errorTable));
  for (const {operation} of door.operations()) {
    for (const [status, response] of Object.entries(asObject(operation['responses']))) {
      const listed = /"enum":(\[[^\]]*\])/.exec(JSON.stringify(response))?.[1];
      if (listed === undefined || Number(status) < 400) continue;
      for (const code of JSON.parse(listed) as string[]) {
        assert.equal(errorTable[code as keyof typeof errorTable].status, Number(status));
      }
    }
  }
});

test('the structural check sees what is wrong', async t => {
  const {document} = await Door.open(t);
  const damaged = (from: string, to: string): string[] =>
    documentFaults(JSON.parse(JSON.stringify(document).replace(from, to)) as Json);
  assert.match(damaged('"3.1.0"', '"2.0"').join(), /openapi is not 3\.1/);
  assert.match(damaged('schemas/Range"', 'schemas/Rnage"').join(), /Rnage is nothing/);
  assert.match(damaged('"putKey"', '"getKey"').join(), /getKey is not unique/);
  assert.match(damaged('"in":"path"', '"in":"query"').join(), /\{key\} is not declared/);
});

test('every parameter is taken within its range and refused beyond it, and no other', async t => {
  const door = await Door.open(t);
  for (const each of door.operations()) {
    const unknown = await door.send(each, '?nope=1');
    assert.equal(unknown.status, 400, `${each.name} takes ?nope`);
    for (const {name, schema} of parametersOf(each, 'query')) {
      const {good, bad} = samples(asObject(schema));
      for (const value of good) {
        const answer = await door.send(each, `?${String(name)}=${value}`);
        const problem = answer.json?.['code'];
        const isRefused = problem === 'INVALID_PARAMETER' || answer.text.includes('not known to');
        assert.ok(!isRefused, `${each.name}?${String(name)}=${value}: ${answer.text}`);
      }
      for (const value of bad) {
        const answer = await door.send(each, `?${String(name)}=${value}`);
        assert.equal(answer.status, 400, `${each.name} takes ?${String(name)}=${value}`);
      }
    }
  }
});

test('every header is understood: what is none of its values is refused', async t => {
  const door = await Door.open(t);
  await door.http.put('k', 'v');
  const bad: Readonly<Record<string, string>> = {
    'If-Match': 'seven',
    'If-None-Match': 'seven',
    'Idempotency-Key': 'x'.repeat(129),
    'Idempotency-Acknowledged': 'x',
    'Last-Event-ID': 'x',
  };
  const bodies: Readonly<Record<string, string>> = {
    'PUT /kv': '{"key":"k","value":"v"}',
    'POST /compact': '{"revision":0}',
    'POST /lease': '{"ttl":1}',
    'POST /txn': '{}',
  };
  for (const each of door.operations()) {
    const query = each.name === 'DELETE /kv' ? '?prefix=none' : '';
    const known = parametersOf(each, 'header').map(({name}) => String(name));
    for (const name of known) {
      const headers = {[name]: bad[name] ?? ''};
      const answer = await door.send(each, query, {headers, body: bodies[each.name] ?? ''});
      assert.equal(answer.status, 400, `${each.name} with ${name}: ${answer.text}`);
      if (each.path !== '/watch') assert.equal(answer.json?.['code'], 'INVALID_PARAMETER');
    }
  }
});

test('every field of a body is known with its type, and no other', async t => {
  const door = await Door.open(t);
  for (const each of door.operations()) {
    const schema = bodyOf(each);
    if (schema === null) continue;
    const send = async (body: unknown): Promise<Answer> =>
      door.send(each, '', {body: JSON.stringify(body)});
    const unknown = await send({nope: 1});
    assert.equal(unknown.json?.['code'], 'INVALID_REQUEST', each.name);
    assert.match(unknown.text, /nope/);
    const valid: Readonly<Record<string, unknown>> = {
      key: 'k',
      value: 'v',
      revision: 1,
      ttl: 1,
      id: '7',
      listen: '127.0.0.1:1',
    };
    const names = Object.keys(asObject(schema['properties']));
    const required = new Set(asList(schema['required'] ?? []).map(String));
    for (const name of names) {
      const body = Object.fromEntries([...required].map(other => [other, valid[other]]));
      const wrong = await send({...body, [name]: true});
      assert.equal(wrong.json?.['code'], 'INVALID_REQUEST', `${each.name} ${name}`);
      assert.ok(String(wrong.json['detail']).includes(`"${name}"`), wrong.text);
      if (!required.has(name)) continue;
      const lacking = Object.fromEntries(Object.entries(body).filter(([other]) => other !== name));
      const missing = await send(lacking);
      assert.match(missing.text, new RegExp(`${name}.* is missing`), each.name);
    }
  }
});

test('what the server answers is what the document says', async t => {
  const door = await Door.open(t);
  const operations = new Map(door.operations().map(each => [each.name, each]));
  const answered = new Set<string>();
  const ask = async (
    name: string,
    path: string,
    options: {readonly headers?: Readonly<Record<string, string>>; readonly body?: string} = {},
  ): Promise<Answer> => {
    const described = operations.get(name);
    assert.ok(described !== undefined, name);
    const answer = await door.http.request(described.method, path, options);
    door.assertDescribed(described, answer);
    if (answer.status < 300) answered.add(name);
    return answer;
  };

  await ask('PUT /kv', '/kv', {body: '{"key":"a","value":"1"}'});
  await ask('PUT /kv', '/kv', {body: '{"key":"/w==","keyEncoding":"base64","value":"1"}'});
  await ask('PUT /kv', '/kv', {body: '{"key":'});
  await ask('PUT /kv/{key}', '/kv/a', {body: '2', headers: {'If-Match': '"99"'}});
  await ask('PUT /kv/{key}', '/kv/b?ttl=30', {body: '2'});
  await ask('GET /kv/{key}', '/kv/a');
  await ask('GET /kv/{key}', '/kv/%FF');
  await ask('GET /kv/{key}', '/kv/a', {headers: {Accept: 'application/octet-stream'}});
  await ask('GET /kv/{key}', '/kv/a', {headers: {'If-None-Match': '"2"'}});
  await ask('GET /kv/{key}', '/kv/none');
  await ask('GET /kv/{key}', '/kv/a?revision=999');
  for (const query of ['', '?limit=1', '?keysOnly', '?countOnly', '?cursor=nonsense']) {
    await ask('GET /kv', `/kv${query}`);
  }
  const transaction = {
    success: [
      {put: {key: 't', value: '1'}},
      {get: {key: 't'}},
      {get: {key: 'none'}},
      {delete: {key: 'none'}},
    ],
  };
  await ask('POST /txn', '/txn', {body: JSON.stringify(transaction)});
  await ask('POST /txn', '/txn', {body: '{"success":[{"nope":{}}]}'});
  const {json} = await ask('POST /lease', '/lease', {body: '{"ttl":30}'});
  const id = String(json?.['id']);
  await ask('PUT /kv/{key}', `/kv/leased?lease=${id}`, {body: 'x'});
  await ask('GET /lease', '/lease?limit=1');
  await ask('GET /lease/{id}', `/lease/${id}`);
  await ask('POST /lease/{id}/keepalive', `/lease/${id}/keepalive`);
  await ask('DELETE /lease/{id}', `/lease/${id}`);
  await ask('DELETE /lease/{id}', `/lease/${id}`);
  await ask('DELETE /kv/{key}', '/kv/a');
  await ask('DELETE /kv', '/kv?prefix=b');
  await ask('DELETE /kv', '/kv');
  await ask('POST /compact', '/compact', {body: '{"revision":2}'});
  const session = await ask('POST /session', '/session');
  await ask('DELETE /session/{id}', `/session/${String(session.json?.['id'])}`);
  for (const path of ['/status', '/leader', '/livez', '/readyz', '/metrics', '/openapi.json']) {
    await ask(`GET ${path}`, path);
  }
  await ask('GET /cluster/snapshot', '/cluster/snapshot');
  await ask('GET /cluster/members', '/cluster/members');
  await ask('POST /cluster/members', '/cluster/members', {
    body: '{"id":"node4","listen":"127.0.0.1:8083"}',
  });
  await ask('DELETE /cluster/members/{id}', '/cluster/members/node4');
  await ask('POST /cluster/leader', '/cluster/leader', {body: '{"id":"node1"}'});
  const watch = await door.http.request('HEAD', '/watch');
  assert.equal(watch.headers['content-type'], 'text/event-stream');
  answered.add('GET /watch');
  assert.deepEqual(
    [...operations.keys()].filter(name => !answered.has(name)),
    [],
  );
});

test('docs/http-api.md names every header and every field that the document has', async t => {
  const door = await Door.open(t);
  const page = readFileSync('docs/http-api.md', 'utf8');
  const fieldNames = (schema: Json): string[] =>
    Object.entries(schema).flatMap(([keyword, inner]) => {
      if (keyword === 'items') return fieldNames(asObject(inner));
      if (keyword !== 'properties') return [];
      return Object.entries(asObject(inner)).flatMap(([name, field]) => [
        name,
        ...fieldNames(asObject(field)),
      ]);
    });
  const names = door
    .operations()
    .flatMap(each => [
      ...parametersOf(each, 'header').map(({name}) => String(name)),
      ...fieldNames(bodyOf(each) ?? {}),
    ]);
  assert.ok(names.includes('Last-Event-ID') && names.includes('keyEncoding'));
  const missing = names.filter(name => !new RegExp(`\\b${name}\\b`, 'u').test(page));
  assert.deepEqual(missing, []);
});
