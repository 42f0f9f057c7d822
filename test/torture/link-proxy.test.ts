import assert from 'node:assert/strict';
import {once} from 'node:events';
import {connect, createServer} from 'node:net';
import type {AddressInfo, Socket} from 'node:net';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {LinkProxy} from './link-proxy.ts';

interface Line {
  readonly proxy: LinkProxy;
  readonly near: Socket;
  readonly far: Socket;
  readonly cuts: Set<string>;
}

const introduction = 'GET / HTTP/1.1\r\nrosetta-from: a\r\n\r\n';

/** `a` has dialed `b` through a proxy and introduced itself. */
async function line(t: TestContext): Promise<Line> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cuts = new Set<string>();
  const {port} = server.address() as AddressInfo;
  const proxy = new LinkProxy({id: 'b', host: '127.0.0.1', port}, (from, to) =>
    cuts.has(`${from ?? ''}>${to ?? ''}`),
  );
  const near = connect(await proxy.listen(), '127.0.0.1');
  const [far] = (await once(server, 'connection')) as [Socket];
  t.after(() => {
    near.destroy();
    far.destroy();
    proxy.close();
    server.close();
  });
  near.setEncoding('latin1');
  far.setEncoding('latin1');
  near.write(introduction);
  assert.equal(await next(far), introduction);
  return {proxy, near, far, cuts};
}

async function next(socket: Socket): Promise<string> {
  const [text] = (await once(socket, 'data')) as [string];
  return text;
}

test('a cut holds one direction back and the other one flows', async t => {
  const {proxy, near, far, cuts} = await line(t);
  cuts.add('a>b');
  proxy.update();
  let seen = '';
  far.on('data', (text: string) => (seen += text));
  near.write('held');
  far.write('answer');
  assert.equal(await next(near), 'answer');
  far.write('again');
  assert.equal(await next(near), 'again');
  assert.equal(seen, '');
  cuts.clear();
  proxy.update();
  await once(far, 'data');
  assert.equal(seen, 'held');
});

test('the end of a connection is not told through a cut', async t => {
  const {proxy, near, far, cuts} = await line(t);
  cuts.add('a>b');
  proxy.update();
  near.destroy();
  await once(near, 'close');
  assert.equal(far.closed, false);
  const closed = once(far, 'close');
  cuts.clear();
  proxy.update();
  await closed;
});
