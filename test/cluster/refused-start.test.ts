import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync} from 'node:fs';
import {connect, createServer} from 'node:net';
import type {AddressInfo} from 'node:net';
import {join} from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {atEnd} from './at-end.ts';
import {Cluster, endWith, nodeFlags, temporaryDirectory} from './cluster.ts';
import {freePorts} from './free-ports.ts';
import {mainPath, NodeProcess} from './node-process.ts';
import {assertUndisturbed, patientFlags, standingOf} from './standing.ts';
import {otherNamespaces} from '../storage/other-namespaces.ts';

async function single(
  t: TestContext,
  directory = temporaryDirectory(t),
  wrapper: readonly string[] = [],
): Promise<NodeProcess> {
  const [raftPort = 0, httpPort = 0] = await freePorts(2);
  const name = `node1-${raftPort}`;
  const node = new NodeProcess(
    {id: 'node1', raftPort, httpPort},
    {data: join(directory, 'node1'), logPath: join(directory, `${name}.log`), wrapper},
  );
  endWith(t, [node]);
  return node;
}

/** Starts it, and asserts that it leaves with `code` and exactly one line, which it returns. */
async function refusal(node: NodeProcess, flags: readonly string[], code = 1): Promise<string> {
  const exit = await node.runToExit(flags);
  assert.equal(exit.code, code, node.output());
  const complaints = node.complaints();
  assert.equal(complaints.length, 1, node.output());
  return complaints[0] ?? '';
}

test(
  'a wiped directory under a known id is refused and -rejoin is named',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t);
    assert.equal((await cluster.node('node1').client.put('k', 'v')).type, 'ok');
    const [follower] = await cluster.followers();
    assert.ok(follower !== undefined);
    await follower.kill9();
    rmSync(follower.data, {recursive: true});
    const line = await refusal(follower, cluster.flagsOf(follower));
    assert.match(line, new RegExp(`${follower.id}.*-rejoin`));
    const others = cluster.nodes.filter(node => node !== follower);
    const leader = await cluster.leader(others);
    assert.equal((await leader.client.put('k', 'w')).type, 'ok');
    // Again, while the id's own directory is what is asked for: still refused, nothing accepted.
    assert.match(await refusal(follower, cluster.flagsOf(follower)), /-rejoin/);
  },
);

test('a wiped majority elects nobody out of the empty directories', {timeout: 120_000}, async t => {
  const cluster = await Cluster.running(t);
  assert.equal((await cluster.node('node1').client.put('k', 'v')).type, 'ok');
  await Promise.all(cluster.nodes.map(node => node.kill9()));
  const [wiped, lagging] = cluster.nodes;
  assert.ok(wiped !== undefined && lagging !== undefined);
  rmSync(wiped.data, {recursive: true});
  lagging.start(cluster.hastyFlagsOf(lagging));
  await lagging.waitAlive();
  assert.match(await refusal(wiped, cluster.flagsOf(wiped)), /-rejoin/);
  assert.equal((await lagging.status()).leader, null);
});

test('a directory of another id is refused and both ids are named', {timeout: 120_000}, async t => {
  const node = await single(t);
  node.start(nodeFlags(node));
  await node.waitReady();
  await node.sigterm();
  const flags = nodeFlags(node).filter(flag => !flag.startsWith('-id='));
  const line = await refusal(node, [...flags, '-id=node2']);
  assert.match(line, /node1/);
  assert.match(line, /node2/);
  // The refused start has not changed whose it is.
  node.start(nodeFlags(node));
  await node.waitReady();
});

test('a second process on one directory leaves, the first goes on', {timeout: 120_000}, async t => {
  const directory = temporaryDirectory(t);
  const [first, second] = [await single(t, directory), await single(t, directory)];
  first.start(nodeFlags(first));
  await first.waitReady();
  const line = await refusal(second, nodeFlags(second));
  assert.ok(line.includes(first.data), line);
  assert.match(line, new RegExp(`${first.pid}|in use|used by`));
  assert.equal((await first.client.put('k', 'v')).type, 'ok');
  // kill -9 frees the directory at once.
  await first.kill9();
  second.start(nodeFlags(second));
  await second.waitReady();
  const outcome = await second.client.get('k');
  assert.equal(outcome.type === 'ok' && outcome.reply.body.toString(), 'v');
});

test(
  'a second process in another container, which shares the directory alone, leaves as well',
  {timeout: 120_000},
  async t => {
    const directory = temporaryDirectory(t);
    const wrapper = otherNamespaces(['net', 'pid']);
    if (wrapper.length === 0) t.diagnostic('no namespaces here: both processes are in one');
    const first = await single(t, directory);
    const second = await single(t, directory, wrapper);
    first.start(nodeFlags(first));
    await first.waitReady();
    const line = await refusal(second, nodeFlags(second));
    assert.ok(line.includes(`${first.data} is in use by process ${first.pid} `), line);
    assert.equal((await first.client.put('k', 'v')).type, 'ok');
    // What a killed holder leaves in the directory keeps nobody out.
    await first.kill9();
    first.start(nodeFlags(first));
    await first.waitReady();
    const outcome = await first.client.get('k');
    assert.equal(outcome.type === 'ok' && outcome.reply.body.toString(), 'v');
    assert.doesNotMatch(first.output(), /not kept out/);
  },
);

for (const flag of ['-listen', '-http'] as const) {
  test(`a taken port of ${flag} is one line that names it`, {timeout: 120_000}, async t => {
    const node = await single(t);
    const taken = createServer();
    await new Promise<void>(resolve => taken.listen(0, '127.0.0.1', () => resolve()));
    atEnd(t, () => {
      taken.close();
    });
    const {port} = taken.address() as AddressInfo;
    const flags = nodeFlags(node).filter(other => !other.startsWith(`${flag}=`));
    const line = await refusal(node, [...flags, `${flag}=127.0.0.1:${port}`]);
    assert.ok(line.includes(String(port)), line);
    assert.match(line, /use/);
  });
}

test(
  'a data directory that cannot be made or used is one line that names it',
  {timeout: 120_000},
  async t => {
    const node = await single(t);
    const directory = temporaryDirectory(t);
    const file = join(directory, 'file');
    writeFileSync(file, 'x');
    const flags = nodeFlags(node).filter(flag => !flag.startsWith('-data='));
    for (const data of [join(file, 'data'), file]) {
      const line = await refusal(node, [...flags, `-data=${data}`]);
      assert.ok(line.includes(file), line);
    }
    const strange = join(directory, 'strange');
    mkdirSync(strange);
    writeFileSync(join(strange, 'identity.json'), '{"formatVersion": 1, "check');
    const line = await refusal(node, [...flags, `-data=${strange}`]);
    assert.ok(line.includes('identity.json'), line);
  },
);

test('bad flags leave with 2 and one line', {timeout: 120_000}, async t => {
  const node = await single(t);
  const good = nodeFlags(node);
  for (const [flags, pattern] of [
    [[], /-id/],
    [[...good, '-frobnicate=1'], /-frobnicate/],
    [[...good, '-peers=node2'], /-peers.*node2/],
    [[...good, '-peers=node1:127.0.0.1:1'], /node1/],
    [[...good, '-election-timeout=x'], /-election-timeout/],
    [[...good.slice(1), '-id=no/slash'], /-id/],
  ] as const) {
    assert.match(await refusal(node, flags, 2), pattern);
  }
});

test(
  'garbage on the Raft port is refused, counted, and changes nothing',
  {timeout: 120_000},
  async t => {
    const cluster = await Cluster.running(t, {flags: patientFlags});
    assert.equal((await cluster.node('node1').client.put('k', 'v')).type, 'ok');
    const before = await standingOf(cluster);
    const counted = await Promise.all(cluster.nodes.map(refusedCount));
    const upgrade = (headers: string): string =>
      `GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: rosetta-raft/1\r\n${headers}\r\n`;
    const member =
      `rosetta-version: 1\r\nrosetta-cluster: ${before.clusterId ?? ''}\r\n` +
      'rosetta-from: node2\r\nrosetta-to: node1\r\nrosetta-incarnation: 0123456789abcdef\r\n' +
      'rosetta-start-count: 1\r\nrosetta-listen: 127.0.0.1:1\r\nrosetta-http: 127.0.0.1:2\r\n' +
      'rosetta-channel: control\r\n';
    const garbage = [
      randomBytes(4_096),
      Buffer.alloc(70_000, 0x41),
      'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
      'GET /kv/k HTTP/1.1\r\nHost: x\r\n\r\n',
      'POST /formation HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{"}',
      'POST /snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd',
      upgrade(''),
      upgrade(member),
      upgrade(member.replace('version: 1', 'version: 9')),
      upgrade(member.replace(/cluster: \w+/, `cluster: ${'0'.repeat(32)}`)),
      upgrade(member) + randomBytes(512).toString('latin1'),
    ];
    const stranger = upgrade(member);
    for (const node of cluster.nodes) {
      for (const bytes of garbage) {
        const answer = await exchange(node.raftPort, bytes);
        // Who does not lead may be the one that is behind: it lets a stranger of its cluster in, and
        // takes no promise from it (dissertation §4.1).
        const mayEnter = node.id !== before.leader && String(bytes).startsWith(stranger);
        if (mayEnter) continue;
        assert.doesNotMatch(answer, /^HTTP\/1\.1 (101|2|5)/, String(bytes).slice(0, 200));
      }
    }
    for (const [i, node] of cluster.nodes.entries()) {
      const count = await refusedCount(node);
      const least = (counted[i] ?? 0) + garbage.length / 2;
      assert.ok(count >= least, `${node.id} counted ${count} refusals, ${least} expected`);
    }
    await assertUndisturbed(cluster, before);
  },
);

async function refusedCount(node: NodeProcess): Promise<number> {
  const reply = await node.client.request('GET', '/metrics');
  assert.equal(reply.status, 200);
  let sum = 0;
  let isListed = false;
  for (const line of reply.body.toString().split('\n')) {
    const match = /^rosetta_\w*(?:refused|garbage|rejected)\w*(?:\{.*\})? (\d+)$/.exec(line);
    if (match === null) continue;
    isListed = true;
    sum += Number(match[1]);
  }
  assert.ok(isListed, 'no metric counts refused connections');
  return sum;
}

/** Sends bytes and returns what comes back until the other side closes; it must close soon. */
function exchange(port: number, bytes: string | Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({port, host: '127.0.0.1'});
    const chunks: Buffer[] = [];
    socket.setTimeout(8_000, () => socket.destroy(new Error('garbage was not refused in time')));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', error => {
      const isReset = 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (!isReset) reject(error);
    });
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
    socket.end(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  });
}

test('a node that waits with -rejoin stops at once, in order', {timeout: 60_000}, async t => {
  const node = await single(t);
  node.start(nodeFlags(node));
  await node.waitReady();
  await node.kill9();
  // Such a directory waits until a leader agrees, and there is none.
  writeFileSync(join(node.data, 'identity.json'), 'damaged');
  node.start([...nodeFlags(node), '-join=127.0.0.1:1', '-rejoin']);
  await node.waitLog(/asking whether the data directory is to be replaced/);
  const exit = await node.sigterm();
  assert.deepEqual(exit, {code: 0, signal: null}, node.output());
});

const full = '/dev/full';

test('where nobody reads it a refusal has its exit code', {skip: !existsSync(full)}, () => {
  const stderr = openSync(full, 'w');
  try {
    const args = [mainPath, '-id=a', '-listen=:1', '-http=:1'];
    const {status} = spawnSync(process.execPath, args, {stdio: ['ignore', 'ignore', stderr]});
    assert.equal(status, 2);
  } finally {
    closeSync(stderr);
  }
});
