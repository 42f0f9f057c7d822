/** Nodes whose API is bound to every interface, as `-http=:9080` has it. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {parseAddress} from '../../src/base/address.ts';
import {runCli} from './cli.ts';
import {startNodes} from './in-process-nodes.ts';

for (const http of [':0', '0.0.0.0:0']) {
  test(`status finds three nodes with -http=${http}`, {timeout: 60_000}, async t => {
    const [node] = await startNodes(t, 3, {http, electionTimeoutMs: 1_500, heartbeatMs: 100});
    const port = parseAddress(node?.http ?? '')?.port;
    const {code, stdout, stderr} = await runCli(['status', `-endpoints=127.0.0.1:${port}`]);
    assert.equal(stderr, '');
    assert.match(stdout, /3 of 3 members answer, node\d leads/);
    assert.equal(code, 0);
  });
}

test('status finds a node alone that is bound to every interface', {timeout: 60_000}, async t => {
  const [node] = await startNodes(t, 1, {http: ':0', advertiseListen: ':1'});
  const port = parseAddress(node?.http ?? '')?.port;
  const {code, stdout} = await runCli(['status', `-endpoints=127.0.0.1:${port}`]);
  assert.match(stdout, /1 of 1 members answer, node1 leads/);
  assert.equal(code, 0);
});
