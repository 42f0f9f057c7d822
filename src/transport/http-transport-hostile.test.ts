/** What comes to the Raft port and is no peer, or misbehaves as one. */
import assert from 'node:assert/strict';
import {asHttp, rawExchange} from '../../test/contract/http-transport-harness.ts';
import {
  assertUntouched,
  portOf,
  scenario,
  startVictim,
  upgradeRequest,
} from '../../test/contract/raw-peer.ts';
import {RecordingHandler} from '../../test/contract/recording-handler.ts';
import type {TestNode} from '../../test/contract/transport-contract.ts';
import {clusterId, oneOfEach} from '../../test/contract/transport-contract.ts';
import {silentLogger} from '../base/logger.ts';
import {Prng} from '../base/prng.ts';
import {nodeId} from '../raft/ids.ts';
import {encodeFrame} from './frame.ts';
import {FrameWriter} from './frame-writer.ts';
import {encodeMessage} from './message-codec.ts';

scenario('garbage on the Raft port is refused, counted and changes nothing', async harness => {
  const node = await startVictim(harness);
  const prng = new Prng(7);
  const garbage = Buffer.from(Array.from({length: 4_000}, () => prng.integer({min: 0, max: 255})));
  const attempts = [
    garbage,
    Buffer.from('\0'.repeat(100)),
    'SSH-2.0-OpenSSH_9.6\r\n',
    '*1\r\n$4\r\n',
  ];
  for (const bytes of attempts) await rawExchange(portOf(node), bytes);
  assert.equal(asHttp(node.transport).counters()['bad-request'], attempts.length);
  assertUntouched(node);
});

scenario('a client that took the wrong port is told so', async harness => {
  const node = await startVictim(harness);
  const answer = await rawExchange(portOf(node), 'GET /kv/hello HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(answer, /^HTTP\/1.1 404 /);
  assert.match(answer, /Raft port/);
  assert.match(answer, /connection: close/i);
  assert.equal(asHttp(node.transport).counters()['not-found'], 1);
});

scenario('a handshake with anything wrong is a 4xx with its reason', async harness => {
  const node = await startVictim(harness);
  const cases: readonly [Record<string, string>, number, string][] = [
    [{'rosetta-version': '2'}, 400, 'BAD_VERSION'],
    [{upgrade: 'websocket'}, 400, 'BAD_VERSION'],
    [{'rosetta-cluster': 'f'.repeat(32)}, 409, 'WRONG_CLUSTER'],
    [{'rosetta-cluster': 'x'}, 400, 'BAD_HANDSHAKE'],
    [{'rosetta-to': 'node3'}, 409, 'WRONG_NODE'],
    [{'rosetta-from': 'node2'}, 400, 'BAD_HANDSHAKE'],
    [{'rosetta-from': '../etc'}, 400, 'BAD_HANDSHAKE'],
    [{'rosetta-start-count': '-1'}, 400, 'BAD_HANDSHAKE'],
    [{'rosetta-start-count': '1e9'}, 400, 'BAD_HANDSHAKE'],
    [{'rosetta-channel': 'other'}, 400, 'BAD_HANDSHAKE'],
    [{'rosetta-channel': 'snapshot'}, 400, 'BAD_HANDSHAKE'],
    [{'rosetta-listen': 'nowhere'}, 400, 'BAD_HANDSHAKE'],
  ];
  for (const [changes, status, code] of cases) {
    const answer = await rawExchange(portOf(node), upgradeRequest(changes));
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} [^]*"code":"${code}"`), answer);
    assert.match(answer, /Connection: close/i);
  }
  const counts = asHttp(node.transport).counters();
  assert.equal(counts['wrong-cluster'], 1);
  assert.equal(counts['wrong-node'], 1);
  assert.equal(counts['bad-version'], 2);
  assert.equal(counts['bad-handshake'], 8);
  assertUntouched(node);
});

/** Opens a valid channel, sends the bytes, and waits until the node closes it. */
async function misbehave(node: TestNode, bytes: Buffer): Promise<void> {
  await rawExchange(portOf(node), Buffer.concat([Buffer.from(upgradeRequest()), bytes]));
}

scenario(
  'malformed frames and messages close the connection and deliver nothing',
  async harness => {
    const node = await startVictim(harness);
    const append = oneOfEach(nodeId('node1'), nodeId('node2')).find(each => each.type === 'append');
    assert.ok(append?.type === 'append');
    const message = encodeMessage(append);
    const flipped = Buffer.from(message);
    flipped[flipped.length - 1] = 0xee;
    const wrap = (bytes: Buffer): Buffer => {
      const size = Buffer.alloc(4);
      size.writeUInt32LE(bytes.length);
      return encodeFrame('messages', Buffer.concat([size, bytes]));
    };
    const damagedFrame = wrap(message);
    damagedFrame[40] = 0xff;
    const cases: readonly [Buffer, string][] = [
      [Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'bad-frame'],
      [Buffer.alloc(8, 0xff), 'bad-frame'],
      [damagedFrame, 'bad-frame'],
      [encodeFrame('messages'), 'bad-frame'],
      [encodeFrame('snapshot-end'), 'bad-frame'],
      [wrap(Buffer.from([99, 1, 2, 3])), 'bad-message'],
      [wrap(message.subarray(0, 50)), 'bad-message'],
      [wrap(Buffer.concat([message, Buffer.alloc(1)])), 'bad-message'],
      [wrap(flipped), 'damaged-entry'],
    ];
    const counts: Record<string, number> = {};
    for (const [bytes, reason] of cases) {
      await misbehave(node, bytes);
      counts[reason] = (counts[reason] ?? 0) + 1;
    }
    const all: Readonly<Record<string, number>> = asHttp(node.transport).counters();
    for (const reason of Object.keys(counts)) assert.equal(all[reason], counts[reason], reason);
    assertUntouched(node);
  },
);

scenario(
  'what arrived whole before a broken frame is delivered, nothing after it',
  async harness => {
    const node = await startVictim(harness);
    const writer = new FrameWriter();
    writer.message({type: 'state-hash', index: 1, hash: ''});
    writer.frame('ack', new Uint8Array(0));
    writer.message({type: 'state-hash', index: 2, hash: ''});
    await misbehave(node, Buffer.concat(writer.take()));
    const indices = node.handler.messages.map(({message}) =>
      message.type === 'state-hash' ? message.index : 0,
    );
    assert.deepEqual(indices, [1]);
  },
);

scenario('a formation request must be small JSON', async harness => {
  const node = await startVictim(harness);
  const post = (body: string, length = body.length): string =>
    `POST /formation HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n\r\n${body}`;
  assert.match(await rawExchange(portOf(node), post('{')), /^HTTP\/1.1 400 /);
  assert.match(await rawExchange(portOf(node), post('', 100_000_000)), /^HTTP\/1.1 400 /);
  assert.match(await rawExchange(portOf(node), post('{"a":1}')), /^HTTP\/1.1 200 [^]*"a":1/);
});

scenario('garbage is logged once, then counted', async harness => {
  const lines: string[] = [];
  const logger = {...silentLogger, warn: (_: object, line: string) => void lines.push(line)};
  const transport = harness.createHttp('node2', '127.0.0.1:0', logger);
  await new Promise(resolve => {
    transport.start(new RecordingHandler(harness.onEvent), resolve);
  });
  const {port} = transport.address();
  await Promise.all(Array.from({length: 20}, () => rawExchange(port, 'garbage\r\n\r\n')));
  assert.equal(transport.counters()['bad-request'], 20);
  assert.ok(lines.length <= 2, lines.join('\n'));
});

scenario('the cluster id is not told to strangers that do not know one', async harness => {
  const node = await startVictim(harness);
  const answer = await rawExchange(portOf(node), 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.ok(!answer.includes(clusterId));
});
