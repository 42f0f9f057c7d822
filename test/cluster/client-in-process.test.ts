import assert from 'node:assert/strict';
import {createServer} from 'node:net';
import {test} from 'node:test';
import {join} from 'node:path';
import {connect as connectBrowser} from '../../src/client/browser-client.ts';
import {connect} from '../../src/client/node-client.ts';
import {startNode, type StartedNode, type StartNodeOptions} from '../../src/server/start-node.ts';
import {atEnd} from './at-end.ts';
import {temporaryDirectory} from './cluster.ts';
import {eventually} from './eventually.ts';
import {freePorts} from './free-ports.ts';
import {startNodes} from './in-process-nodes.ts';

for (const [name, connectWith] of [
  ['sockets', connect],
  ['fetch', connectBrowser],
] as const) {
  test(`three nodes in one process serve a client over ${name}`, {timeout: 120_000}, async t => {
    const nodes = await startNodes(t, 3);
    const client = connectWith({endpoints: nodes.map(node => node.http)});
    atEnd(t, () => client.close());

    const {revision, version} = await client.put('hello', 'world');
    assert.deepEqual([revision, version], [2, 1]);
    const read = await client.get('hello');
    assert.equal(read?.value, 'world');
    assert.equal(read.modRevision, 2);
    const bytes = Uint8Array.of(0, 0xff, 0x2f, 0x25);
    await client.put(bytes, Uint8Array.of(0xfe));
    assert.deepEqual((await client.get(bytes))?.valueBytes, Uint8Array.of(0xfe));
    assert.equal(await client.get('absent'), null);

    await assert.rejects(client.put('hello', 'again', {ifAbsent: true}), {
      code: 'PRECONDITION_FAILED',
      outcome: 'definite',
    });
    await client.put('hello', 'again', {ifModRevision: 2});
    assert.equal((await client.get('hello', {revision: 2}))?.value, 'world');

    await Promise.all(Array.from({length: 50}, (_, i) => client.put(`list/${i}`, String(i))));
    const {records} = await client.list({prefix: 'list/'}, {pageSize: 7}).all();
    assert.equal(records.length, 50);
    assert.equal((await client.count({prefix: 'list/'})).count, 50);
    assert.equal((await client.deleteRange({prefix: 'list/'})).deleted, 50);
    assert.equal((await client.delete('hello')).deleted, 1);
    assert.equal((await client.delete('hello')).deleted, 0);

    const members = await client.members();
    assert.deepEqual(members.map(member => member.id).sort(), ['node1', 'node2', 'node3']);
    for (const node of nodes) {
      assert.equal((await client.status({endpoint: node.http})).id, node.id);
    }
  });
}

test('a client goes on when the node it uses is stopped', {timeout: 120_000}, async t => {
  const nodes = await startNodes(t, 3);
  const client = connect({endpoints: nodes.map(node => node.http)});
  atEnd(t, () => client.close());
  const running = Array.from({length: 8}, async (_, lane) => {
    for (let i = 0; i < 50; i++) await client.put(`lane/${lane}`, String(i));
  });
  await client.put('first', '1');
  await nodes[0]?.stop();
  await Promise.all(running);
  const {records} = await client.list({prefix: 'lane/'}).all();
  assert.deepEqual(
    records.map(({value, version}) => [value, version]),
    Array.from({length: 8}, () => ['49', 50]),
    'each put happened once',
  );
});

test('a second node joins the first, also when it starts again', {timeout: 120_000}, async t => {
  const directory = temporaryDirectory(t);
  const [first = '', second = ''] = (await freePorts(2)).map(port => `127.0.0.1:${port}`);
  const start = async (options: Omit<StartNodeOptions, 'http'>): Promise<StartedNode> => {
    const node = await startNode({...options, http: '127.0.0.1:0'});
    atEnd(t, () => node.stop());
    await node.ready;
    return node;
  };
  const one = await start({id: 'n1', listen: first, data: join(directory, 'n1')});
  const client = connect({endpoints: one.http});
  atEnd(t, () => client.close());
  await client.put('hello', 'world');
  const untilBothVote = (): Promise<true> =>
    eventually('two voters', 30_000, async () => {
      const voters = (await client.members()).filter(({role}) => role === 'voter');
      return voters.length === 2 ? true : null;
    });

  const newcomer = {id: 'n2', listen: second, join: first};
  const two = await start({...newcomer, data: join(directory, 'n2')});
  assert.equal(await localValue(two), 'world');
  await untilBothVote();
  await client.put('hello', 'both');
  await two.stop();
  const again = await start({...newcomer, data: join(directory, 'n2')});
  assert.equal(await localValue(again), 'both', 'the options may stay for the next start');
});

test('a member whose disk was lost takes its place again', {timeout: 120_000}, async t => {
  const [first, second, third] = await startNodes(t, 3);
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const client = connect({endpoints: first.http});
  atEnd(t, () => client.close());
  await client.put('hello', 'world');
  await third.stop();

  const {id, listen} = third;
  const again = await startNode({
    id,
    listen,
    http: '127.0.0.1:0',
    peers: [first, second].map(other => ({id: other.id, address: other.listen})),
    data: temporaryDirectory(t),
    rejoin: true,
  });
  atEnd(t, () => again.stop());
  await again.ready;
  assert.equal(await localValue(again), 'world');
  assert.equal((await client.members()).length, 3);
});

async function localValue(node: StartedNode): Promise<string | undefined> {
  const client = connect({endpoints: node.http});
  try {
    return (await client.get('hello', {consistency: 'local'}))?.value;
  } finally {
    await client.close();
  }
}

test('a node that cannot start says why', {timeout: 120_000}, async t => {
  const directory = temporaryDirectory(t);
  const [port = 0] = await freePorts(1);
  const options = {id: 'n1', listen: `127.0.0.1:${port}`, http: '127.0.0.1:0', data: directory};
  await assert.rejects(startNode({...options, id: 'no spaces'}), /id "no spaces"/);
  await assert.rejects(startNode({...options, http: 'nowhere'}), /http "nowhere" is not host:port/);
  await assert.rejects(startNode({...options, heartbeatMs: 100}), /heartbeatMs/);
  await assert.rejects(startNode({...options, join: 'nowhere'}), /join "nowhere" is not host:port/);
  await assert.rejects(startNode({...options, join: options.listen}), /this member itself/);
  await assert.rejects(startNode({...options, rejoin: true}), /rejoin needs join or peers/);
  const peers = [{id: 'n2', address: '127.0.0.1:1'}];
  await assert.rejects(startNode({...options, peers, join: '127.0.0.1:1'}), /exclude each other/);
  const server = createServer();
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
  await assert.rejects(startNode(options), /-listen/);
  await new Promise(resolve => server.close(resolve));
  const node = await startNode(options);
  await node.ready;
  await assert.rejects(startNode({...options, http: '127.0.0.1:0'}), /in use|lock/i);
  await node.stop();
  await node.closed;
});

test(
  'ready fails when a node is stopped before it found the others',
  {timeout: 120_000},
  async t => {
    const [own = 0, other = 0] = await freePorts(2);
    const node = await startNode({
      id: 'n1',
      listen: `127.0.0.1:${own}`,
      http: '127.0.0.1:0',
      peers: [{id: 'n2', address: `127.0.0.1:${other}`}],
      data: temporaryDirectory(t),
    });
    await node.stop();
    await assert.rejects(node.ready, {code: 'STOPPING'});
  },
);
