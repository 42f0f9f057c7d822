import assert from 'node:assert/strict';
import {once} from 'node:events';
import * as net from 'node:net';
import {
  httpHarness,
  asHttp,
  rawExchange,
  testClock,
} from '../../test/contract/http-transport-harness.ts';
import {
  assertUntouched,
  portOf,
  scenario,
  startVictim,
  upgradeRequest,
} from '../../test/contract/raw-peer.ts';
import {ListImport, ListSource, RecordingHandler} from '../../test/contract/recording-handler.ts';
import {
  identityOf,
  oneOfEach,
  snapshotMeta,
  startNode,
  startPair,
  transportContract,
} from '../../test/contract/transport-contract.ts';
import {silentLogger} from '../base/logger.ts';
import {limits} from '../base/limits.ts';
import {Prng} from '../base/prng.ts';
import {nodeId} from '../raft/ids.ts';
import {encodeFrame} from './frame.ts';
import {FrameWriter} from './frame-writer.ts';
import {handshakeHeaders} from './handshake.ts';
import {HttpTransport} from './http-transport.ts';
import {encodeOffer} from './snapshot-frames.ts';
import type {EncodableMessage} from './message-codec.ts';

transportContract('http', httpHarness);

const hash: EncodableMessage = {type: 'state-hash', index: 1, hash: 'ab'};

scenario('a second connection of a channel replaces the first', async harness => {
  const node = await startVictim(harness);
  const first = net.connect(portOf(node), '127.0.0.1');
  first.on('error', () => undefined);
  first.write(upgradeRequest());
  await once(first, 'data');
  const closed = once(first, 'close');
  const second = net.connect(portOf(node), '127.0.0.1');
  second.write(upgradeRequest());
  await closed;
  const writer = new FrameWriter();
  writer.message({type: 'state-hash', index: 2, hash: ''});
  for (const chunk of writer.take()) second.write(chunk);
  await harness.until(() => node.handler.messages.length === 1);
  second.destroy();
});

const otherDirectory = {'rosetta-incarnation': '00000000000000bb'};

for (const [how, introduction] of [
  ['', upgradeRequest({'rosetta-channel': 'control', ...otherDirectory})],
  [
    ', sending a snapshot too',
    upgradeRequest({'rosetta-channel': 'snapshot', ...otherDirectory})
      .replace('GET /', 'POST /snapshot')
      .replace(/(upgrade|connection): .*\r\n/g, ''),
  ],
] as const) {
  const name = `another directory of an id ends every connection of the former one${how}`;
  scenario(name, async harness => {
    const node = await startVictim(harness);
    const first = net.connect(portOf(node), '127.0.0.1');
    first.on('error', () => undefined);
    first.write(upgradeRequest());
    await once(first, 'data');
    let isClosed = false;
    first.once('close', () => {
      isClosed = true;
      harness.onEvent();
    });
    const second = net.connect(portOf(node), '127.0.0.1');
    second.write(introduction);
    await once(second, 'data');
    const writer = new FrameWriter();
    writer.message(hash);
    for (const chunk of writer.take()) first.write(chunk);
    await harness.until(() => isClosed || node.handler.messages.length > 0);
    assert.deepEqual(node.handler.messages, []);
    second.destroy();
  });
}

scenario('a connection cannot be upgraded for a snapshot', async harness => {
  const node = await startVictim(harness);
  const socket = net.connect(portOf(node), '127.0.0.1');
  socket.write(upgradeRequest({'rosetta-channel': 'snapshot', ...otherDirectory}));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1.1 400 [^]*BAD_HANDSHAKE/);
  assertUntouched(node);
  socket.destroy();
});

scenario('pings are answered but are no contact', async harness => {
  const node = await startVictim(harness);
  const socket = net.connect(portOf(node), '127.0.0.1');
  socket.write(upgradeRequest());
  await once(socket, 'data');
  socket.write(encodeFrame('ping'));
  const [ack] = (await once(socket, 'data')) as [Buffer];
  assert.deepEqual(ack, encodeFrame('ack'));
  assert.equal(node.handler.contactCount, 0);
  // Half of a frame with a payload is.
  const writer = new FrameWriter();
  writer.message(hash);
  socket.write(Buffer.concat(writer.take()).subarray(0, 12));
  await harness.until(() => node.handler.contactCount === 1);
  assert.deepEqual(node.handler.messages, []);
  socket.destroy();
});

/** A TCP relay that can swallow everything, like a network that lost its far end. */
async function startRelay(
  target: number,
): Promise<{port: number; setDeaf(isDeaf: boolean): void; close(): void}> {
  const sockets = new Set<net.Socket>();
  let isDeaf = false;
  const server = net.createServer(socket => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    // Deaf to a new connection: it is accepted, as by a kernel, and never answered.
    if (isDeaf) return;
    const upstream = net.connect(target, '127.0.0.1');
    sockets.add(upstream);
    upstream.on('error', () => undefined);
    socket.on('data', data => isDeaf || upstream.write(data));
    upstream.on('data', data => isDeaf || socket.write(data));
    socket.on('close', () => upstream.destroy());
    upstream.on('close', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as net.AddressInfo).port,
    setDeaf: value => {
      isDeaf = value;
    },
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

scenario(
  'a peer that vanished without a word is noticed, and met again soon after',
  async harness => {
    const a = await startNode(harness, 'node1');
    const b = await startVictim(harness);
    const relay = await startRelay(portOf(b));
    try {
      a.transport.setIdentity(identityOf('node1'));
      a.transport.setPeers([{...b.member, listen: `127.0.0.1:${relay.port}`}]);
      await harness.until(() => a.handler.events.length === 1);
      relay.setDeaf(true);
      await harness.until(() => a.handler.events.includes('down node2'));
      assert.equal(a.transport.send(b.id, hash), false);
      relay.setDeaf(false);
      const healedAtMs = performance.now();
      await harness.until(() => a.handler.events.length === 3);
      assert.equal(a.handler.events[2], 'up node2');
      assert.ok(performance.now() - healedAtMs < 5_000, 'far before TCP would');
    } finally {
      relay.close();
    }
  },
);

scenario('a peer that does not read fills its buffer and no more', async harness => {
  const a = await startNode(harness, 'node1');
  // Shakes hands and then never reads.
  const server = net.createServer(socket => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.pause();
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: rosetta-raft/1\r\n' +
          'Connection: Upgrade\r\nrosetta-from: node2\r\n\r\n',
      );
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const {port} = server.address() as net.AddressInfo;
  a.transport.setIdentity(identityOf('node1'));
  const listen = `127.0.0.1:${port}`;
  a.transport.setPeers([{...a.member, id: nodeId('node2'), listen}]);
  await harness.until(() => a.handler.events.length === 1);
  const command = new Uint8Array(1024 * 1024);
  let sentCount = 0;
  const to = nodeId('node2');
  while (a.transport.send(to, {type: 'forward', requestId: sentCount, timeoutMs: 1, command})) {
    sentCount += 1;
    assert.ok(sentCount < 100, 'the buffer is bounded');
  }
  const counters = a.transport.peer(to);
  assert.ok(counters.bufferedSizeBytes <= limits.peerBufferSizeBytesMax);
  assert.equal(counters.droppedCount, 1);
  const route = {from: a.id, to};
  const heartbeat = oneOfEach(route.from, route.to).find(each => each.type === 'heartbeat');
  assert.ok(heartbeat !== undefined);
  assert.equal(a.transport.send(to, heartbeat), true, 'control does not wait behind data');
  server.close();
});

scenario('a snapshot waits for its receiver: memory stays bounded', async harness => {
  const [a, b] = await startPair(harness);
  const target = new ListImport();
  target.isHeld = true;
  b.handler.import = target;
  const blocks = Array.from({length: 64}, () => new Uint8Array(256 * 1024));
  const snapshot = new ListSource(snapshotMeta(a.member), blocks);
  let result: Error | null | undefined;
  a.transport.sendSnapshot(b.id, snapshot, error => {
    result = error;
    harness.onEvent();
  });
  let busy: Error | null = null;
  const second = new ListSource(snapshotMeta(a.member), blocks);
  a.transport.sendSnapshot(b.id, second, error => {
    busy = error;
    harness.onEvent();
  });
  await harness.until(() => busy !== null && target.blocks.length === 4);
  assert.deepEqual(second.opened, []);
  assert.equal(target.blocks.length, 4, 'a few blocks at a time');
  assert.ok(snapshot.nextCount < 40, `the sender read ahead ${snapshot.nextCount} blocks`);
  target.release();
  await harness.until(() => result !== undefined);
  assert.equal(result, null);
  assert.equal(target.blocks.length, 64);
});

scenario('a snapshot stream that breaks off or lies is aborted', async harness => {
  const node = await startVictim(harness);
  const {member} = node;
  const head = (length: number): string => {
    const headers = handshakeHeaders(identityOf('node1'), nodeId('node2'), 'snapshot');
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    return `POST /snapshot HTTP/1.1\r\nhost: x\r\n${lines.join('')}content-length: ${length}\r\n\r\n`;
  };
  const end = (count: number): Buffer => {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(count);
    return encodeFrame('snapshot-end', payload);
  };
  const meta = encodeFrame(
    'snapshot-meta',
    encodeOffer({id: '1-1', meta: snapshotMeta(member), sizeBytes: 0}),
  );
  const block = encodeFrame('snapshot-block', Buffer.from('block'));
  const bodies: readonly Buffer[] = [
    Buffer.from('not a frame at all'),
    Buffer.concat([block, end(1)]),
    Buffer.concat([meta, meta]),
    Buffer.concat([meta, block, end(2)]),
    Buffer.concat([meta, block]),
    Buffer.concat([meta, block, end(1), block]),
    Buffer.concat([meta, encodeFrame('ping')]),
    encodeFrame('snapshot-meta', Buffer.alloc(20, 0xff)),
  ];
  for (const body of bodies) {
    const target = new ListImport();
    node.handler.import = target;
    const answer = await rawExchange(
      portOf(node),
      Buffer.concat([Buffer.from(head(body.length)), body]),
    );
    // Whoever was told where to begin hears of it in the same answer.
    assert.match(answer, /^HTTP\/1.1 (400|200) [^]*BAD_SNAPSHOT/, answer);
    assert.equal(target.abortCount, node.handler.offers.splice(0).length);
    assert.deepEqual(node.handler.snapshots, []);
  }
  assert.equal(asHttp(node.transport).counters()['bad-snapshot'], bodies.length);

  const target = new ListImport();
  node.handler.import = target;
  const socket = net.connect(portOf(node), '127.0.0.1');
  socket.write(Buffer.concat([Buffer.from(head(100_000)), meta, block]));
  await harness.until(() => target.blocks.length === 1);
  socket.destroy();
  await harness.until(() => node.handler.broken.length === 1);
  assert.equal(target.abortCount, 0);
});

scenario('a block that is refused ends a stream that has sent more', async harness => {
  const [a, b] = await startPair(harness);
  const target = new ListImport();
  target.isHeld = true;
  b.handler.import = target;
  const blocks = Array.from({length: 8}, () => new Uint8Array(256 * 1024));
  const results: (Error | null)[] = [];
  a.transport.sendSnapshot(b.id, new ListSource(snapshotMeta(a.member), blocks), error => {
    results.push(error);
    harness.onEvent();
  });
  await harness.until(() => target.blocks.length === 4);
  target.failure = new Error('out of order');
  target.release();
  await harness.until(() => results.length === 1);
  assert.match(results[0]?.message ?? '', /SNAPSHOT_FAILED: out of order/);
  assert.equal(target.abortCount, 1);
  assert.equal(target.blocks.length, 4, 'nothing is written behind it');
  assert.deepEqual(b.handler.broken, []);
});

scenario('why a peer cannot be reached is logged', async harness => {
  const lines: string[] = [];
  const logger = {...silentLogger, info: (_: object, line: string) => void lines.push(line)};
  const transport = harness.createHttp('node1', '127.0.0.1:0', logger);
  await new Promise(resolve => {
    transport.start(new RecordingHandler(harness.onEvent), resolve);
  });
  const nobody = await startRelay(1);
  nobody.close();
  const {member} = await startVictim(harness);
  transport.setIdentity(identityOf('node1'));
  transport.setPeers([{...member, listen: `127.0.0.1:${nobody.port}`}]);
  while (lines.length === 0) await new Promise(resolve => setImmediate(resolve));
  assert.match(lines.join(), /^cannot connect to node2 at 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
});

scenario('a third stream of the same sender waits for both before it', async harness => {
  const b = await startVictim(harness);
  const target = new ListImport();
  target.isHeld = true;
  b.handler.import = target;
  const blocks = Array.from({length: 8}, (_, i) => new Uint8Array(256 * 1024 - 8).fill(i));
  const results: (Error | null)[] = [];
  for (let i = 0; i < 3; i++) {
    const sender = await startNode(harness, 'node1');
    sender.transport.setIdentity(identityOf('node1'));
    sender.transport.setPeers([b.member]);
    await harness.until(() => sender.handler.events.includes('up node2'));
    const source = new ListSource(snapshotMeta(b.member), blocks);
    sender.transport.sendSnapshot(b.id, source, error => {
      results[i] = error;
      harness.onEvent();
    });
    // A newer one ends the one before it.
    await harness.until(() => (i === 0 ? target.blocks.length > 0 : results[i - 1] !== undefined));
  }
  assert.equal(b.handler.offers.length, 1, 'blocks of the first one are being written');
  target.release();
  await harness.until(() => results[2] === null);
  assert.equal(b.handler.offers.length, 2, 'the second one has passed its turn on');
  assert.ok(Buffer.concat(target.blocks).equals(Buffer.concat(blocks)));
  assert.equal(target.abortCount, 0);
});

scenario(
  'a newer stream of the same sender waits until the older one has let go',
  async harness => {
    const b = await startVictim(harness);
    const relay = await startRelay(portOf(b));
    const viaRelay = await startNode(harness, 'node1');
    viaRelay.transport.setIdentity(identityOf('node1'));
    viaRelay.transport.setPeers([{...b.member, listen: `127.0.0.1:${relay.port}`}]);
    await harness.until(() => viaRelay.handler.events.includes('up node2'));
    const target = new ListImport();
    target.isHeld = true;
    b.handler.import = target;
    const blocks = Array.from({length: 8}, (_, i) => new Uint8Array(256 * 1024 - 8).fill(i));
    const first = new ListSource(snapshotMeta(b.member), blocks);
    const results: (Error | null)[] = [];
    viaRelay.transport.sendSnapshot(b.id, first, () => undefined);
    await harness.until(() => target.blocks.length >= 1);
    // The first connection is dead, but the receiver cannot know.
    relay.setDeaf(true);
    const a = await startNode(harness, 'node1');
    a.transport.setIdentity(identityOf('node1'));
    a.transport.setPeers([b.member]);
    await harness.until(() => a.handler.events.includes('up node2'));
    const handshakeCount = b.handler.handshakes.length;
    const second = new ListSource(snapshotMeta(b.member), blocks);
    a.transport.sendSnapshot(b.id, second, error => {
      results.push(error);
      harness.onEvent();
    });
    await harness.until(() => b.handler.handshakes.length > handshakeCount);
    assert.equal(b.handler.offers.length, 1, 'blocks of the first one are being written');
    const writtenCount = target.blocks.length;
    target.release();
    await harness.until(() => results.length === 1);
    assert.deepEqual(results, [null]);
    assert.equal(b.handler.broken.length, 1);
    assert.equal(second.opened[0]?.rowCount, writtenCount, 'it goes on behind those blocks');
    assert.ok(Buffer.concat(target.blocks).equals(Buffer.concat(blocks)));
    assert.equal(target.abortCount, 0);
    relay.close();
  },
);

scenario('a port in use is reported once', async harness => {
  const node = await startVictim(harness);
  const second = new HttpTransport({
    listen: `127.0.0.1:${portOf(node)}`,
    clock: testClock,
    prng: new Prng(1),
    logger: silentLogger,
  });
  const error = await new Promise<Error | null>(resolve => {
    second.start(new RecordingHandler(() => undefined), resolve);
  });
  assert.match(String(error), /EADDRINUSE/);
});

scenario('localhost listens on every loopback there is', async harness => {
  const transport = harness.createHttp('node2', 'localhost:0');
  await new Promise(resolve => {
    transport.start(new RecordingHandler(harness.onEvent), resolve);
  });
  const answer = await rawExchange(transport.address().port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(answer, /^HTTP\/1.1 404 /);
});
