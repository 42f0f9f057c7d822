/** The memory that answers occupy, of all connections together, when clients do not read them. */
import assert from 'node:assert/strict';
import {connect, type Socket} from 'node:net';
import {test, type TestContext} from 'node:test';
import {startHttp, type HttpFixture} from '../../../test/contract/http-fixture.ts';
import {setLimits} from '../../../test/sim/small-limits.ts';

const mib = 1024 * 1024;
const limit = {timeout: 60_000};
/** Six times as large in JSON: more than the kernel takes for a client that does not read. */
const large = '\0'.repeat(1_500_000);

/** Asks on connections of its own and reads nothing. */
function askWithoutReading(
  t: TestContext,
  http: HttpFixture,
  request: {readonly count: number; readonly bytes: string},
): void {
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach(socket => socket.destroy()));
  for (let i = 0; i < request.count; i++) {
    const socket = connect(http.port, '127.0.0.1').pause();
    socket.on('error', () => undefined);
    socket.write(request.bytes);
    sockets.push(socket);
  }
}

async function answered(http: HttpFixture, count: number): Promise<void> {
  while (http.observations.length < count) await new Promise(resolve => setTimeout(resolve, 5));
}

const get = 'GET /kv/large HTTP/1.1\r\nHost: a\r\n\r\n';

test(
  'what clients do not read is bounded: large reads are refused, small ones are not',
  limit,
  async t => {
    t.after(setLimits({httpBufferSizeBytesTotalMax: 32 * mib}));
    const http = await startHttp(t);
    await http.put('large', large);
    await http.put('small', 'v');
    askWithoutReading(t, http, {count: 6, bytes: get});
    await answered(http, 8);
    assert.ok(http.api.bufferSizeBytes() <= 32 * mib, String(http.api.bufferSizeBytes()));
    assert.ok(http.api.bufferSizeBytes() > 16 * mib, String(http.api.bufferSizeBytes()));
    const refused = await http.request('GET', '/kv/large');
    assert.equal(refused.json?.['code'], 'OVERLOADED');
    assert.equal((await http.request('HEAD', '/kv/large')).status, 200);
    assert.equal((await http.request('GET', '/kv/small')).status, 200);
    assert.equal((await http.put('small', 'w')).status, 200);
    assert.equal((await http.request('GET', '/status')).status, 200);
  },
);

test(
  'a write is answered when no memory is left, and what may answer much is not done',
  limit,
  async t => {
    t.after(setLimits({httpBufferSizeBytesTotalMax: 16 * mib}));
    const http = await startHttp(t);
    await http.put('large', large);
    const put = {put: {key: 'k', value: 'v'}};
    const both = JSON.stringify({success: [put, {get: {key: 'large'}}]});
    const length = Buffer.byteLength(both);
    const bytes = `POST /txn HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n${both}`;
    // Together at the door: each is answered, the last beyond the total.
    http.service.hold();
    askWithoutReading(t, http, {count: 4, bytes});
    while (http.service.heldCount < 4) await new Promise(resolve => setTimeout(resolve, 5));
    const read = http.request('POST', '/txn', {
      body: JSON.stringify({success: [{get: {key: 'large'}}]}),
    });
    while (http.service.heldCount < 5) await new Promise(resolve => setTimeout(resolve, 5));
    http.service.letGo();
    await answered(http, 6);
    assert.ok(http.api.bufferSizeBytes() > 16 * mib, String(http.api.bufferSizeBytes()));
    // It changed nothing, and so it may be sent again.
    assert.equal((await read).json?.['code'], 'OVERLOADED');
    const {length: proposedCount} = http.service.proposed;
    const refused = await http.request('POST', '/txn', {body: both});
    assert.equal(refused.json?.['code'], 'OVERLOADED');
    assert.equal(http.service.proposed.length, proposedCount);
    const small = await http.request('POST', '/txn', {body: JSON.stringify({success: [put]})});
    assert.equal(small.status, 200);
  },
);
