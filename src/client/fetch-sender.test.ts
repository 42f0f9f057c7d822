/** The client of browsers, with Node's fetch: what differs from sockets, and that the rest holds. */
import assert from 'node:assert/strict';
import {test, type TestContext} from 'node:test';
import {cut, hang, record, ScriptedServer, written} from '../../test/client/scripted-server.ts';
import {connect} from './browser-client.ts';
import type {Client} from './client.ts';

function client(t: TestContext, servers: readonly ScriptedServer[]): Client {
  const endpoints = servers.map(server => server.endpoint);
  const made = connect({endpoints, timeoutMs: 5_000, attemptTimeoutMs: 1_000});
  t.after(() => made.close());
  return made;
}

test('over fetch, a write that was cut goes out again under its number', async t => {
  const first = await ScriptedServer.start(t, cut);
  const second = await ScriptedServer.start(t, written);
  await client(t, [first, second]).put('k', Uint8Array.of(0, 0xff));
  assert.deepEqual([first.keys(), second.keys()], [['s1/1'], ['s1/1']]);
  assert.deepEqual(second.seen[0]?.body, Buffer.of(0, 0xff));
});

test('over fetch, an attempt has its time', async t => {
  const first = await ScriptedServer.start(t, hang);
  const second = await ScriptedServer.start(t, record);
  assert.equal((await client(t, [first, second]).get('k'))?.value, 'v');
});

test('over fetch, a refused connection is a definite failure', async t => {
  const server = await ScriptedServer.start(t);
  const made = client(t, [server]);
  server.stop();
  await assert.rejects(made.put('k', 'v', {timeoutMs: 200}), {
    code: 'NO_ENDPOINT',
    outcome: 'definite',
  });
});

test('over fetch, signals and close end what is under way', async t => {
  const server = await ScriptedServer.start(t, hang, hang);
  const made = client(t, [server]);
  const controller = new AbortController();
  const put = made.put('k', 'v', {signal: controller.signal});
  await server.whenSeen(1);
  controller.abort();
  await assert.rejects(put, {code: 'ABORTED', outcome: 'unknown'});
  const get = made.get('k');
  await server.whenSeen(2);
  await made.close();
  await assert.rejects(get, {code: 'CLIENT_CLOSED'});
});

test('over fetch, a key that a URL would swallow is refused', async t => {
  const server = await ScriptedServer.start(t, record);
  const made = client(t, [server]);
  for (const key of ['.', '..', Uint8Array.of(0x2e)]) {
    await assert.rejects(made.get(key), {code: 'INVALID_ARGUMENT'});
  }
  await made.get('a/../b');
  assert.deepEqual(server.targets(), ['GET /kv/a%2F..%2Fb']);
});

test('over fetch, a watch goes on where it was cut', async t => {
  const line = (revision: number): string => {
    const row = {value: '', createRevision: 2, modRevision: revision, version: 1};
    return `${JSON.stringify({type: 'put', revision, key: 'k', ...row})}\n`;
  };
  const server = await ScriptedServer.start(
    t,
    response => response.write(line(5), () => response.socket?.destroySoon()),
    response => response.write(line(6)),
  );
  const revisions: number[] = [];
  for await (const event of client(t, [server]).watch({key: 'k'}, {from: 5})) {
    revisions.push(event.revision);
    if (revisions.length === 2) break;
  }
  assert.deepEqual(revisions, [5, 6]);
  assert.deepEqual(server.targets(), ['GET /watch?key=k&from=5', 'GET /watch?key=k&from=6']);
});
