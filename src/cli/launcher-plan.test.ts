import assert from 'node:assert/strict';
import test from 'node:test';
import {parseFlags} from './flags.ts';
import {UsageError} from './usage-error.ts';
import {
  commandLine,
  nodeTable,
  parseLauncherOptions,
  planNodes,
  thingsToTry,
} from './launcher-plan.ts';

const plan = planNodes(parseLauncherOptions([]));

test('the default is three nodes on consecutive ports', () => {
  assert.deepEqual(
    plan.map(({id, listen, http, data}) => [id, listen, http, data]),
    [
      ['node1', 'localhost:8080', 'localhost:9080', './rosetta-data/cluster/node1'],
      ['node2', 'localhost:8081', 'localhost:9081', './rosetta-data/cluster/node2'],
      ['node3', 'localhost:8082', 'localhost:9082', './rosetta-data/cluster/node3'],
    ],
  );
});

test('every planned command line is one the server accepts', () => {
  for (const node of plan) {
    const parsed = parseFlags({args: node.args, env: {}, readFile: () => ''});
    assert.equal(parsed.type, 'server');
    assert.equal(parsed.flags.peers.length, 2);
    assert.equal(parsed.flags.data, node.data);
  }
});

test('a command line survives a shell', () => {
  const [node] = planNodes(parseLauncherOptions(['-nodes=1', "-data=/tmp/it's here"]));
  assert.ok(node !== undefined);
  assert.equal(
    commandLine(node),
    "./rosetta -id=node1 -listen=localhost:8080 -http=localhost:9080 '-data=/tmp/it'\\''s here/node1'",
  );
});

test('bad options are refused', () => {
  for (const word of ['-nodes=8', '-nodes=0', '-http-port=x', '-data=', 'x', '-colour=red']) {
    assert.throws(() => parseLauncherOptions([word]), UsageError, word);
  }
});

test('the table lines up and the lines to try name the leader', () => {
  const rows = plan.map((node, i) => ({node, pid: 99 + i, state: i === 1 ? 'leader' : 'follower'}));
  assert.equal(
    nodeTable(rows),
    [
      '  node    API                     Raft             pid   state',
      '  node1   http://localhost:9080   localhost:8080   99    follower',
      '  node2   http://localhost:9081   localhost:8081   100   leader',
      '  node3   http://localhost:9082   localhost:8082   101   follower',
    ].join('\n'),
  );
  assert.match(thingsToTry(rows), /kill -9 100 {3}# node2, the leader/);
});
