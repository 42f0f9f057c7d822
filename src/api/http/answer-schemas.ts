/**
 * The shapes of the answers, as GET /openapi.json names them. Its test holds real answers to them.
 */
import {errorTable} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';
import {integerSchema, objectSchema, type JsonSchema} from './json-schema.ts';

const text: JsonSchema = {type: 'string'};
const boolean: JsonSchema = {type: 'boolean'};
const seconds: JsonSchema = {type: 'number', minimum: 0, description: 'Seconds'};
const revision = integerSchema(1, 'Of the store');
const count = integerSchema(0);
const textOrNull: JsonSchema = {type: ['string', 'null']};

const key: JsonSchema = {type: 'string', description: 'Text, or base64 if keyEncoding says so'};
const value: JsonSchema = {type: 'string', description: 'Text, or base64 if encoding says so'};
const base64: JsonSchema = {type: 'string', const: 'base64'};
const leaseId: JsonSchema = {type: 'string', pattern: '^[1-9][0-9]{0,18}$'};

const recordNumbers = {
  createRevision: revision,
  modRevision: revision,
  version: integerSchema(1, 'Writes since the key was made, 1 for the first'),
};
const recordOptions = {keyEncoding: base64, encoding: base64, lease: leaseId};

function ref(name: string): JsonSchema {
  return {$ref: `#/components/schemas/${name}`};
}

const schemas = {
  Record: objectSchema({key, value, ...recordNumbers}, recordOptions),
  RangeRecord: {
    ...objectSchema({key, ...recordNumbers}, {value, ...recordOptions}),
    description: 'A record, without its value if keysOnly was asked for',
  },
  PutResult: objectSchema({key, revision, version: recordNumbers.version}, {keyEncoding: base64}),
  DeleteResult: objectSchema({deleted: count, revision}),
  Range: objectSchema(
    {
      records: {type: 'array', items: ref('RangeRecord'), maxItems: limits.rangeLimitMax},
      count: integerSchema(0, 'Of the records here; with countOnly, of the whole range'),
      more: boolean,
      revision,
    },
    {cursor: {type: 'string', description: 'For the next page; there is one when more is true'}},
  ),
  TransactionResult: objectSchema({
    succeeded: {type: 'boolean', description: 'All compares held, so success was performed'},
    revision,
    results: {
      type: 'array',
      maxItems: limits.operationCountMax,
      items: {
        oneOf: [ref('PutResult'), ref('Record'), ref('DeleteResult'), {type: 'null'}],
        description: 'As the single request answers; null for a get of nothing',
      },
    },
  }),
  CompactResult: objectSchema({compactedRevision: count}),
  Lease: objectSchema({id: leaseId, ttl: seconds}),
  LeaseDetail: objectSchema(
    {
      id: leaseId,
      ttl: seconds,
      remaining: seconds,
      keys: {
        type: 'array',
        maxItems: limits.leaseKeysShownMax,
        items: {oneOf: [text, objectSchema({key, keyEncoding: base64})]},
      },
    },
    {more: boolean},
  ),
  LeaseList: objectSchema({leases: {type: 'array', items: ref('Lease')}, more: boolean}),
  Session: objectSchema({id: text, ttl: seconds}),
  Empty: objectSchema({}),
  Status: objectSchema({
    id: text,
    clusterId: textOrNull,
    version: text,
    state: {type: 'string', enum: ['leader', 'follower', 'candidate', 'learner']},
    term: count,
    leader: textOrNull,
    ready: boolean,
    commitIndex: count,
    appliedIndex: count,
    lastLogIndex: count,
    log: objectSchema({entries: count, bytes: count}),
    revision: count,
    compactedRevision: count,
    keys: count,
    checkpointIndex: count,
    uptimeSeconds: seconds,
    stateHash: text,
    diverged: boolean,
  }),
  Leader: objectSchema({id: text, listen: text, http: text, term: count}),
  Member: objectSchema({
    id: text,
    listen: text,
    http: text,
    role: {type: 'string', enum: ['voter', 'learner']},
    state: {type: 'string', enum: ['leader', 'follower', 'unreachable', 'unknown']},
    matchIndex: {...integerSchema(0), type: ['integer', 'null']},
  }),
  Members: objectSchema({
    members: {type: 'array', items: ref('Member'), maxItems: limits.memberCountMax},
  }),
  Alive: objectSchema({live: boolean}),
  Ready: objectSchema({ready: boolean}),
  OpenApi: {type: 'object', description: 'This document: OpenAPI 3.1'},
  Problem: objectSchema({
    title: text,
    status: integerSchema(400),
    code: ref('ErrorCode'),
    detail: {type: 'string', description: 'What happened and what to do'},
    outcome: {
      type: 'string',
      enum: ['definite', 'unknown'],
      description: 'definite: nothing was changed; unknown: a write may have happened',
    },
  }),
  ErrorCode: {
    type: 'string',
    oneOf: Object.entries(errorTable).map(([code, {status, outcome, title}]) => ({
      const: code,
      description: `${status}, ${outcome}: ${title}`,
    })),
  },
} satisfies Readonly<Record<string, JsonSchema>>;

export type AnswerSchemaName = keyof typeof schemas;

export const answerSchemas: Readonly<Record<AnswerSchemaName, JsonSchema>> = schemas;

export function answerSchema(name: AnswerSchemaName): JsonSchema {
  return ref(name);
}
