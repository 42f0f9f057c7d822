/** `members`, `members add|remove`, `leader move`: who belongs to the cluster, and who leads. */
import {formatAddress, isEveryInterface, parseAddress} from '../../base/address.ts';
import type {Client} from '../../client/client.ts';
import type {MemberStatus} from '../../client/cluster-requests.ts';
import {apiClient, contentOf} from './api-client.ts';
import {clientFlags, timeoutMsOf, withClient} from './cluster-client.ts';
import {coloursFor} from './colours.ts';
import {Table} from './tables.ts';
import type {Verb, VerbInput} from './verb.ts';
import {isOn, jsonFlag} from './verb.ts';

const flags = {...clientFlags, ...jsonFlag} as const;

export const membersVerb: Verb = {
  name: 'members',
  operands: [],
  summary: 'list the members of the cluster',
  flags,
  run: list,
};

export const membersAddVerb: Verb = {
  name: 'members add',
  operands: ['ID', 'HOST:PORT'],
  summary: 'add a node by its Raft address; then start it with -join',
  flags,
  run: add,
};

export const membersRemoveVerb: Verb = {
  name: 'members remove',
  operands: ['ID'],
  summary: 'remove a node from the cluster',
  flags,
  run: remove,
};

export const leaderMoveVerb: Verb = {
  name: 'leader move',
  operands: ['ID'],
  summary: 'let another member lead',
  flags,
  run: moveLeader,
};

async function list(input: VerbInput): Promise<number> {
  printMembers(input, await withClient(input, knownMembers));
  return 0;
}

/** As the leader sees them, who alone knows how the others are, or as anybody does without one. */
export async function knownMembers(client: Client): Promise<readonly MemberStatus[]> {
  const members = await client.members();
  const leader = members.find(({state}) => state === 'leader');
  if (leader === undefined || leader.http === '') return members;
  const asked = client.members({endpoint: endpointOf(leader), timeoutMs: leaderTimeoutMs});
  return asked.catch(() => members);
}

/**
 * Where to ask a member that has said where its API is. One whose API is bound to every interface
 * is on the host of its Raft address. Undefined: that is every interface too, which only a member
 * without others may have, and so it is the one in use.
 */
export function endpointOf({listen, http}: MemberStatus): string | undefined {
  if (!isEveryInterface(http)) return http;
  const raft = parseAddress(listen);
  const api = parseAddress(http);
  if (raft === null || api === null || isEveryInterface(listen)) return undefined;
  return formatAddress({host: raft.host, port: api.port});
}

const leaderTimeoutMs = 1_000;

function printMembers(input: VerbInput, members: readonly MemberStatus[]): void {
  const {output} = input;
  if (isOn(input, 'json')) {
    output.print(`${JSON.stringify({members})}\n`);
    return;
  }
  const {bold, dim, green, red} = coloursFor(input);
  const table = new Table([
    {title: 'ID', paint: bold},
    {title: 'RAFT'},
    {title: 'API'},
    {title: 'ROLE', paint: dim},
    {
      title: 'STATE',
      paint: state =>
        state === 'leader' ? green(state) : state === 'unreachable' ? red(state) : state,
    },
    {title: 'LAST ENTRY', align: 'right'},
  ]);
  const rows = members.map(({id, listen, http, role, state, matchIndex}) => {
    return [id, listen, http === '' ? '-' : http, role, state, String(matchIndex ?? '-')];
  });
  table.measure(rows);
  output.print(table.head(bold) + table.rows(rows));
}

async function add(input: VerbInput): Promise<number> {
  const [id, listen] = input.operands;
  return change(input, {method: 'POST', path: '/cluster/members', body: {id, listen}});
}

async function remove(input: VerbInput): Promise<number> {
  const path = `/cluster/members/${encodeURIComponent(input.operands[0] ?? '')}`;
  return change(input, {method: 'DELETE', path});
}

interface Change {
  readonly method: string;
  readonly path: string;
  readonly body?: Readonly<Record<string, unknown>>;
}

async function change(input: VerbInput, request: Change): Promise<number> {
  const {members} = (await send(input, request)) as {members: readonly MemberStatus[]};
  printMembers(input, members);
  return 0;
}

async function moveLeader(input: VerbInput): Promise<number> {
  const [id] = input.operands;
  const answer = await send(input, {method: 'POST', path: '/cluster/leader', body: {id}});
  const leader = answer as {readonly id: string; readonly term: number};
  const shown = isOn(input, 'json')
    ? JSON.stringify(leader)
    : `${leader.id} leads in term ${leader.term}`;
  input.output.print(`${shown}\n`);
  return 0;
}

/**
 * A change of the membership has no idempotency key: one whose fate is unknown is not sent again,
 * which is why it does not go through the client library.
 */
async function send(input: VerbInput, {method, path, body}: Change): Promise<unknown> {
  const answer = await apiClient(input).request({
    method,
    path,
    timeoutMs: timeoutMsOf(input),
    ...(body === undefined ? {} : {body: JSON.stringify(body)}),
  });
  return JSON.parse((await contentOf(answer)).toString('utf8')) as unknown;
}
