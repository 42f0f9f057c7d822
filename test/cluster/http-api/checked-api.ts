/**
 * Asks nodes over HTTP, one after the other, and checks of each answer what docs/http-api.md says
 * of all answers and GET /openapi.json of the route. What was asked and accepted is remembered, so
 * that a test can say which rows of the page nobody tried.
 */
import assert from 'node:assert/strict';
import {Agent, request as httpRequest} from 'node:http';
import {connect} from 'node:net';
import type {Answer} from '../../contract/http-fixture.ts';
import {asList, asObject, schemaFaults, type Json} from '../../contract/schema-check.ts';
import type {Page} from './document-rows.ts';

export interface AskOptions {
  /** An object becomes JSON. */
  readonly body?: string | Uint8Array | Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Which node; otherwise the next one. */
  readonly at?: number;
}

const patienceMs = 60_000;

export class CheckedApi {
  /** `host:port` of each node. */
  readonly endpoints: readonly string[];
  readonly #page: Page;
  readonly #document: Json;
  readonly #tried: Set<string>;
  readonly #agent = new Agent({keepAlive: true});
  #turn = 0;

  /** `tried` may be shared. */
  constructor(endpoints: readonly string[], page: Page, document: Json, tried: Set<string>) {
    this.endpoints = endpoints;
    this.#page = page;
    this.#document = document;
    this.#tried = tried;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** `request`: as `GET /kv/a?revision=7`. Throws when the answer breaks what all answers keep. */
  async ask(request: string, options: AskOptions = {}): Promise<Answer> {
    const [method = '', path = ''] = request.split(' ');
    const at = (options.at ?? this.#turn++) % this.endpoints.length;
    const {body, headers = {}} = options;
    const sent =
      body === undefined || typeof body === 'string' || body instanceof Uint8Array
        ? body
        : JSON.stringify(body);
    const answer = await this.#send(at, method, path, headers, sent);
    const where = `${request.slice(0, 100)} at ${at}: ${answer.status} ${answer.text.slice(0, 300)}`;
    this.#check(method, path, answer, where);
    if (answer.status < 400) this.#remember(method, path, Object.keys(headers), sent);
    return answer;
  }

  /** The body of a 200. */
  async ok(request: string, options: AskOptions = {}): Promise<Json> {
    const answer = await this.ask(request, options);
    assert.equal(answer.status, 200, `${request.slice(0, 100)}: ${answer.text.slice(0, 300)}`);
    return asObject(answer.json ?? {});
  }

  /** The code of a refusal, or the status of anything else. */
  async code(request: string, options: AskOptions = {}): Promise<string> {
    const answer = await this.ask(request, options);
    return answer.status < 400 ? String(answer.status) : String(answer.json?.['code']);
  }

  /** Each of the requests is refused with its code. */
  async refused(
    cases: readonly (readonly [request: string, code: string, options?: AskOptions])[],
  ): Promise<void> {
    for (const [request, code, options] of cases) {
      assert.equal(await this.code(request, options), code, request.slice(0, 100));
    }
  }

  /** Bytes as they are, one a character, on a connection of their own: what came back on it. */
  raw(text: string): Promise<string> {
    const endpoint = this.endpoints[this.#turn++ % this.endpoints.length] ?? '';
    const port = Number(endpoint.split(':').at(-1));
    return new Promise(resolve => {
      const socket = connect(port, '127.0.0.1');
      let received = '';
      socket.setEncoding('latin1');
      socket.on('data', (chunk: string) => (received += chunk));
      // A reset behind the answer is the server's right.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        for (const [, code = ''] of received.matchAll(/"code":"(\w+)"/g)) {
          this.#tried.add(`code ${code}`);
        }
        resolve(received);
      });
      socket.write(Buffer.from(text, 'latin1'));
    });
  }

  /** The codes, or the statuses, of all answers to `text`. */
  async rawCodes(text: string): Promise<string> {
    const answers = (await this.raw(text)).split('HTTP/1.1 ').slice(1);
    return answers
      .map(answer => /"code":"(\w+)"/.exec(answer)?.[1] ?? answer.slice(0, 3))
      .join(' ');
  }

  /** Notes what a request of another kind has tried. */
  remember(method: string, path: string, headers: readonly string[] = []): void {
    this.#remember(method, path, headers, undefined);
  }

  #send(
    at: number,
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    body: string | Uint8Array | undefined,
  ): Promise<Answer> {
    const [host = '', port = ''] = (this.endpoints[at] ?? '').split(':');
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : {'Content-Length': String(Buffer.byteLength(body))};
      const call = httpRequest({
        host,
        port,
        method,
        path,
        headers: {...length, ...headers},
        agent: this.#agent,
      });
      // Under load some answers take seconds; a stream that should be a refusal never ends.
      const patience = setTimeout(() => {
        call.destroy(new Error(`${method} ${path}: no end of the answer`));
      }, patienceMs);
      call.on('close', () => clearTimeout(patience));
      call.on('error', reject);
      call.on('response', response => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const bytes = Buffer.concat(chunks);
          const text = bytes.toString('utf8');
          const isJson = response.headers['content-type']?.includes('json') === true;
          const json = isJson && text !== '' ? asObject(JSON.parse(text)) : undefined;
          const status = response.statusCode ?? 0;
          resolve({status, headers: response.headers, bytes, text, json});
        });
      });
      call.end(body);
    });
  }

  #check(method: string, path: string, answer: Answer, where: string): void {
    const {status, headers} = answer;
    assert.equal(headers['cache-control'], 'no-cache', where);
    assert.equal(headers['x-content-type-options'], 'nosniff', where);
    assert.match(String(headers['vary']), /^Accept(, Origin)?$/, where);
    assert.ok(status < 300 || status === 304 || status >= 400, `no redirects: ${where}`);
    assert.equal(status === 405, status !== 204 && headers['allow'] !== undefined, where);
    assert.equal([429, 503, 507].includes(status), headers['retry-after'] !== undefined, where);
    const isStored = path === '/kv' || path.startsWith('/kv/') || path.startsWith('/kv?');
    if (isStored && [200, 304, 404, 410, 412].includes(status)) {
      assert.match(String(headers['rosetta-revision']), /^[1-9][0-9]*$/, where);
    }
    if (method === 'HEAD') assert.equal(answer.bytes.length, 0, where);
    else if (status >= 400) this.#checkProblem(answer, where);
    this.#checkDescribed(method, path, answer, where);
  }

  #checkProblem({status, headers, json = {}}: Answer, where: string): void {
    assert.equal(headers['content-type'], 'application/problem+json', where);
    assert.deepEqual(Object.keys(json), ['title', 'status', 'code', 'detail', 'outcome'], where);
    const row = this.#page.errors.get(String(json['code']));
    assert.ok(row !== undefined, `a code of the table: ${where}`);
    assert.deepEqual([json['status'], status], [row.status, row.status], where);
    assert.equal(json['title'], row.title, where);
    assert.equal(json['outcome'], row.outcome, where);
    assert.ok(String(json['detail']).length > 0, where);
    this.#tried.add(`code ${row.code}`);
  }

  /** The answer is one that GET /openapi.json has for the request. */
  #checkDescribed(method: string, path: string, answer: Answer, where: string): void {
    const operation = this.#operation(method, path);
    if (operation === null) return;
    const responses = asObject(operation['responses']);
    const response = asObject(responses[String(answer.status)] ?? {});
    assert.ok('description' in response, `not described: ${where}`);
    const {content = {}} = response;
    const type = answer.headers['content-type']?.split(';')[0];
    if (type === undefined) return;
    const {schema = {}} = asObject(asObject(content)[type]);
    const value = answer.json ?? answer.text;
    assert.deepEqual(schemaFaults(schema, value, this.#document), [], where);
  }

  #operation(method: string, path: string): Json | null {
    const route = routeOf(this.#page, path);
    const item = route === null ? undefined : asObject(this.#document['paths'])[route];
    const operation = item === undefined ? undefined : asObject(item)[method.toLowerCase()];
    return operation === undefined ? null : asObject(operation);
  }

  #remember(
    method: string,
    path: string,
    headers: readonly string[],
    body: string | Uint8Array | undefined,
  ): void {
    const operation = this.#operation(method, path);
    if (operation === null) return;
    const name = `${method} ${routeOf(this.#page, path) ?? ''}`;
    this.#tried.add(name);
    const query = path.split('?')[1] ?? '';
    for (const part of query.split('&')) this.#tried.add(`${name} ?${part.split('=')[0] ?? ''}`);
    const known = asList(operation['parameters']).map(each => String(asObject(each)['name']));
    for (const header of headers) {
      const as = known.find(each => each.toLowerCase() === header.toLowerCase());
      if (as !== undefined) this.#tried.add(`${name} ${as}:`);
    }
    const takesJson = JSON.stringify(operation['requestBody'] ?? {}).includes('application/json');
    if (takesJson && typeof body === 'string') {
      for (const field of fieldNames(JSON.parse(body))) this.#tried.add(`${name} "${field}"`);
    }
  }
}

/** All that can be tried: operations, with their parameters, headers and fields, and codes. */
export function documentedParts(page: Page, document: Json): string[] {
  const parts = page.operations.flatMap(({method, route, parameters}) => {
    const name = `${method} ${route}`;
    const item = asObject(asObject(document['paths'])[route]);
    const operation = asObject(item[method.toLowerCase()]);
    const headers = asList(operation['parameters'])
      .map(asObject)
      .filter(parameter => parameter['in'] === 'header')
      .map(parameter => `${name} ${String(parameter['name'])}:`);
    const fields = schemaFieldNames(operation['requestBody'] ?? {});
    return [
      name,
      ...parameters.map(parameter => `${name} ?${parameter}`),
      ...headers,
      ...fields.map(field => `${name} "${field}"`),
    ];
  });
  return [...parts, ...[...page.errors.keys()].map(code => `code ${code}`)];
}

function routeOf(page: Page, path: string): string | null {
  const [bare = ''] = path.split('?');
  const routes = page.operations.map(({route}) => route);
  if (routes.includes(bare)) return bare;
  const found = routes.find(route => {
    const [start = '', end = ''] = route.split(/\{\w+\}/);
    if (start === route || !bare.startsWith(start) || !bare.endsWith(end)) return false;
    const rest = bare.slice(start.length, bare.length - end.length);
    return rest !== '' && (route === '/kv/{key}' || !rest.includes('/'));
  });
  return found ?? null;
}

function fieldNames(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(fieldNames);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => [name, ...fieldNames(inner)]);
}

function schemaFieldNames(schema: unknown): string[] {
  if (Array.isArray(schema)) return schema.flatMap(schemaFieldNames);
  if (typeof schema !== 'object' || schema === null) return [];
  return Object.entries(schema).flatMap(([keyword, inner]) => [
    ...(keyword === 'properties' ? Object.keys(asObject(inner)) : []),
    ...schemaFieldNames(inner),
  ]);
}
