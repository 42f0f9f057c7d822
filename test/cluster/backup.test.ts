/** Backups of a running cluster, and new clusters made of them. */
import assert from 'node:assert/strict';
import {existsSync, readFileSync, readdirSync, truncateSync, writeFileSync} from 'node:fs';
import {mkdtemp, rm} from 'node:fs/promises';
import {createServer} from 'node:http';
import type {AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {test} from 'node:test';
import {CliProcess, runCli} from './cli.ts';
import {json, valueOf} from './client.ts';
import {Cluster, nodeFlags} from './cluster.ts';
import {eventually} from './eventually.ts';
import type {NodeProcess} from './node-process.ts';
import {writeMany} from './pipelined-writer.ts';
import {Workload} from './workload.ts';

const revisionBump = 1_000_000_000;

function restoreWords(file: string, node: NodeProcess): string[] {
  return ['restore', file, ...nodeFlags(node)];
}

test(
  'a backup under load holds all that was acknowledged before, and becomes a new cluster',
  {timeout: 240_000},
  async t => {
    const cluster = await Cluster.running(t);
    const [first, second] = cluster.nodes;
    assert.ok(first !== undefined && second !== undefined);
    await writeMany(first.httpPort, 'k', 2_000);
    const workload = new Workload({nodes: cluster.nodes}).start();
    await workload.progress(100);
    const acknowledged = new Map(workload.acknowledged);
    const file = join(cluster.directory, 'a.backup');
    // Nobody listens at the first endpoint: the next one is asked.
    const endpoints = `-endpoints=127.0.0.1:1,127.0.0.1:${second.httpPort}`;
    const saved = await runCli(['snapshot', 'save', file, endpoints]);
    assert.equal(saved.code, 0, saved.stderr);
    assert.match(saved.stdout, /^saved .*a\.backup: .* keys at revision \d+, from node2\n$/);
    assert.equal(saved.stderr, '');
    await workload.progress(50);
    await workload.stop();
    workload.assertLinearizable();
    const before = await cluster.assertSameState();
    await Promise.all(cluster.nodes.map(node => node.sigterm()));

    const status = await runCli(['snapshot', 'status', file, '-json']);
    assert.equal(status.code, 0, status.stderr);
    const summary = JSON.parse(status.stdout) as {
      revision: number;
      keys: number;
      clusterId: string;
    };
    assert.equal(summary.clusterId, before.clusterId);
    assert.ok(summary.revision <= before.revision);
    assert.ok(summary.keys >= 2_000 + acknowledged.size);

    const fresh = await Cluster.create(t);
    const [node1, node2, node3] = fresh.nodes;
    assert.ok(node1 !== undefined && node2 !== undefined && node3 !== undefined);
    const restored = await runCli(restoreWords(file, node1));
    assert.equal(restored.code, 0, restored.stderr);
    node1.start(nodeFlags(node1));
    await node1.waitReady();
    const own = await node1.status();
    assert.notEqual(own.clusterId, before.clusterId);
    assert.equal(own.revision, summary.revision + revisionBump);
    assert.equal(own.keys, summary.keys);
    const records = await node1.client.list('');
    const missing = [...acknowledged].filter(([key, value]) => records.get(key) !== value);
    assert.deepEqual(missing.slice(0, 5), [], `${missing.length} lost`);
    assert.equal(records.get('k1999'), 'value of k1999');

    // Nobody reads another state under a revision that clients of the old cluster may have seen.
    const old = await node1.client.request('GET', `/kv/k7?revision=${before.revision}`);
    assert.equal(old.status, 410);
    const write = await node1.client.request('PUT', '/kv/k7', {body: 'new'});
    assert.equal(json<{revision: number}>(write).revision, own.revision + 1);
    const then = await node1.client.request('GET', `/kv/k7?revision=${own.revision}`);
    assert.equal(json<{value: string}>(then).value, 'value of k7');

    // It grows as any single node does.
    await node1.sigterm();
    for (const node of fresh.nodes) fresh.start(node);
    await Promise.all(fresh.nodes.map(node => node.waitReady(60_000)));
    assert.equal((await node2.client.put('after', 'x')).type, 'ok');
    assert.equal(valueOf(await node3.client.get('k7')), 'new');
    await fresh.assertSameState();
  },
);

test('a backup that is cut or damaged is refused and leaves nothing behind', async t => {
  const cluster = await Cluster.running(t, {size: 1});
  const [node] = cluster.nodes;
  assert.ok(node !== undefined);
  await writeMany(node.httpPort, 'k', 500);
  const file = join(cluster.directory, 'a.backup');
  const endpoints = `-endpoints=127.0.0.1:${node.httpPort}`;
  assert.equal((await runCli(['snapshot', 'save', file, endpoints])).code, 0);
  const whole = readFileSync(file);
  const fresh = await Cluster.create(t, {size: 1});
  const [target] = fresh.nodes;
  assert.ok(target !== undefined);

  truncateSync(file, whole.length - 10);
  const damaged = Buffer.from(whole);
  damaged[whole.length >> 1] = (damaged[whole.length >> 1] ?? 0) ^ 1;
  const other = join(cluster.directory, 'b.backup');
  writeFileSync(other, damaged);
  for (const [name, reason] of [
    [file, /cut off/],
    [other, /damaged/],
  ] as const) {
    for (const words of [['snapshot', 'status', name], restoreWords(name, target)]) {
      const refused = await runCli(words);
      assert.equal(refused.code, 1, words.join(' '));
      assert.match(refused.stderr, reason);
      assert.equal(refused.stderr.split('\n').length, 2, 'one line');
    }
    assert.equal(existsSync(target.data), false);
  }

  writeFileSync(file, whole);
  assert.equal((await runCli(restoreWords(file, target))).code, 0);
  const again = await runCli(restoreWords(file, target));
  assert.equal(again.code, 1);
  assert.match(again.stderr, /is not an empty directory/);

  // A file is replaced by a whole backup or not at all.
  await node.kill9();
  const refused = await runCli(['snapshot', 'save', file, endpoints]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /no node answers/);
  assert.deepEqual(readFileSync(file), whole);
  assert.deepEqual(
    readdirSync(cluster.directory).filter(name => name.endsWith('.part')),
    [],
  );
});

test('wrong usage of a verb is one line and exit code 2', async () => {
  for (const [words, reason] of [
    [['snapshot'], /needs a second word/],
    [['snapshot', 'save'], /needs FILE/],
    [['snapshot', 'save', 'a', 'b'], /does not know what to do with "b"/],
    [['snapshot', 'save', 'a', '-endpoint=x:1'], /has no flag -endpoint/],
    [['snapshot', 'save', 'a', '-endpoints=x'], /is not host:port/],
    [['restore', 'a', '-id=n1'], /-listen is missing/],
  ] as const) {
    const result = await runCli(words);
    assert.equal(result.code, 2, words.join(' '));
    assert.match(result.stderr, reason);
    assert.equal(result.stderr.split('\n').length, 2, 'one line');
  }
  const help = await runCli(['snapshot', 'save', '-help']);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /^Usage: \.\/rosetta snapshot save FILE/);
});

test('a backup that Ctrl-C ends leaves nothing of its file', {timeout: 60_000}, async t => {
  const directory = await mkdtemp(join(tmpdir(), 'rosetta-backup-'));
  t.after(() => rm(directory, {recursive: true, force: true}));
  // It begins to answer, and goes no further.
  const server = createServer((_, response) => {
    response.writeHead(200, {'Content-Type': 'application/octet-stream'});
    response.flushHeaders();
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const {port} = server.address() as AddressInfo;
  const file = join(directory, 'a.backup');
  const saving = new CliProcess(['snapshot', 'save', file, `-endpoints=127.0.0.1:${port}`]);
  await eventually('a part of the file', 20_000, () => {
    return readdirSync(directory).length > 0 ? true : null;
  });
  const {code, stdout} = await saving.interrupt();
  assert.equal(code, 130);
  assert.equal(stdout, '');
  assert.deepEqual(readdirSync(directory), []);
});
