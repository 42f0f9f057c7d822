/** What nodes say of themselves and of each other. */
import type {Call, Caller} from './call.ts';
import type {CallOptions} from './client-options.ts';
import {originOf} from './endpoints.ts';
import {asObject, listField, parseObject, textField} from './record.ts';

/** GET /status of one node; indexes count log entries, sizes bytes. */
export interface NodeStatus {
  readonly id: string;
  readonly clusterId: string | null;
  readonly version: string;
  readonly state: 'leader' | 'follower' | 'candidate' | 'learner';
  readonly term: number;
  /** Id of the leader; null: this node knows none. */
  readonly leader: string | null;
  readonly ready: boolean;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastLogIndex: number;
  readonly log: {readonly entries: number; readonly bytes: number};
  readonly revision: number;
  readonly compactedRevision: number;
  readonly keys: number;
  readonly checkpointIndex: number;
  readonly uptimeSeconds: number;
  readonly stateHash: string;
  readonly diverged: boolean;
}

export interface MemberStatus {
  readonly id: string;
  /** Raft address, `host:port`. */
  readonly listen: string;
  /** API address, `host:port`. */
  readonly http: string;
  readonly role: 'voter' | 'learner';
  readonly state: 'leader' | 'follower' | 'unreachable' | 'unknown';
  /** The leader knows it of everybody, others of themselves only. */
  readonly matchIndex: number | null;
}

export interface StatusOptions extends CallOptions {
  /** The node to ask, one of the endpoints or another; default: the one in use. */
  readonly endpoint?: string | undefined;
}

export async function nodeStatus(caller: Caller, options: StatusOptions): Promise<NodeStatus> {
  const fields = parseObject((await caller.call(callTo('/status', options), options)).body);
  textField(fields, 'id');
  textField(fields, 'state');
  // The rest of the shape is the contract's; a node that keeps these two is one of Rosetta.
  return fields as unknown as NodeStatus;
}

export async function clusterMembers(
  caller: Caller,
  options: StatusOptions,
): Promise<readonly MemberStatus[]> {
  const call = callTo('/cluster/members', options);
  const fields = parseObject((await caller.call(call, options)).body);
  return listField(fields, 'members').map(row => {
    const member = asObject(row, 'a member');
    textField(member, 'id');
    return member as unknown as MemberStatus;
  });
}

function callTo(target: string, {endpoint}: StatusOptions): Call {
  const call = {method: 'GET', target, repeat: 'freely'} as const;
  if (endpoint === undefined) return call;
  const only = {origin: originOf(endpoint), failureCount: 0, restsUntilMs: 0, epoch: 0};
  return {...call, endpoint: only};
}
