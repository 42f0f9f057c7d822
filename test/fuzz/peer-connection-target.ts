/**
 * The bytes of a connection to the Raft port, against a real transport on a loopback socket: an
 * introduction and frames, a snapshot, a question of formation, all damaged. Only who introduced
 * itself properly is heard, only what was sent is delivered, and no import is left behind.
 */
import {connect} from 'node:net';
import fc from 'fast-check';
import {assert, must} from '../../src/base/assert.ts';
import {parseAddress} from '../../src/base/address.ts';
import {isJsonObject} from '../../src/storage/durable-file.ts';
import type {JsonValue} from '../../src/storage/durable-file.ts';
import {nodeId} from '../../src/raft/ids.ts';
import type {Channel} from '../../src/transport/handshake.ts';
import {handshakeHeaders, upgradeProtocol} from '../../src/transport/handshake.ts';
import type {EncodableMessage} from '../../src/transport/message-codec.ts';
import {httpHarness} from '../contract/http-transport-harness.ts';
import {ListImport} from '../contract/recording-handler.ts';
import type {TestNode} from '../contract/transport-contract.ts';
import {clusterId, identityOf, startNode} from '../contract/transport-contract.ts';
import type {PeerMessage} from '../../src/transport/transport.ts';
import type {Manners} from './conversation.ts';
import {Conversation, answersOf, manners, nextTurn} from './conversation.ts';
import type {Damage} from './damage.ts';
import {damaged, maybeDamages} from './damage.ts';
import {encodeStream, snapshotFrames} from './frame-targets.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {openedTarget} from './fuzz-target.ts';
import {isSameValue, mustBeSame} from './same-value.ts';
import {messages, route} from './transport-targets.ts';

interface PeerInput {
  readonly kind: 'upgrade' | 'snapshot' | 'formation';
  readonly channel: Channel;
  readonly messages: readonly EncodableMessage[];
  readonly blocks: readonly Uint8Array[];
  readonly question: unknown;
  readonly isChunked: boolean;
  /** Of the request, and of what follows it. */
  readonly headDamage: Damage;
  readonly damage: Damage;
  readonly manners: Manners;
}

const rarelyDamaged = fc.oneof(
  {weight: 2, arbitrary: fc.constant<Damage>([])},
  {weight: 1, arbitrary: maybeDamages},
);

const inputs: fc.Arbitrary<PeerInput> = fc.record({
  kind: fc.constantFrom('upgrade', 'upgrade', 'snapshot', 'formation'),
  channel: fc.constantFrom('control', 'data'),
  messages: fc.array(messages, {maxLength: 3}),
  blocks: fc.array(fc.uint8Array({maxLength: 40}), {maxLength: 2}),
  question: fc.jsonValue({maxDepth: 2}),
  isChunked: fc.boolean(),
  headDamage: rarelyDamaged,
  damage: rarelyDamaged,
  manners,
});

function requestOf(input: PeerInput): {readonly lines: string[]; readonly body: Buffer} {
  const channel = input.kind === 'snapshot' ? 'snapshot' : input.channel;
  const identity = identityOf(route.from);
  const headers = Object.entries(handshakeHeaders(identity, route.to, channel));
  const introduction = headers.map(([name, value]) => `${name}: ${value}`);
  switch (input.kind) {
    case 'upgrade': {
      const items = input.messages.map(message => ({type: 'message' as const, message}));
      const upgrade = ['Connection: Upgrade', `Upgrade: ${upgradeProtocol}`];
      return {
        lines: ['GET / HTTP/1.1', ...upgrade, ...introduction],
        body: encodeStream(items),
      };
    }
    case 'snapshot':
      return {
        lines: ['POST /snapshot HTTP/1.1', ...introduction],
        body: snapshotFrames(input.blocks),
      };
    case 'formation':
      return {
        lines: ['POST /formation HTTP/1.1'],
        body: Buffer.from(JSON.stringify(input.question)),
      };
  }
}

function connectionBytes(input: PeerInput): Buffer {
  const {lines, body} = requestOf(input);
  const spoiled = damaged(body, input.damage);
  const head = [...lines, 'Host: localhost'];
  const pieces = [spoiled];
  if (input.kind !== 'upgrade') {
    if (input.isChunked && spoiled.length > 0) {
      head.push('Transfer-Encoding: chunked');
      pieces.unshift(Buffer.from(`${spoiled.length.toString(16)}\r\n`));
      pieces.push(Buffer.from('\r\n0\r\n\r\n'));
    } else head.push(`Content-Length: ${spoiled.length}`);
  }
  const headBytes = damaged(Buffer.from(`${head.join('\r\n')}\r\n\r\n`), input.headDamage);
  return Buffer.concat([headBytes, ...pieces]);
}

function isSound(input: PeerInput): boolean {
  const isPatient = input.manners.hangUp !== 'reset-at-once';
  return isPatient && input.damage.length + input.headDamage.length === 0;
}

async function checkPeer(node: TestNode, input: PeerInput): Promise<Verdict> {
  const {handler} = node;
  const snapshot = new ListImport();
  handler.import = snapshot;
  const {port} = must(parseAddress(node.member.listen), 'an address');
  const socket = connect(port, '127.0.0.1');
  const received = await new Conversation(socket).hold(connectionBytes(input), input.manners);
  // The server notices the end of the connection in a turn of its own.
  for (let i = 0; i < 3; i++) await nextTurn();
  const delivered = handler.messages.splice(0);
  const handshakes = handler.handshakes.splice(0);
  const snapshotCount = handler.snapshots.splice(0).length;
  for (const {clusterId: cluster, to} of handshakes) {
    assert(cluster === clusterId && to === route.to, 'a stranger is introduced');
  }
  const answers = answersOf(received);
  const status = answers[0]?.status ?? 0;
  if (input.damage.length === 0) {
    for (const {message} of delivered) {
      assert(
        input.messages.some(sent => isSameMessage(sent, message)),
        `a ${message.type} that nobody sent`,
      );
    }
  }
  assert(delivered.length === 0 || handshakes.length > 0, 'a message without an introduction');
  const importEndCount = snapshot.abortCount + snapshotCount;
  assert(importEndCount <= 1, `an import ended ${importEndCount} times`);
  assert(snapshot.blocks.length === 0 || importEndCount === 1, 'an import is left behind');
  if (isSound(input)) checkSound(input, {status, delivered, snapshotCount, snapshot});
  for (const answer of answers) {
    if (answer.status >= 400 && answer.isWhole) checkRefusal(answer.body);
  }
  return status === 101 || status === 200 ? 'accepted' : 'refused';
}

/** The sender is whoever the introduction, damaged as it is, names. */
function isSameMessage(sent: EncodableMessage, received: PeerMessage): boolean {
  return isSameValue(sent, 'from' in received ? {...received, from: route.from} : received);
}

function checkSound(
  input: PeerInput,
  outcome: {
    readonly status: number;
    readonly delivered: readonly {readonly message: unknown}[];
    readonly snapshotCount: number;
    readonly snapshot: ListImport;
  },
): void {
  const {status, delivered, snapshotCount, snapshot} = outcome;
  if (input.kind === 'upgrade') {
    assert(status === 101, `status ${status} for a member`);
    mustBeSame(
      delivered.map(({message}) => message),
      input.messages,
      'the messages',
    );
  } else {
    assert(status === 200, `status ${status}`);
  }
  if (input.kind === 'snapshot') {
    assert(snapshotCount === 1, 'the snapshot is handed over');
    mustBeSame(snapshot.blocks, input.blocks, 'the blocks');
  }
}

function checkRefusal(body: string): void {
  const refusal = JSON.parse(Buffer.from(body, 'latin1').toString('utf8')) as JsonValue;
  assert(isJsonObject(refusal), 'a refusal is an object');
  assert(typeof refusal['code'] === 'string' && refusal['code'] !== '', 'a refusal has a code');
  assert(typeof refusal['detail'] === 'string', 'a refusal has a sentence');
}

export const peerConnectionTarget: FuzzTarget = openedTarget<PeerInput>(
  {name: 'peer-connection', share: 1},
  async () => {
    const harness = httpHarness();
    const node = await startNode(harness, nodeId(route.to));
    node.transport.setIdentity(identityOf(route.to));
    return {
      inputs,
      bytesOf: connectionBytes,
      check: input => checkPeer(node, input),
      close: () => harness.close(),
    };
  },
);
