/** Every verb that speaks to a cluster, as a user runs it, on one of three nodes. */
import assert from 'node:assert/strict';
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import {CliProcess, runCli} from './cli.ts';
import {Cluster} from './cluster.ts';
import type {NodeProcess} from './node-process.ts';

class Shell {
  readonly #endpoints: string;

  constructor(nodes: readonly NodeProcess[]) {
    const places = nodes.map(node => `127.0.0.1:${node.httpPort}`);
    this.#endpoints = `-endpoints=${places.join(',')}`;
  }

  start(words: readonly string[], input: string | Uint8Array = ''): CliProcess {
    const at = words.indexOf('--');
    const own = at < 0 ? words : words.slice(0, at);
    return new CliProcess([...own, this.#endpoints, ...words.slice(own.length)], input);
  }

  /** Standard output of a command that exits with 0. */
  async ok(words: readonly string[], input: string | Uint8Array = ''): Promise<string> {
    const {code, stdout, stderr} = await this.start(words, input).ended;
    assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
    assert.equal(stderr, '', words.join(' '));
    return stdout;
  }

  async json<T>(words: readonly string[], input: string | Uint8Array = ''): Promise<T> {
    return JSON.parse(await this.ok([...words, '-json'], input)) as T;
  }

  /** Standard error, one line, of a command that exits with 1. */
  async refused(words: readonly string[], input: string | Uint8Array = ''): Promise<string> {
    const {code, stderr} = await this.start(words, input).ended;
    assert.equal(code, 1, words.join(' '));
    assert.match(stderr, /^rosetta: .*\n$/, words.join(' '));
    return stderr;
  }
}

test('the verbs of the command line on a cluster', {timeout: 480_000}, async t => {
  const cluster = await Cluster.running(t);
  const shell = new Shell(cluster.nodes);

  await t.test('put, get and del: operands, files, standard input, conditions', async () => {
    const bytes = Buffer.from([0, 255, 10, 13]);
    const file = join(cluster.directory, 'value');
    writeFileSync(file, 'from a file\n');
    assert.equal(await shell.ok(['put', 'kv/a', 'x y']), 'revision 2, created\n');
    const [, , binary] = await Promise.all([
      shell.ok(['put', 'kv/file', `-file=${file}`]),
      shell.ok(['put', 'kv/bytes', '-'], bytes),
      shell.json(['put', '-key-base64', '/w==', '']),
    ]);
    assert.equal((binary as {keyEncoding: string}).keyEncoding, 'base64');
    assert.equal(await shell.ok(['get', 'kv/file']), 'from a file\n');
    assert.equal(await shell.ok(['get', 'kv/a']), 'x y', 'the bytes alone');
    const record = await shell.json<{value: string; encoding: string}>(['get', 'kv/bytes']);
    assert.deepEqual(Buffer.from(record.value, 'base64'), bytes);
    assert.equal(record.encoding, 'base64');

    assert.match(await shell.refused(['put', 'kv/a', 'z', '-if-absent']), /PRECONDITION_FAILED/);
    assert.match(await shell.refused(['put', 'kv/b', 'z', '-if-exists']), /PRECONDITION_FAILED/);
    assert.match(await shell.refused(['put', 'kv/a', 'z', '-if-revision=1']), /PRECONDITION_/);
    assert.match(await shell.ok(['put', 'kv/a', 'z', '-if-revision=2']), /, version 2\n$/);
    assert.equal(await shell.ok(['get', 'kv/a', '-revision=2']), 'x y');
    assert.match(await shell.refused(['get', 'kv/a', '-revision=999']), /REVISION_IN_FUTURE/);
    assert.match(await shell.refused(['get', 'nothing']), /no key "nothing" \(KEY_NOT_FOUND\)/);
    assert.match(await shell.refused(['put', 'x', '-file=/nowhere']), /ENOENT/);

    assert.match(await shell.ok(['del', 'kv/a']), /^revision \d+\n$/);
    assert.match(await shell.refused(['del', 'kv/a']), /KEY_NOT_FOUND/);
    assert.match(await shell.ok(['del', '-prefix=kv/']), /^deleted 2 keys, revision \d+\n$/);
    assert.match(await shell.ok(['del', '-all']), /^deleted 1 key, /);
  });

  await t.test('ls: tables, keys, counts, limits, and lines of JSON', async () => {
    const {revision} = await shell.json<{revision: number}>(['put', 'ls/a', 'one\ntwo']);
    await shell.ok(['put', 'ls/b', '2']);
    assert.equal(
      await shell.ok(['ls', 'ls/']),
      'KEY   REVISION  VERSION  VALUE\n' +
        `ls/a  ${String(revision).padStart(8)}        1  one\\ntwo\n` +
        `ls/b  ${String(revision + 1).padStart(8)}        1  2\n`,
    );
    assert.equal(await shell.ok(['ls', '-keys', '-reverse']), 'ls/b\nls/a\n');
    assert.equal(await shell.ok(['ls', '-keys', '-limit=1']), 'ls/a\n');
    assert.equal(await shell.ok(['ls', '-keys', `-revision=${revision}`]), 'ls/a\n');
    assert.equal(await shell.ok(['ls', 'ls/', '-count']), '2\n');
    assert.equal(await shell.ok(['ls', 'none/']), '');
    const lines = (await shell.ok(['ls', '-start=ls/b', '-json'])).trimEnd().split('\n');
    assert.deepEqual(
      lines.map(line => (JSON.parse(line) as {key: string}).key),
      ['ls/b'],
    );
  });

  await t.test('txn: both outcomes, from standard input and a file', async () => {
    const transaction = JSON.stringify({
      compare: [{key: 'txn', target: 'version', op: '=', value: 0}],
      success: [{put: {key: 'txn', value: 'x'}}, {get: {key: 'txn'}}, {delete: {key: 'none'}}],
      failure: [{get: {key: 'txn'}}],
    });
    assert.match(
      await shell.ok(['txn'], transaction),
      /success, revision \d+\nput {5}txn {3}created\nget {5}txn {3}x\ndelete {2}none {2}\(no such key\)\n$/,
    );
    const file = join(cluster.directory, 'txn.json');
    writeFileSync(file, transaction);
    const failed = await shell.start(['txn', file, '-json']).ended;
    assert.equal(failed.code, 1);
    const result = JSON.parse(failed.stdout) as {succeeded: boolean; results: {value: string}[]};
    assert.equal(result.succeeded, false);
    assert.equal(result.results[0]?.value, 'x');
  });

  await t.test('lease: grant, get, keepalive, list, revoke', async () => {
    const id = (await shell.ok(['lease', 'grant', '60'])).trimEnd();
    assert.match(id, /^\d+$/);
    await shell.ok(['put', 'leased', 'x', `-lease=${id}`]);
    assert.match(await shell.ok(['lease', 'get', id]), /^lasts {3}60 s$[^]*^keys {4}"leased"$/m);
    assert.equal(await shell.ok(['lease', 'keepalive', id]), `lease ${id} lasts 60 s again\n`);
    assert.match(await shell.ok(['lease', 'list']), new RegExp(`^${id} +60$`, 'm'));
    assert.match(await shell.ok(['lease', 'revoke', id]), /^ended, 1 key deleted, revision \d+\n$/);
    for (const verb of ['get', 'keepalive', 'revoke']) {
      assert.match(await shell.refused(['lease', verb, id]), /LEASE_NOT_FOUND/);
    }
    await shell.ok(['put', 'short', 'x', '-ttl=60']);
    assert.notEqual((await shell.json<{lease?: string}>(['get', 'short'])).lease, undefined);
  });

  await t.test('lock: one command at a time, its exit code, and no lock left behind', async () => {
    const command = ['sh', '-c', 'echo got $ROSETTA_LOCK_TOKEN; cat'];
    assert.match(await shell.ok(['lock', 'job', '--', ...command], 'in'), /^got \d+\nin$/);
    const words = ['lock', 'job', '-ttl=3', '--', 'sh', '-c', 'echo begun; exec sleep 60'];
    const first = shell.start(words);
    await first.told(/begun/);
    assert.match(await shell.refused(['lock', 'job', '-wait=0.3', '--', 'true']), /LOCK_HELD/);
    // Whoever revokes the lease takes the lock away: the command gets SIGTERM.
    const keys = await shell.ok(['ls', 'job/', '-keys']);
    await shell.ok(['lease', 'revoke', keys.trimEnd().split('/')[1] ?? '']);
    const lost = await first.ended;
    assert.equal(lost.code, 128 + 15);
    assert.match(lost.stderr, /the lock is lost/);
    assert.equal((await shell.start(['lock', 'job', '--', 'sh', '-c', 'exit 7']).ended).code, 7);
    assert.match(await shell.refused(['lock', 'job', '--', '/no/such/command']), /ENOENT/);
    assert.equal(await shell.ok(['ls', 'job/', '-count']), '0\n');
  });

  await t.test('bench: writes and reads, and leaves nothing behind', async () => {
    const words = ['bench', '-clients=4', '-seconds=0.5'];
    const report = await shell.ok(words);
    assert.match(report, /^put of 128 bytes, 4 at once, /);
    assert.match(report, /^failed +none$[^]*^p99 +[\d.]+ ms$[^]*^ *LATENCY +REQUESTS +SHARE$/m);
    assert.match(report, /█/);
    const fields = await shell.json<{requests: number; failures: object}>([...words, '-read']);
    assert.ok(fields.requests > 0);
    assert.deepEqual(fields.failures, {});
    assert.equal(await shell.ok(['ls', 'rosetta-bench/', '-count']), '0\n');
  });

  await t.test('members, leader move and status, and a watch through a failover', async () => {
    const leader = await cluster.leader();
    const [next] = await cluster.followers();
    assert.ok(next !== undefined);
    assert.match(await shell.ok(['members']), new RegExp(`^${leader.id} .* voter +leader`, 'm'));
    const watch = shell.start(['watch', '-prefix=w/', '-from=2', '-prev', '-json']);
    await shell.ok(['put', 'w/a', '1']);
    await watch.told(/"w\/a"/);

    assert.match(await shell.ok(['leader', 'move', next.id]), new RegExp(`^${next.id} leads in`));
    const added = await shell.ok(['members', 'add', 'node9', '127.0.0.1:1']);
    assert.match(added, /^node9 +127\.0\.0\.1:1 +- +learner/m);
    assert.match(await shell.refused(['members', 'add', 'node9', '127.0.0.1:2']), /MEMBER_EXISTS/);
    assert.match(await shell.ok(['status']), /^node9 +- +not joined/m);
    assert.doesNotMatch(await shell.ok(['members', 'remove', 'node9']), /node9/);
    assert.match(await shell.refused(['members', 'remove', 'node9']), /MEMBER_NOT_FOUND/);

    const [victim] = cluster.nodes;
    assert.ok(victim !== undefined);
    // The watch is on the first endpoint, and goes on elsewhere.
    await victim.kill9();
    await shell.ok(['put', 'w/a', '2']);
    await watch.told(/"value":"2"/);
    const {code, stdout} = await watch.interrupt();
    assert.equal(code, 0);
    const events = stdout.trimEnd().split('\n');
    assert.deepEqual(
      events.map(line => {
        const {type, key, value, prev} = JSON.parse(line) as {
          type: string;
          key: string;
          value: string;
          prev: {value: string} | null;
        };
        return [type, key, value, prev?.value];
      }),
      [
        ['put', 'w/a', '1', undefined],
        ['put', 'w/a', '2', '1'],
      ],
    );
    const status = await shell.ok(['status']);
    assert.match(status, /2 of 3 members answer, node\d leads in term \d+/);
    assert.match(status, new RegExp(`^${victim.id} .* unreachable`, 'm'));
  });

  await t.test('nobody leads, nobody answers', async () => {
    const [, second, third] = cluster.nodes;
    assert.ok(second !== undefined && third !== undefined);
    await second.kill9();
    const alone = new Shell([third]);
    await runUntilLeaderless(alone);
    assert.match(await alone.refused(['put', 'x', 'y', '-timeout=0.5']), /NO_LEADER|NO_ENDPOINT/);
    await third.kill9();
    const silent = await alone.refused(['get', 'x', '-timeout=0.2']);
    assert.match(silent, /NO_ENDPOINT.*; asked 127\.0\.0\.1:\d+, -endpoints=… names others/);
    const watch = await runCli(['watch', 'x', '-endpoints=127.0.0.1:1', '-timeout=0.2']);
    assert.equal(watch.code, 1, 'a watch of nothing does not wait for ever');
  });
});

/** `status` exits with 1 as soon as the node that is left has given up leading or following. */
async function runUntilLeaderless(shell: Shell): Promise<void> {
  for (let i = 0; i < 50; i++) {
    const {code, stdout} = await shell.start(['status']).ended;
    if (code === 1) {
      assert.match(stdout, /1 of 3 members answer, nobody leads/);
      return;
    }
  }
  assert.fail('the last node leads on');
}
