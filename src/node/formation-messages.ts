/**
 * What members say to each other outside of Raft: JSON requests over the Raft address. `hello`: who
 * are you? `found`: the cluster is formed by these members, write it down. `adopt`: you are a
 * learner of this cluster, write it down. `join`: let me in. `replace`: may I give up my directory
 * and join with an empty one? `change`: somebody asked me to change
 * the cluster, and you lead it. `removed`: you are no member any more. `last-start`: the last start
 * that I saw of your directory.
 * `send-snapshot`: my checkpoint is lost, stream me yours. Everything is checked on arrival.
 */
import type {NodeId} from '../raft/ids.ts';
import {isNodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import type {Start} from '../storage/start-history.ts';
import {lastStart, toStartHistory} from '../storage/start-history.ts';
import type {FormationAnswer} from '../transport/transport.ts';
import type {JoinRequest, ReplaceRequest} from './membership-rules.ts';

/** One of `-peers`. */
export interface FormationPeer {
  readonly id: string;
  readonly address: string;
}

/**
 * `fresh`: an empty directory that belongs to no cluster yet. `founded`: its first entry is
 * durable, and it waits until that is so everywhere. `member`: it runs.
 */
export type Stage = 'fresh' | 'founded' | 'member';

export interface Hello {
  readonly type: 'hello';
  readonly id: string;
  readonly incarnation: string;
  readonly clusterId: string | null;
  readonly listen: string;
  readonly http: string;
  /** All first members, the sender included, sorted. */
  readonly ids: readonly string[];
}

export interface Found {
  readonly type: 'found';
  readonly clusterId: string;
  readonly members: readonly Member[];
}

export interface Adopt {
  readonly type: 'adopt';
  readonly clusterId: string;
  readonly members: readonly Member[];
}

export interface SendSnapshot {
  readonly type: 'send-snapshot';
  readonly clusterId: string;
  readonly id: string;
  readonly incarnation: string;
}

export interface ChangeRequest {
  readonly type: 'change';
  readonly clusterId: string;
  readonly change:
    | {readonly type: 'add'; readonly member: Member}
    | {readonly type: 'remove'; readonly id: NodeId}
    | {readonly type: 'lead'; readonly id: NodeId};
}

export interface RemovedNotice {
  readonly type: 'removed';
  readonly clusterId: string;
  readonly id: string;
  readonly incarnation: string;
}

export interface LastStartNotice {
  readonly type: 'last-start';
  readonly clusterId: string;
  readonly id: string;
  readonly incarnation: string;
  readonly start: Start;
}

export type FormationRequest =
  | Hello
  | Found
  | Adopt
  | SendSnapshot
  | JoinRequest
  | ReplaceRequest
  | ChangeRequest
  | RemovedNotice
  | LastStartNotice;

export interface HelloAnswer {
  readonly id: string;
  readonly incarnation: string;
  readonly clusterId: string | null;
  readonly stage: Stage;
  readonly listen: string;
  readonly http: string;
  readonly ids: readonly string[];
  /** The answering member's cluster wants the asking node and will adopt it. */
  readonly isExpected: boolean;
}

const clusterIdPattern = /^[0-9a-f]{32}$/;
const incarnationPattern = /^[0-9a-f]{16}$/;

/** Null: not a request anybody sends. */
export function readFormationRequest(value: unknown): FormationRequest | null {
  if (!isObject(value)) return null;
  if (value['type'] === 'hello') return readHello(value);
  if (value['type'] === 'send-snapshot') return readDirectory('send-snapshot', value);
  if (value['type'] === 'removed') return readDirectory('removed', value);
  if (value['type'] === 'last-start') return readLastStart(value);
  if (value['type'] === 'join') return readJoin(value);
  if (value['type'] === 'replace') return readReplace(value);
  if (value['type'] === 'change') return readChange(value);
  const members = readMembers(value['members']);
  const clusterId = value['clusterId'];
  if (members === null || !isClusterId(clusterId)) return null;
  if (value['type'] === 'found') return {type: 'found', clusterId, members};
  if (value['type'] === 'adopt') return {type: 'adopt', clusterId, members};
  return null;
}

/** Null: an error answer, or not an answer at all. */
export function readHelloAnswer(answer: FormationAnswer): HelloAnswer | null {
  const {body} = answer;
  if (answer.status !== 200 || !isObject(body)) return null;
  const {stage, isExpected} = body as {stage?: unknown; isExpected?: unknown};
  const hello = readHello({...body, type: 'hello'});
  if (hello === null || typeof isExpected !== 'boolean') return null;
  if (stage !== 'fresh' && stage !== 'founded' && stage !== 'member') return null;
  const {id, incarnation, clusterId, listen, http, ids} = hello;
  return {id, incarnation, clusterId, stage, listen, http, ids, isExpected};
}

export function readMembers(value: unknown): readonly Member[] | null {
  if (!Array.isArray(value) || value.length === 0 || value.length > 64) return null;
  const members: Member[] = [];
  for (const row of value as unknown[]) {
    const member = readMember(row);
    if (member === null) return null;
    members.push(member);
  }
  return members;
}

/** A member that was announced and has not come yet has neither incarnation nor API address. */
function readMember(row: unknown): Member | null {
  if (!isObject(row)) return null;
  const {id, incarnation, listen, http} = row;
  if (typeof id !== 'string' || !isNodeId(id) || !isAddress(listen)) return null;
  if (incarnation === '' && http === '') return {id, incarnation, listen, http};
  if (!isIncarnation(incarnation) || !isAddress(http)) return null;
  return {id, incarnation, listen, http};
}

/** The sentence of a refusal. */
export function detailOf(answer: FormationAnswer): string | undefined {
  const {body} = answer;
  return isObject(body) && typeof body['detail'] === 'string' ? body['detail'] : undefined;
}

function readHello(value: Record<string, unknown>): Hello | null {
  const {id, incarnation, clusterId, listen, http, ids} = value;
  if (typeof id !== 'string' || !isNodeId(id) || !isIncarnation(incarnation)) return null;
  if (clusterId !== null && !isClusterId(clusterId)) return null;
  if (!isAddress(listen) || !isAddress(http)) return null;
  if (!Array.isArray(ids) || ids.length > 64) return null;
  const names = (ids as unknown[]).filter(name => typeof name === 'string' && isNodeId(name));
  if (names.length !== ids.length) return null;
  return {type: 'hello', id, incarnation, clusterId, listen, http, ids: names};
}

/** What names one directory of one cluster. */
function readDirectory<T extends 'send-snapshot' | 'removed' | 'last-start'>(
  type: T,
  value: Record<string, unknown>,
): {
  readonly type: T;
  readonly clusterId: string;
  readonly id: string;
  readonly incarnation: string;
} | null {
  const {id, incarnation, clusterId} = value;
  if (typeof id !== 'string' || !isNodeId(id) || !isIncarnation(incarnation)) return null;
  return isClusterId(clusterId) ? {type, clusterId, id, incarnation} : null;
}

function readLastStart(value: Record<string, unknown>): LastStartNotice | null {
  const directory = readDirectory('last-start', value);
  const start = isObject(value['start']) ? toStart(value['start']) : null;
  return directory === null || start === null ? null : {...directory, start};
}

/** A start that was seen by an earlier build has no mark. */
function toStart({count, mark}: Record<string, unknown>): Start | null {
  const history = toStartHistory(count, mark === null ? [] : [mark]);
  return history === null ? null : lastStart(history);
}

function readJoin(value: Record<string, unknown>): JoinRequest | null {
  const {member, replaces, clusterId} = value;
  const row = readMember(member);
  if (row === null || row.incarnation === '' || typeof replaces !== 'boolean') return null;
  if (clusterId === undefined) return {type: 'join', member: row, replaces};
  return isClusterId(clusterId) ? {type: 'join', member: row, replaces, clusterId} : null;
}

function readReplace(value: Record<string, unknown>): ReplaceRequest | null {
  const {id, listen, clusterId, incarnation, starts, isUnfit} = value;
  if (typeof id !== 'string' || !isNodeId(id) || !isAddress(listen)) return null;
  if (clusterId !== null && !isClusterId(clusterId)) return null;
  if (incarnation !== null && !isIncarnation(incarnation)) return null;
  const history = isObject(starts) ? toStartHistory(starts['count'], starts['marks']) : null;
  if (history === null) return null;
  if (typeof isUnfit !== 'boolean') return null;
  return {type: 'replace', id, listen, clusterId, incarnation, starts: history, isUnfit};
}

function readChange(value: Record<string, unknown>): ChangeRequest | null {
  const {clusterId, change} = value;
  if (!isClusterId(clusterId) || !isObject(change)) return null;
  const {type, id, member} = change;
  if (type === 'add') {
    const row = readMember(member);
    return row === null ? null : {type: 'change', clusterId, change: {type, member: row}};
  }
  if (type !== 'remove' && type !== 'lead') return null;
  if (typeof id !== 'string' || !isNodeId(id)) return null;
  return {type: 'change', clusterId, change: {type, id}};
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isClusterId(value: unknown): value is string {
  return typeof value === 'string' && clusterIdPattern.test(value);
}

function isIncarnation(value: unknown): value is string {
  return typeof value === 'string' && incarnationPattern.test(value);
}

function isAddress(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= 300;
}
