/** `status`: every member asked for itself, in one table. */
import type {Client} from '../../client/client.ts';
import type {MemberStatus, NodeStatus} from '../../client/cluster-requests.ts';
import {clientFlags, withClient} from './cluster-client.ts';
import type {Colours} from './colours.ts';
import {coloursFor} from './colours.ts';
import {endpointOf, knownMembers} from './members-verbs.ts';
import {countText, durationText, sizeText, Table} from './tables.ts';
import type {Verb, VerbInput} from './verb.ts';
import {isOn, jsonFlag} from './verb.ts';

export const statusVerb: Verb = {
  name: 'status',
  operands: [],
  summary: 'show all members at a glance; exit code 1 when nobody leads',
  flags: {...clientFlags, ...jsonFlag},
  run: status,
};

interface Asked {
  readonly member: MemberStatus;
  /** Null: it does not answer. */
  readonly status: NodeStatus | null;
}

async function status(input: VerbInput): Promise<number> {
  const all = await withClient(input, async client => {
    const members = await knownMembers(client);
    return Promise.all(members.map(member => ask(client, member)));
  });
  const leader = leaderOf(all);
  if (isOn(input, 'json')) {
    const members = all.map(({member: {id, listen, http, role}, status: own}) => {
      return {id, listen, http, role, status: own};
    });
    input.output.print(`${JSON.stringify({leader: leader?.id ?? null, members})}\n`);
  } else {
    input.output.print(statusText(input, all, leader));
  }
  return leader === null ? 1 : 0;
}

const askTimeoutMs = 1_500;

async function ask(client: Client, member: MemberStatus): Promise<Asked> {
  if (member.http === '') return {member, status: null};
  const options = {endpoint: endpointOf(member), timeoutMs: askTimeoutMs};
  const answer = await client.status(options).catch(() => null);
  // Another node may have taken the address over.
  return {member, status: answer?.id === member.id ? answer : null};
}

/** Of those who say that they lead, the one of the highest term. */
function leaderOf(all: readonly Asked[]): NodeStatus | null {
  const leaders = all.flatMap(({status: own}) => (own?.state === 'leader' ? [own] : []));
  return leaders.reduce<NodeStatus | null>((best, own) => {
    return best === null || own.term > best.term ? own : best;
  }, null);
}

function statusText(input: VerbInput, all: readonly Asked[], leader: NodeStatus | null): string {
  const colours = coloursFor(input);
  const {bold} = colours;
  const table = new Table([
    {title: 'MEMBER', paint: bold},
    {title: 'API'},
    {title: 'STATE', paint: state => paintState(colours, state)},
    {title: 'TERM', align: 'right'},
    {title: 'REVISION', align: 'right'},
    {title: 'KEYS', align: 'right'},
    {
      title: 'BEHIND',
      align: 'right',
      paint: count => (count === '0' ? count : colours.yellow(count)),
    },
    {title: 'LOG', align: 'right'},
    {title: 'UP', align: 'right'},
    {title: 'VERSION', paint: colours.dim},
  ]);
  const rows = all.map(asked => rowOf(asked, leader));
  table.measure(rows);
  return `${summaryText(colours, all, leader)}\n\n${table.head(bold)}${table.rows(rows)}`;
}

function rowOf({member, status: own}: Asked, leader: NodeStatus | null): readonly string[] {
  const {id, http, role} = member;
  if (own === null) {
    const state = http === '' ? 'not joined' : 'unreachable';
    return [id, http === '' ? '-' : http, state, '-', '-', '-', '-', '-', '-', '-'];
  }
  const behind = leader === null ? null : Math.max(leader.commitIndex - own.appliedIndex, 0);
  return [
    id,
    http,
    stateOf(own, role, leader),
    String(own.term),
    String(own.revision),
    countText(own.keys),
    behind === null ? '-' : countText(behind),
    sizeText(own.log.bytes),
    durationText(own.uptimeSeconds),
    own.version,
  ];
}

function stateOf(own: NodeStatus, role: string, leader: NodeStatus | null): string {
  if (own.diverged) return 'diverged';
  if (own.state === 'leader') return own === leader ? 'leader' : 'former leader';
  if (!own.ready) return `${role === 'learner' ? 'learner' : own.state}, not ready`;
  return role === 'learner' ? 'learner' : own.state;
}

function paintState({bold, green, red, yellow}: Colours, state: string): string {
  if (state === 'leader') return bold(green(state));
  if (state === 'unreachable' || state === 'diverged') return red(state);
  return state === 'follower' ? state : yellow(state);
}

function summaryText(colours: Colours, all: readonly Asked[], leader: NodeStatus | null): string {
  const clusterId = all.find(({status: own}) => own !== null)?.status?.clusterId;
  const upCount = all.filter(({status: own}) => own !== null).length;
  const up = `${upCount} of ${all.length} members answer`;
  const parts = [
    `cluster ${clusterId ?? 'without an id yet'}`,
    upCount === all.length ? up : colours.yellow(up),
    leader === null ? colours.red('nobody leads') : `${leader.id} leads in term ${leader.term}`,
  ];
  return parts.join(', ');
}
