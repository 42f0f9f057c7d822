import assert from 'node:assert/strict';
import type {IncomingMessage} from 'node:http';
import {PassThrough} from 'node:stream';
import {test} from 'node:test';
import {chunksOf} from './api-client.ts';

test('content that stops coming is given up, however long the reader takes for what came', async t => {
  t.mock.timers.enable({apis: ['setTimeout']});
  const content = new PassThrough();
  const stream = content as unknown as IncomingMessage;
  const chunks = chunksOf({stream}, 1_000);
  content.write('a');
  assert.equal(String((await chunks.next()).value), 'a');
  t.mock.timers.tick(5_000);
  content.write('b');
  assert.equal(String((await chunks.next()).value), 'b');
  const next = chunks.next();
  t.mock.timers.tick(999);
  assert.equal(content.destroyed, false);
  t.mock.timers.tick(1);
  await assert.rejects(next, /nothing came for 1000 ms/);
});
