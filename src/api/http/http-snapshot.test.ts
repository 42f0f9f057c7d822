/** Over HTTP: GET /cluster/snapshot. */
import assert from 'node:assert/strict';
import {once} from 'node:events';
import type {Socket} from 'node:net';
import {test} from 'node:test';
import {startHttp} from '../../../test/contract/http-fixture.ts';
import type {HttpFixture} from '../../../test/contract/http-fixture.ts';
import {RosettaError} from '../../base/errors.ts';

const piece = Buffer.alloc(256 * 1024, 7);

/** Waits for what follows the end of a connection on the server's side. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve));
}

async function ask(http: HttpFixture): Promise<Socket> {
  const socket = http.socket();
  await once(socket, 'connect');
  socket.write('GET /cluster/snapshot HTTP/1.1\r\nHost: x\r\n\r\n');
  return socket;
}

test('a backup is streamed with its revision and a name, and closed behind', async t => {
  const http = await startHttp(t);
  await http.put('k', 'v');
  http.service.backupPieces = [Buffer.from('head'), piece, piece, Buffer.from('end')];
  const answer = await http.request('GET', '/cluster/snapshot?consistency=local&timeout=700');
  assert.equal(answer.status, 200);
  assert.equal(answer.bytes.length, 7 + 2 * piece.length);
  assert.equal(answer.headers['content-type'], 'application/octet-stream');
  assert.equal(answer.headers['content-disposition'], 'attachment; filename="rosetta-c1-2.backup"');
  assert.equal(answer.headers['rosetta-revision'], '2');
  assert.equal(answer.headers['content-length'], undefined);
  assert.deepEqual(http.service.readOptions.at(-1), {consistency: 'local', timeoutMs: 700});
  await until(() => http.service.openBackupCount === 0);
  const seen = http.observations.at(-1);
  assert.deepEqual(seen, {route: '/cluster/snapshot', method: 'GET', status: 200});
});

test('a backup that cannot be had is a problem, and parameters are checked', async t => {
  const http = await startHttp(t);
  http.service.failNext = new RosettaError('OVERLOADED', 'one is under way');
  assert.equal((await http.request('GET', '/cluster/snapshot')).status, 429);
  const odd = await http.request('GET', '/cluster/snapshot?prefix=a');
  assert.equal(odd.json?.['code'], 'INVALID_PARAMETER');
  http.service.unready = new RosettaError('DIVERGED', 'it differs');
  assert.equal((await http.request('GET', '/cluster/snapshot')).json?.['code'], 'DIVERGED');
});

test('HEAD tells the headers without a copy', async t => {
  const http = await startHttp(t);
  const answer = await http.request('HEAD', '/cluster/snapshot');
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['rosetta-revision'], '1');
  assert.equal(answer.headers['content-type'], 'application/octet-stream');
  assert.equal(http.service.openBackupCount, 0);
});

test('a backup that breaks off cuts the connection, so that nobody takes it for whole', async t => {
  const http = await startHttp(t);
  http.service.backupPieces = [Buffer.from('head'), piece];
  http.service.backupError = new Error('EIO');
  await assert.rejects(http.request('GET', '/cluster/snapshot'));
  await until(() => http.service.openBackupCount === 0);
});

test('a client that reads nothing has no more than a few pieces made for it', async t => {
  const http = await startHttp(t);
  http.service.backupPieces = Array.from({length: 2_000}, () => piece);
  const socket = await ask(http);
  socket.pause();
  await until(() => http.service.openBackupCount === 1);
  let before = -1;
  while (before !== http.service.backupPieceCount) {
    before = http.service.backupPieceCount;
    await new Promise(resolve => setTimeout(resolve, 50));
  }
  // What the two sockets hold between them, and one piece.
  assert.ok(before < 200, `${before} pieces of 256 KiB`);
  socket.destroy();
  await until(() => http.service.openBackupCount === 0);
});
