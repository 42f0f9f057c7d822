/**
 * Messages, entries and Readys as text, for transcripts and logs. An entry id is `term/index`.
 * Nothing parses this.
 */
import {unreachable} from '../base/assert.ts';
import type {Entry, EntryId} from './entry.ts';
import type {HardState} from './hard-state.ts';
import type {Membership} from './membership.ts';
import {decodeMembership, isJoint} from './membership.ts';
import type {Message} from './message.ts';
import type {Ready} from './ready.ts';
import type {SnapshotMeta} from './snapshot.ts';

/** `1->2 append term=1 after=1/3 entries=[1/4 "x"] commit=3` */
export function describeMessage(message: Message): string {
  const detail = describeDetail(message);
  const head = `${message.from}->${message.to} ${message.type} term=${message.term}`;
  return detail === '' ? head : `${head} ${detail}`;
}

export function describeEntry(entry: Entry): string {
  switch (entry.type) {
    case 'noop':
      return `${describeId(entry)} noop`;
    case 'command':
      return `${describeId(entry)} ${JSON.stringify(new TextDecoder().decode(entry.data))}`;
    case 'membership':
      return `${describeId(entry)} ${describeMembership(decodeMembership(entry.data))}`;
    default:
      return unreachable(entry.type);
  }
}

/** `voters=1,2,3 outgoing=1 learners=4`; empty sets are left out. */
export function describeMembership(membership: Membership): string {
  const {voters, votersOutgoing, learners} = membership;
  const parts = [`voters=${voters.join(',')}`];
  if (isJoint(membership)) parts.push(`outgoing=${votersOutgoing.join(',')}`);
  if (learners.length > 0) parts.push(`learners=${learners.join(',')}`);
  return parts.join(' ');
}

/** One line for each thing to do, in the order in which it is to be done. */
export function describeReady(ready: Ready): string[] {
  const lines: string[] = [];
  const {softState, hardState, snapshot} = ready;
  if (softState !== null) {
    const {role, leaderId, term} = softState;
    lines.push(`role ${role} term=${term} leader=${leaderId ?? 'none'}`);
  }
  for (const message of ready.messages) lines.push(`send ${describeMessage(message)}`);
  if (hardState !== null) {
    lines.push(`write ${ready.sequence}: ${describeHardState(hardState)}`);
  }
  if (snapshot !== null) lines.push(`install ${describeSnapshot(snapshot)}`);
  for (const entry of ready.entries) lines.push(`append ${describeEntry(entry)}`);
  for (const message of ready.messagesAfterPersist) {
    lines.push(`after ${ready.sequence}: send ${describeMessage(message)}`);
  }
  for (const entry of ready.committed) lines.push(`apply ${describeEntry(entry)}`);
  for (const read of ready.readStates) lines.push(`read ${read.context} at ${read.index}`);
  return lines;
}

function describeDetail(message: Message): string {
  switch (message.type) {
    case 'pre-vote':
      return `last=${describeId(message.last)}`;
    case 'vote':
      return `last=${describeId(message.last)}${message.isTransfer ? ' transfer' : ''}`;
    case 'pre-vote-response':
    case 'vote-response':
      return message.granted ? 'granted' : 'refused';
    case 'append': {
      const entries = message.entries.map(describeEntry).join(', ');
      return `after=${describeId(message.previous)} entries=[${entries}] commit=${message.commit}`;
    }
    case 'append-accepted':
      return `match=${message.matchIndex}`;
    case 'append-rejected':
      return `rejected=${message.rejected} hint=${describeId(message.hint)}`;
    case 'heartbeat': {
      const round = message.readRound > 0 ? ` round=${message.readRound}` : '';
      return `commit=${message.commit}${round}`;
    }
    case 'heartbeat-response':
      return message.readRound > 0 ? `round=${message.readRound}` : '';
    case 'snapshot':
      return message.meta === null ? '' : describeSnapshot(message.meta);
    case 'timeout-now':
      return '';
    case 'read-index':
      return `context=${message.context}`;
    case 'read-index-response':
      return `context=${message.context} index=${message.index}`;
    default:
      return unreachable(message);
  }
}

function describeId(id: EntryId): string {
  return `${id.term}/${id.index}`;
}

function describeHardState(hardState: HardState): string {
  return `term=${hardState.term} vote=${hardState.vote ?? 'none'} commit=${hardState.commit}`;
}

function describeSnapshot(meta: SnapshotMeta): string {
  return `snapshot ${describeId(meta)} ${describeMembership(meta.membership)}`;
}
