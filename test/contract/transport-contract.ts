/**
 * What every Transport promises, whatever carries its bytes. Run on the HTTP transport and on the
 * one in memory, so that a test in memory says something about the network.
 */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Prng} from '../../src/base/prng.ts';
import type {Entry} from '../../src/raft/entry.ts';
import {makeEntry} from '../../src/raft/entry.ts';
import type {NodeId} from '../../src/raft/ids.ts';
import {logIndex, nodeId, term} from '../../src/raft/ids.ts';
import type {Member} from '../../src/raft/membership.ts';
import type {LocalIdentity, PeerMessage, Transport} from '../../src/transport/transport.ts';
import {SnapshotRefusedError} from '../../src/transport/transport.ts';
import {startsOf} from './starts.ts';
import {ListSource, ListImport, RecordingHandler} from './recording-handler.ts';

export interface TransportHarness {
  /** A transport that is not started yet. */
  create(name: string): Transport;
  /** Where it can be reached, once it is started. */
  addressOf(transport: Transport): string;
  /** Runs until the condition holds; fails when it never does. */
  until(condition: () => boolean): Promise<void>;
  /** To be called whenever something happened that a condition may ask about. */
  readonly onEvent: () => void;
  close(): Promise<void>;
}

export const clusterId = '0123456789abcdef0123456789abcdef';

export interface TestNode {
  readonly id: NodeId;
  readonly transport: Transport;
  readonly handler: RecordingHandler;
  readonly member: Member;
}

export function identityOf(id: string, changes: Partial<LocalIdentity> = {}): LocalIdentity {
  return {
    clusterId,
    id: nodeId(id),
    incarnation: '00000000000000aa',
    starts: startsOf(1),
    listen: `${id}.example:8080`,
    http: `${id}.example:9080`,
    log: {term: 1, lastIndex: 1},
    ...changes,
  };
}

export async function startNode(harness: TransportHarness, id: string): Promise<TestNode> {
  const transport = harness.create(id);
  const handler = new RecordingHandler(harness.onEvent);
  let isStarted = false;
  transport.start(handler, error => {
    assert.equal(error, null);
    isStarted = true;
    harness.onEvent();
  });
  await harness.until(() => isStarted);
  const listen = harness.addressOf(transport);
  const member = {id: nodeId(id), incarnation: '00000000000000aa', listen, http: listen};
  return {id: nodeId(id), transport, handler, member};
}

export async function startPair(harness: TransportHarness): Promise<[TestNode, TestNode]> {
  const a = await startNode(harness, 'node1');
  const b = await startNode(harness, 'node2');
  for (const node of [a, b]) {
    node.transport.setIdentity(identityOf(node.id));
    node.transport.setPeers([a.member, b.member]);
  }
  await harness.until(
    () => a.handler.events.includes('up node2') && b.handler.events.includes('up node1'),
  );
  return [a, b];
}

export function entries(count: number, sizeBytes: number): Entry[] {
  return Array.from({length: count}, (_, i) =>
    makeEntry({
      term: term(3),
      index: logIndex(11 + i),
      type: 'command',
      proposedAtMs: 1_700_000_000_000 + i,
      data: new Uint8Array(sizeBytes).fill(i + 1),
    }),
  );
}

/** One of each kind. */
export function oneOfEach(from: NodeId, to: NodeId): PeerMessage[] {
  const route = {from, to, term: term(7)};
  const last = {term: term(6), index: logIndex(2 ** 40)};
  const index = logIndex(2 ** 33 + 5);
  return [
    {type: 'pre-vote', ...route, last},
    {type: 'pre-vote-response', ...route, granted: true},
    {type: 'vote', ...route, last, isTransfer: true},
    {type: 'vote-response', ...route, granted: false},
    {type: 'heartbeat', ...route, commit: index, readRound: 9},
    {type: 'heartbeat-response', ...route, readRound: 9},
    {type: 'timeout-now', ...route},
    {type: 'read-index', ...route, context: Number.MAX_SAFE_INTEGER},
    {type: 'read-index-response', ...route, context: 4, index},
    {
      type: 'append',
      ...route,
      previous: {term: term(3), index: logIndex(10)},
      entries: entries(3, 100),
      commit: logIndex(9),
    },
    {type: 'append-accepted', ...route, matchIndex: index},
    {type: 'append-rejected', ...route, rejected: index, hint: last},
    {type: 'forward', requestId: 5, timeoutMs: 4_000, command: Buffer.from('command')},
    {type: 'forward-response', requestId: 5, result: Buffer.from('result'), error: null},
    {
      type: 'forward-response',
      requestId: 6,
      result: null,
      error: {code: 'OUTCOME_UNKNOWN', detail: 'näheres unbekannt'},
    },
    {type: 'state-hash', index: 1024, hash: 'cafe0123cafe0123'},
  ];
}

/** Buffers and Uint8Arrays of equal bytes are equal here. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(fields.map(([name, field]) => [name, plain(field)]));
}

export function transportContract(kind: string, makeHarness: () => TransportHarness): void {
  const run = (name: string, body: (harness: TransportHarness) => Promise<void>): void => {
    test(`${kind}: ${name}`, async () => {
      const harness = makeHarness();
      try {
        await body(harness);
      } finally {
        await harness.close();
      }
    });
  };

  run('every kind of message arrives as it was sent', async harness => {
    const [a, b] = await startPair(harness);
    const sent = oneOfEach(a.id, b.id);
    for (const message of sent) assert.equal(a.transport.send(b.id, message), true);
    assert.equal(b.handler.messages.length, 0, 'nothing arrives inside of send');
    await harness.until(() => b.handler.messages.length === sent.length);
    const byType = (list: readonly unknown[]): string[] =>
      list.map(each => JSON.stringify(plain(each))).sort();
    assert.deepEqual(byType(b.handler.messages.map(each => each.message)), byType(sent));
    assert.ok(b.handler.messages.every(each => each.from === a.id));
    await harness.until(() => b.handler.contactCount > 0);
  });

  run('messages of one kind keep their order', async harness => {
    const [a, b] = await startPair(harness);
    const count = 2_000;
    for (let i = 0; i < count; i++) {
      a.transport.send(b.id, {type: 'state-hash', index: i, hash: ''});
    }
    await harness.until(() => b.handler.messages.length === count);
    const order = b.handler.messages.map(({message}) =>
      message.type === 'state-hash' ? message.index : -1,
    );
    assert.deepEqual(order, [...Array(count).keys()]);
  });

  run('an entry of the largest size spans frames and stays whole', async harness => {
    const [a, b] = await startPair(harness);
    const [sent] = entries(1, 5 * 1024 * 1024);
    assert.ok(sent !== undefined);
    const message: PeerMessage = {
      type: 'append',
      from: a.id,
      to: b.id,
      term: term(3),
      previous: {term: term(2), index: logIndex(10)},
      entries: [sent],
      commit: logIndex(0),
    };
    assert.equal(a.transport.send(b.id, message), true);
    await harness.until(() => b.handler.messages.length === 1);
    const received = b.handler.messages[0]?.message;
    assert.ok(received?.type === 'append');
    const data = received.entries[0]?.data;
    assert.ok(data !== undefined && Buffer.compare(data, sent.data) === 0);
  });

  run('a message to a stranger is not sent', async harness => {
    const [a] = await startPair(harness);
    const hash: PeerMessage = {type: 'state-hash', index: 1, hash: ''};
    assert.equal(a.transport.send(nodeId('node9'), hash), false);
    assert.equal(a.transport.peer(nodeId('node9')).isConnected, false);
  });

  run('the handshake tells who and where the dialer is', async harness => {
    const [a, b] = await startPair(harness);
    const {incarnation, starts, listen, http, log} = identityOf('node1');
    const from = a.id;
    const expected = {clusterId, from, to: b.id, incarnation, starts, listen, http, log};
    assert.deepEqual(b.handler.handshakes[0], expected);
  });

  run('a member of another cluster is told so and changes nothing', async harness => {
    const a = await startNode(harness, 'node1');
    const b = await startNode(harness, 'node2');
    a.transport.setIdentity(identityOf('node1'));
    b.transport.setIdentity(identityOf('node2', {clusterId: 'f'.repeat(32)}));
    a.transport.setPeers([a.member, b.member]);
    await harness.until(() => a.handler.refusals.length > 0);
    assert.equal(a.handler.refusals[0]?.code, 'WRONG_CLUSTER');
    assert.equal(a.handler.refusals[0].status, 409);
    assert.deepEqual(b.handler.handshakes, []);
    assert.equal(a.transport.peer(b.id).isConnected, false);
  });

  run('a node under another name refuses to be addressed', async harness => {
    const a = await startNode(harness, 'node1');
    const b = await startNode(harness, 'node2');
    a.transport.setIdentity(identityOf('node1'));
    b.transport.setIdentity(identityOf('node2'));
    a.transport.setPeers([{...b.member, id: nodeId('node3')}]);
    await harness.until(() => a.handler.refusals.length > 0);
    assert.equal(a.handler.refusals[0]?.code, 'WRONG_NODE');
  });

  run('the handler may refuse, and its reason arrives', async harness => {
    const a = await startNode(harness, 'node1');
    const b = await startNode(harness, 'node2');
    b.handler.refusal = {status: 409, code: 'UNKNOWN_MEMBER', detail: 'node1 is not a member'};
    for (const node of [a, b]) node.transport.setIdentity(identityOf(node.id));
    a.transport.setPeers([b.member]);
    await harness.until(() => a.handler.refusals.length > 0);
    assert.deepEqual(a.handler.refusals[0], b.handler.refusal);
  });

  run('nobody is dialed before the cluster is known', async harness => {
    const a = await startNode(harness, 'node1');
    const b = await startNode(harness, 'node2');
    a.transport.setIdentity(identityOf('node1', {clusterId: null}));
    b.transport.setIdentity(identityOf('node2'));
    for (const node of [a, b]) node.transport.setPeers([a.member, b.member]);
    await harness.until(() => b.handler.refusals.length > 0);
    assert.equal(b.handler.refusals[0]?.code, 'STARTING');
    assert.deepEqual(b.handler.handshakes, []);
    a.transport.setIdentity(identityOf('node1'));
    await harness.until(() => a.handler.events.includes('up node2'));
  });

  run('a peer that is dropped goes down and gets nothing more', async harness => {
    const [a, b] = await startPair(harness);
    a.transport.setPeers([]);
    assert.deepEqual(a.handler.events, ['up node2'], 'not inside of setPeers');
    const hash: PeerMessage = {type: 'state-hash', index: 1, hash: ''};
    assert.equal(a.transport.send(b.id, hash), false);
    await harness.until(() => a.handler.events.includes('down node2'));
  });

  run('a peer that stops goes down and comes back with its next start', async harness => {
    const [a, b] = await startPair(harness);
    let isStopped = false;
    b.transport.stop(() => {
      isStopped = true;
      harness.onEvent();
    });
    await harness.until(() => isStopped && a.handler.events.includes('down node2'));
    const again = await startNode(harness, 'node2');
    again.transport.setIdentity(identityOf('node2', {starts: startsOf(2)}));
    a.transport.setPeers([again.member]);
    await harness.until(() => a.handler.events.length === 3);
    assert.deepEqual(a.handler.events, ['up node2', 'down node2', 'up node2']);
    const hash: PeerMessage = {type: 'state-hash', index: 1, hash: 'ab'};
    a.transport.send(again.id, hash);
    await harness.until(() => again.handler.messages.length === 1);
  });

  run('a snapshot arrives block by block and is handed over finished', async harness => {
    const [a, b] = await startPair(harness);
    const prng = new Prng(1);
    const blocks = Array.from({length: 20}, () =>
      new Uint8Array(prng.integer({min: 1, max: 256 * 1024})).fill(prng.integer({min: 0, max: 9})),
    );
    const meta = snapshotMeta(a.member);
    const snapshot = new ListSource(meta, blocks);
    const target = new ListImport();
    b.handler.import = target;
    const result = await send(harness, a, b, snapshot);
    assert.equal(result, null);
    assert.deepEqual(snapshot.opened, [null]);
    assert.equal(snapshot.closeCount, 1);
    assert.equal(target.isFinished, true);
    assert.equal(target.abortCount, 0);
    assert.ok(Buffer.concat(target.blocks).equals(Buffer.concat(blocks)));
    assert.equal(target.blocks.length, blocks.length);
    assert.deepEqual(b.handler.snapshots[0]?.meta, meta);
    assert.equal(b.handler.snapshots[0].snapshot, target);
  });

  run('an empty snapshot arrives, too', async harness => {
    const [a, b] = await startPair(harness);
    b.handler.import = new ListImport();
    const result = await send(harness, a, b, new ListSource(snapshotMeta(a.member), []));
    assert.equal(result, null);
    assert.equal(b.handler.snapshots.length, 1);
  });

  run('a snapshot that is not wanted is refused', async harness => {
    const [a, b] = await startPair(harness);
    const snapshot = new ListSource(snapshotMeta(a.member), [new Uint8Array(10)]);
    const result = await send(harness, a, b, snapshot);
    assert.ok(result instanceof SnapshotRefusedError);
    assert.deepEqual(snapshot.opened, [], 'nothing is read for it');
    assert.equal(b.handler.snapshots.length, 0);
  });

  run('an import that fails is aborted once, and the sender hears of it', async harness => {
    const [a, b] = await startPair(harness);
    const target = new ListImport();
    target.failure = new Error('no space');
    b.handler.import = target;
    const snapshot = new ListSource(snapshotMeta(a.member), [new Uint8Array(10)]);
    const result = await send(harness, a, b, snapshot);
    assert.ok(result instanceof SnapshotRefusedError);
    assert.equal(target.abortCount, 1);
    assert.equal(snapshot.closeCount, 1);
    assert.equal(b.handler.snapshots.length, 0);
  });

  run('a snapshot goes on behind what the receiver holds', async harness => {
    const [a, b] = await startPair(harness);
    const blocks = Array.from({length: 5}, (_, i) => new Uint8Array(100).fill(i));
    const target = new ListImport();
    target.blocks.push(...blocks.slice(0, 3));
    b.handler.import = target;
    const snapshot = new ListSource(snapshotMeta(a.member), blocks);
    assert.equal(await send(harness, a, b, snapshot), null);
    assert.equal(snapshot.opened[0]?.rowCount, 3);
    assert.deepEqual([...snapshot.opened[0].lastKey], [3]);
    assert.ok(Buffer.concat(target.blocks).equals(Buffer.concat(blocks)));
    assert.deepEqual(b.handler.offers, [
      {id: '1-1', meta: snapshotMeta(a.member), sizeBytes: 123_456},
    ]);
  });

  run('formation asks an address and gets the answer', async harness => {
    const a = await startNode(harness, 'node1');
    const b = await startNode(harness, 'node2');
    b.handler.formation = {status: 409, body: {members: [1, 2, 3]}};
    let answer: unknown = null;
    a.transport.requestFormation(b.member.listen, {type: 'hello', ünï: 1}, (error, value) => {
      answer = error ?? value;
      harness.onEvent();
    });
    await harness.until(() => answer !== null);
    const body = {asked: {type: 'hello', ünï: 1}, answer: {members: [1, 2, 3]}};
    assert.deepEqual(answer, {status: 409, body});
  });

  run('formation with an address where nobody listens fails', async harness => {
    const a = await startNode(harness, 'node1');
    let error: Error | null = null;
    a.transport.requestFormation('127.0.0.1:1', {}, failure => {
      error = failure;
      harness.onEvent();
    });
    await harness.until(() => error !== null);
  });
}

export function snapshotMeta(member: Member): ListSource['meta'] {
  const membership = {voters: [member.id], votersOutgoing: [], learners: [], members: [member]};
  return {index: logIndex(2 ** 34), term: term(12), membership};
}

async function send(
  harness: TransportHarness,
  a: TestNode,
  b: TestNode,
  snapshot: ListSource,
): Promise<Error | null> {
  let result: Error | null | undefined;
  a.transport.sendSnapshot(b.id, snapshot, error => {
    result = error;
    harness.onEvent();
  });
  await harness.until(() => result !== undefined);
  return result ?? null;
}
