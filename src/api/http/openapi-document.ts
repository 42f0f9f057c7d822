/**
 * The document of GET /openapi.json, made of what the server validates with: the route table, the
 * sets of parameters and fields that the handlers know, and the table of errors.
 */
import {errorTable, type ErrorCode} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import {answerSchema, answerSchemas} from './answer-schemas.ts';
import type {FieldSet, JsonSchema} from './json-schema.ts';
import type {AnswerHeaderName, AnswerShape, RouteOperation} from './route-operation.ts';
import {problemType, retryAfterSeconds} from './problem.ts';
import type {Route} from './router.ts';

type Json = Readonly<Record<string, unknown>>;

const bytesType = 'application/octet-stream';

const description = `Any node answers any request; a follower forwards to the leader.

HEAD works wherever GET does, OPTIONS on every path. Unknown parameters and unknown fields are
refused. A key in a path is everything behind \`/kv/\`, percent-decoded once, slashes included.
docs/http-api.md of the project says more.`;

/** Of whatever arrives, before a route looks at it. */
const everyErrors: readonly ErrorCode[] = [
  'BAD_PERCENT_ENCODING',
  'INVALID_TARGET',
  'INVALID_HOST',
  'INVALID_REQUEST',
  'INVALID_PARAMETER',
  'REQUEST_TIMEOUT',
  'EXPECTATION_FAILED',
  'OVERLOADED',
  'HEADERS_TOO_LARGE',
  'INTERNAL',
];
const writeErrors: readonly ErrorCode[] = ['CROSS_ORIGIN'];
const storeErrors: readonly ErrorCode[] = ['STARTING', 'STOPPING', 'DIVERGED'];

/** `version`: of the server. The text is JSON, the same for the same arguments. */
export function openApiDocument(routes: readonly Route[], version: string): string {
  return JSON.stringify({
    openapi: '3.1.0',
    info: {title: 'Rosetta', version, description},
    servers: [{url: '/'}],
    paths: Object.fromEntries(routes.map(route => [route.name, pathItem(route)])),
    components: {
      schemas: answerSchemas,
      headers: answerHeaders,
      responses: {
        Problem: {
          description: 'Another refusal: any code of the table, ROUTE_NOT_FOUND for instance',
          content: problemContent(answerSchema('Problem')),
        },
      },
    },
  });
}

const answerHeaders: Readonly<Record<AnswerHeaderName | 'Retry-After', Json>> = {
  ETag: {
    description: 'The modRevision of the key, quoted: "7", or "7-raw" for the raw bytes',
    schema: {type: 'string'},
  },
  'Rosetta-Revision': {
    description: 'The revision of the state that was read or written',
    schema: {type: 'integer', minimum: 1},
  },
  'Content-Disposition': {
    description: 'The bytes are no page to be shown',
    schema: {type: 'string'},
  },
  'Retry-After': {
    description: 'Seconds after which trying again makes sense',
    schema: {type: 'integer', minimum: 1},
  },
};

function pathItem(route: Route): Json {
  const operations = [...route.operations].map(
    ([method, operation]) =>
      [method.toLowerCase(), describeOperation(route, method, operation)] as const,
  );
  const {pathParameter} = route;
  return {
    ...(pathParameter === null
      ? {}
      : {parameters: [{...pathParameter, in: 'path', required: true}]}),
    ...Object.fromEntries(operations),
  };
}

function describeOperation(route: Route, method: string, operation: RouteOperation): Json {
  const {id, summary, parameters, headers = [], body} = operation;
  return {
    operationId: id,
    summary,
    parameters: [
      ...parameters.all.map(parameter => ({...parameter, in: 'query'})),
      ...headers.map(header => ({...header, in: 'header'})),
    ],
    ...(body === undefined ? {} : {requestBody: requestBody(body)}),
    responses: {
      ...Object.fromEntries(operation.answers.map(answer => [answer.status, response(answer)])),
      ...problemResponses([
        ...everyErrors,
        ...(method === 'GET' ? [] : writeErrors),
        ...(route.isStore ? storeErrors : []),
        ...operation.errors,
      ]),
      default: {$ref: '#/components/responses/Problem'},
    },
  };
}

function requestBody(body: FieldSet | 'bytes'): Json {
  if (body !== 'bytes') {
    return {required: true, content: {'application/json': {schema: body.schema}}};
  }
  // Bytes as they are have no type; OpenAPI 3.1 bounds them by maxLength.
  const schema: JsonSchema = {maxLength: limits.valueSizeBytesMax};
  return {required: true, content: {[bytesType]: {schema}}};
}

function response({description: text, headers, content}: AnswerShape): Json {
  const types = Object.entries(content).map(([type, name]) => {
    if (name !== null) return [type, {schema: answerSchema(name)}] as const;
    return [type, type === bytesType ? {} : {schema: {type: 'string'}}] as const;
  });
  return {
    description: text,
    headers: headerRefs(headers),
    ...(types.length === 0 ? {} : {content: Object.fromEntries(types)}),
  };
}

/** One answer a status, with the codes that it can have. */
function problemResponses(codes: readonly ErrorCode[]): Json {
  const byStatus = new Map<number, Set<ErrorCode>>();
  for (const code of codes) {
    const {status} = errorTable[code];
    const known = byStatus.get(status);
    if (known === undefined) byStatus.set(status, new Set([code]));
    else known.add(code);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, known]) => [status, problemResponse(status, [...known])]),
  );
}

function problemResponse(status: number, codes: readonly ErrorCode[]): Json {
  const text = codes.map(code => `${code}: ${errorTable[code].title}`).join('\n');
  const schema: JsonSchema = {
    allOf: [
      answerSchema('Problem'),
      {type: 'object', properties: {code: {type: 'string', enum: codes}}},
    ],
  };
  const hasRetryAfter = retryAfterSeconds(status) !== null;
  return {
    description: text,
    headers: headerRefs(hasRetryAfter ? ['Retry-After'] : []),
    content: problemContent(schema),
  };
}

function problemContent(schema: JsonSchema): Json {
  return {[problemType]: {schema}};
}

function headerRefs(names: readonly (keyof typeof answerHeaders)[]): Json {
  return Object.fromEntries(names.map(name => [name, {$ref: `#/components/headers/${name}`}]));
}
