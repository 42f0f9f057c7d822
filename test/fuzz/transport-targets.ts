/** What another process sends: frames, messages, introductions, questions of formation. */
import type {IncomingHttpHeaders} from 'node:http';
import fc from 'fast-check';
import {assert, must} from '../../src/base/assert.ts';
import {errorTable, isErrorCode} from '../../src/base/errors.ts';
import {limits} from '../../src/base/limits.ts';
import {readFormationRequest, readHelloAnswer} from '../../src/node/formation-messages.ts';
import {nodeId} from '../../src/raft/ids.ts';
import {decodeMembership, encodeMembership} from '../../src/raft/membership.ts';
import {parseJson, parseRefusal} from '../../src/transport/dial.ts';
import {handshakeHeaders, isRefusal, readHandshake} from '../../src/transport/handshake.ts';
import type {EncodableMessage} from '../../src/transport/message-codec.ts';
import {decodeMessage, encodeMessage, findDamagedEntry} from '../../src/transport/message-codec.ts';
import type {LocalIdentity} from '../../src/transport/transport.ts';
import {toStartHistory} from '../../src/storage/start-history.ts';
import {startsOf} from '../contract/starts.ts';
import {codecTarget} from './codec-target.ts';
import type {Damage} from './damage.ts';
import {damaged, maybeDamages} from './damage.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {pureTarget} from './fuzz-target.ts';
import {entryRuns, indices, memberships, nodeIds, terms} from './raft-values.ts';
import {mustBeSame, textOf} from './same-value.ts';
import {hexOf} from './text-values.ts';

export const route = {from: nodeId('node1'), to: nodeId('node2')};
const from = fc.constant(route.from);
const to = fc.constant(route.to);
const numbers = fc.maxSafeNat();
const bytes = fc.uint8Array({maxLength: 60});
const entryIds = fc
  .record({term: terms, index: indices})
  .filter(({term, index}) => index > 0 || term === 0);

export const messages: fc.Arbitrary<EncodableMessage> = fc.oneof(
  fc.record({type: fc.constant('pre-vote'), from, to, term: terms, last: entryIds}),
  fc.record({
    type: fc.constantFrom('pre-vote-response', 'vote-response'),
    from,
    to,
    term: terms,
    granted: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('vote'),
    from,
    to,
    term: terms,
    last: entryIds,
    isTransfer: fc.boolean(),
  }),
  fc.tuple(entryRuns, indices).map(([run, commit]) => ({
    type: 'append' as const,
    ...route,
    term: run.term,
    previous: run.previous,
    entries: run.entries,
    commit,
  })),
  fc.record({type: fc.constant('append-accepted'), from, to, term: terms, matchIndex: indices}),
  fc.record({
    type: fc.constant('append-rejected'),
    from,
    to,
    term: terms,
    rejected: indices,
    hint: entryIds,
  }),
  fc.record({
    type: fc.constant('heartbeat'),
    from,
    to,
    term: terms,
    commit: indices,
    readRound: numbers,
  }),
  fc.record({
    type: fc.constant('heartbeat-response'),
    from,
    to,
    term: terms,
    readRound: numbers,
  }),
  fc.record({type: fc.constant('timeout-now'), from, to, term: terms}),
  fc.record({type: fc.constant('read-index'), from, to, term: terms, context: numbers}),
  fc.record({
    type: fc.constant('read-index-response'),
    from,
    to,
    term: terms,
    context: numbers,
    index: indices,
  }),
  fc.record({
    type: fc.constant('forward'),
    requestId: numbers,
    timeoutMs: fc.nat(limits.requestTimeoutMsMax),
    command: bytes,
  }),
  fc.record({
    type: fc.constant('forward-response'),
    requestId: numbers,
    result: bytes,
    error: fc.constant(null),
  }),
  fc.record({
    type: fc.constant('forward-response'),
    requestId: numbers,
    result: fc.constant(null),
    error: fc.record({
      code: fc.constantFrom(...Object.keys(errorTable).filter(isErrorCode)),
      detail: fc.string({unit: 'grapheme'}),
    }),
  }),
  fc.record({
    type: fc.constant('state-hash'),
    index: numbers,
    hash: fc.oneof(hexOf(16), fc.constant(''), hexOf(64)),
  }),
);

/** What raft takes for granted of an append that was let through. */
function appendIsOrderly(message: EncodableMessage): void {
  if (message.type !== 'append') return;
  let {term, index} = message.previous;
  for (const entry of message.entries) {
    assert(entry.index === index + 1, `entry ${entry.index} after ${index}`);
    assert(entry.term >= term && entry.term <= message.term, `term ${entry.term} of an entry`);
    assert(entry.data.length <= limits.entryDataSizeBytesMax, 'an entry within its bound');
    ({term, index} = entry);
  }
  findDamagedEntry(message);
}

const identity: LocalIdentity = {
  clusterId: '0123456789abcdef0123456789abcdef',
  id: route.to,
  incarnation: '0123456789abcdef',
  starts: startsOf(3),
  listen: 'localhost:8080',
  http: 'localhost:9080',
  log: null,
};

interface HandshakeInput {
  readonly sender: LocalIdentity;
  readonly channel: 'control' | 'data' | 'snapshot';
  readonly to: LocalIdentity['id'];
  /** Header by number, and what becomes of its value. */
  readonly changes: readonly (readonly [number, Damage | null | readonly string[]])[];
}

const handshakeInputs: fc.Arbitrary<HandshakeInput> = fc.record({
  sender: fc.record({
    clusterId: fc.oneof(
      {weight: 5, arbitrary: fc.constant(identity.clusterId)},
      {weight: 1, arbitrary: hexOf(32)},
    ),
    id: nodeIds,
    incarnation: hexOf(16),
    starts: fc.nat(999_999).map(startsOf),
    listen: fc.constantFrom('localhost:8080', ':1', '[::1]:65535', '10.0.0.1:9'),
    http: fc.constantFrom('localhost:9080', 'a.b-c:0'),
    log: fc.option(fc.record({term: fc.nat(), lastIndex: fc.nat()})),
  }),
  channel: fc.constantFrom('control', 'data', 'snapshot'),
  to: fc.oneof({weight: 5, arbitrary: fc.constant(identity.id)}, {weight: 1, arbitrary: nodeIds}),
  changes: fc.array(
    fc.tuple(fc.nat(20), fc.oneof(maybeDamages, fc.constant(null), fc.array(fc.string()))),
    {maxLength: 2},
  ),
});

function introductionOf(input: HandshakeInput): IncomingHttpHeaders {
  const headers: IncomingHttpHeaders = handshakeHeaders(input.sender, input.to, input.channel);
  const names = Object.keys(headers);
  for (const [place, change] of input.changes) {
    const name = must(names[place % names.length], 'a header');
    const value = headers[name];
    if (change === null) headers[name] = undefined;
    else if (typeof change[0] === 'string') headers[name] = [...(change as readonly string[])];
    else if (typeof value === 'string') {
      headers[name] = damaged(Buffer.from(value), change as Damage).toString('latin1');
    }
  }
  return headers;
}

function checkHandshake(input: HandshakeInput): Verdict {
  const answer = readHandshake(introductionOf(input), identity);
  if (isRefusal(answer)) {
    assert(answer.status >= 400 && answer.status < 600, `status ${answer.status}`);
    assert(answer.code !== '' && answer.detail !== '', 'a refusal says why');
    const {sender, changes} = input;
    const isForeign = sender.clusterId !== identity.clusterId || input.to !== identity.id;
    const isOwn = sender.id === identity.id;
    assert(isForeign || isOwn || changes.length > 0, `refused: ${answer.detail}`);
    return 'refused';
  }
  const {handshake, channel} = answer;
  assert(handshake.clusterId === identity.clusterId, 'a member of another cluster got in');
  assert(handshake.to === identity.id && handshake.from !== identity.id, 'the wrong addressee');
  const {count, marks} = handshake.starts;
  assert(toStartHistory(count, marks) !== null, 'a history of starts');
  const {from: id, ...rest} = handshake;
  const again = readHandshake(handshakeHeaders({...rest, id}, handshake.to, channel), identity);
  mustBeSame(again, answer, 'the introduction once more');
  return 'accepted';
}

const members = fc.array(
  fc.record({
    id: nodeIds,
    incarnation: hexOf(16),
    listen: fc.constantFrom('localhost:8080', 'x'),
    http: fc.constant('localhost:9080'),
  }),
  {minLength: 1, maxLength: 4},
);
const clusterIds = hexOf(32);
const incarnations = hexOf(16);
const questions: fc.Arbitrary<object> = fc.oneof(
  fc.record({
    type: fc.constant('hello'),
    id: nodeIds,
    incarnation: incarnations,
    clusterId: fc.option(clusterIds),
    listen: fc.constant('localhost:8080'),
    http: fc.constant('localhost:9080'),
    ids: fc.array(nodeIds, {maxLength: 4}),
  }),
  fc.record({type: fc.constantFrom('found', 'adopt'), clusterId: clusterIds, members}),
  fc.record({
    type: fc.constant('send-snapshot'),
    clusterId: clusterIds,
    id: nodeIds,
    incarnation: incarnations,
  }),
);

interface FormationInput {
  readonly question: object;
  /** Fields by number, replaced by any JSON; null removes. */
  readonly changes: readonly (readonly [number, unknown])[];
  readonly damage: Damage;
}

function formationBytes({question, changes, damage}: FormationInput): Buffer {
  const fields: [string, unknown][] = Object.entries(question);
  for (const [place, value] of changes) {
    must(fields[place % fields.length], 'a field')[1] = value;
  }
  return damaged(Buffer.from(JSON.stringify(Object.fromEntries(fields))), damage);
}

function checkFormation(input: FormationInput): Verdict {
  const body = formationBytes(input);
  const value = parseJson(body);
  readHelloAnswer({status: 200, body: value});
  const {code, detail} = parseRefusal(400, body);
  assert(typeof code === 'string' && typeof detail === 'string', 'a refusal is texts');
  const question = readFormationRequest(value);
  if (question === null) {
    const isAsSent = input.changes.length === 0 && input.damage.length === 0;
    assert(!isAsSent, `not understood: ${textOf(value)}`);
    return 'refused';
  }
  const again = readFormationRequest(parseJson(Buffer.from(JSON.stringify(question))));
  mustBeSame(again, question, 'the question once more');
  return 'accepted';
}

export const transportTargets: readonly FuzzTarget[] = [
  codecTarget({
    name: 'membership',
    share: 5,
    values: memberships,
    encode: encodeMembership,
    decode: decodeMembership,
  }),
  codecTarget({
    name: 'peer-message',
    share: 10,
    values: messages,
    encode: encodeMessage,
    decode: damagedBytes => decodeMessage(damagedBytes, route),
    alsoHolds: appendIsOrderly,
  }),
  pureTarget<HandshakeInput>(
    {name: 'handshake', share: 5},
    {
      inputs: handshakeInputs,
      bytesOf: input => Buffer.from(textOf(introductionOf(input))),
      check: checkHandshake,
    },
  ),
  pureTarget<FormationInput>(
    {name: 'formation', share: 4},
    {
      inputs: fc.record({
        question: questions,
        changes: fc.array(fc.tuple(fc.nat(10), fc.jsonValue({maxDepth: 2})), {maxLength: 2}),
        damage: fc.oneof(
          {weight: 2, arbitrary: fc.constant<Damage>([])},
          {weight: 1, arbitrary: maybeDamages},
        ),
      }),
      bytesOf: formationBytes,
      check: checkFormation,
    },
  ),
];
