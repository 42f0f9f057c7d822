/**
 * What a route does for one method: its handler, and what GET /openapi.json says of it. Parameters
 * and bodies are described by the very sets that the handler refuses others by.
 */
import type {ErrorCode} from '../../base/errors.ts';
import type {AnswerSchemaName} from './answer-schemas.ts';
import type {Exchange} from './exchange.ts';
import type {FieldSet} from './json-schema.ts';
import type {Parameter, ParameterSet} from './parameter.ts';

export type RouteHandler = (exchange: Exchange) => void;

export interface RouteOperation {
  /** Unique; names the operation in generated clients. */
  readonly id: string;
  readonly summary: string;
  readonly handle: RouteHandler;
  readonly parameters: ParameterSet;
  readonly headers?: readonly Parameter[];
  /** 'bytes': the body is the value itself. */
  readonly body?: FieldSet | 'bytes';
  readonly answers: readonly AnswerShape[];
  /** Beside those of every request, of its method, and of every route that needs the store. */
  readonly errors: readonly ErrorCode[];
}

export type AnswerHeaderName = 'ETag' | 'Rosetta-Revision' | 'Content-Disposition';

export interface AnswerShape {
  readonly status: number;
  readonly description: string;
  readonly headers: readonly AnswerHeaderName[];
  /** By media type; null: text or bytes of no more structure. */
  readonly content: Readonly<Record<string, AnswerSchemaName | null>>;
}

/** 200, JSON, about a state of the store. */
export function storeAnswer(schema: AnswerSchemaName, description: string): AnswerShape {
  return {
    status: 200,
    description,
    headers: ['Rosetta-Revision'],
    content: {'application/json': schema},
  };
}

/** 200, JSON, about the node or its cluster. */
export function nodeAnswer(schema: AnswerSchemaName, description: string): AnswerShape {
  return {status: 200, description, headers: [], content: {'application/json': schema}};
}

/** Of every route that puts a command into the log. */
export const proposalErrors = [
  'NO_LEADER',
  'OUTCOME_UNKNOWN',
  'STORAGE_FULL',
  'COMMAND_TOO_LARGE',
  'OVERLOADED',
] as const satisfies readonly ErrorCode[];

/** Of every route that takes Idempotency-Key. */
export const idempotencyErrors = [
  'IDEMPOTENCY_KEY_REUSED',
  'SESSION_EXPIRED',
] as const satisfies readonly ErrorCode[];

export const readErrors = [
  'NO_LEADER',
  'READ_TIMEOUT',
  'OVERLOADED',
] as const satisfies readonly ErrorCode[];

export const jsonBodyErrors = [
  'INVALID_JSON',
  'INVALID_REQUEST',
  'BODY_TOO_LARGE',
] as const satisfies readonly ErrorCode[];

export const keyErrors = ['KEY_EMPTY', 'KEY_TOO_LONG'] as const satisfies readonly ErrorCode[];
