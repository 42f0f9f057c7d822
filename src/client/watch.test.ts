import assert from 'node:assert/strict';
import type {ServerResponse} from 'node:http';
import {test, type TestContext} from 'node:test';
import {cut, json, problem, ScriptedServer, type Step} from '../../test/client/scripted-server.ts';
import type {Client} from './client.ts';
import {connect} from './node-client.ts';
import type {Watch} from './watch.ts';
import type {WatchEvent} from './watch-event.ts';

function client(t: TestContext, ...servers: readonly ScriptedServer[]): Client {
  const made = connect({endpoints: servers.map(server => server.endpoint)});
  t.after(() => made.close());
  return made;
}

type Line = Readonly<Record<string, unknown>>;

const progress = (revision: number): Line => ({type: 'progress', revision});

function put(key: string, revision: number, extra: Line = {}): Line {
  const record = {value: `v${revision}`, createRevision: revision, modRevision: revision};
  return {type: 'put', revision, key, ...record, version: 1, ...extra};
}

const more = {more: true};

/** Sends the lines, and then leaves the stream open, ends it, or cuts it. */
function stream(lines: readonly Line[], how: 'open' | 'ended' | 'cut' = 'open'): Step {
  return response => {
    response.writeHead(200, {'Content-Type': 'application/x-ndjson'});
    const text = lines.map(line => `${JSON.stringify(line)}\n`).join('');
    if (how === 'ended') response.end(text);
    else if (how === 'open') response.write(text);
    else sendAndCut(response, text);
  };
}

function sendAndCut(response: ServerResponse, text: string): void {
  response.write(text, () => response.socket?.destroySoon());
}

async function take(watch: Watch, count: number): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  for await (const event of watch) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

function told(events: readonly WatchEvent[]): string[] {
  return events.map(({type, key, revision}) => `${type} ${key} ${revision}`);
}

test('a watch tells what changes: records, former records, bytes', async t => {
  const former = {key: 'a', value: 'x', createRevision: 2, modRevision: 2, version: 1};
  const server = await ScriptedServer.start(
    t,
    stream([
      progress(4),
      put('a', 5, {prev: former, lease: '7', ...more}),
      {type: 'delete', revision: 5, key: '/w==', keyEncoding: 'base64', modRevision: 5, prev: null},
    ]),
  );
  const watch = client(t, server).watch({prefix: 'a'}, {from: 5, previous: true});
  const [first, second] = await take(watch, 2);
  assert.deepEqual(server.targets(), ['GET /watch?prefix=a&from=5&prev=true']);
  assert.equal(server.seen[0]?.headers.accept, 'application/x-ndjson');
  assert.equal(first?.type, 'put');
  assert.equal(first.record.value, 'v5');
  assert.equal(first.record.lease, '7');
  assert.equal(first.previous?.value, 'x');
  assert.deepEqual([first.isLast, second?.isLast], [false, true]);
  assert.equal(second?.type, 'delete');
  assert.deepEqual(second.keyBytes, Uint8Array.of(0xff));
  assert.equal(second.record, null);
  assert.equal(watch.revision, 5);
});

for (const how of ['ended', 'cut'] as const) {
  test(`after a stream that was ${how}, the next node goes on where it was left`, async t => {
    const first = await ScriptedServer.start(t, stream([progress(9), put('a', 12)], how));
    const again = stream([progress(12), put('b', 13)]);
    const second = await ScriptedServer.start(t, again);
    if (how === 'ended') first.more(again);
    const events = await take(client(t, first, second).watch({key: 'a'}), 2);
    assert.deepEqual(told(events), ['put a 12', 'put b 13']);
    assert.equal([...first.targets(), ...second.targets()].at(-1), 'GET /watch?key=a&from=13');
  });
}

test('a watch that its loop has left keeps no program alive', async t => {
  const timerCount = (): number => {
    return process.getActiveResourcesInfo().filter(name => name === 'Timeout').length;
  };
  const server = await ScriptedServer.start(t, stream([put('a', 2)]));
  const store = client(t, server);
  const before = timerCount();
  await take(store.watch({key: 'a'}, {from: 2}), 1);
  await store.close();
  assert.ok(timerCount() <= before, `${timerCount()} timers, ${before} before`);
});

test('a revision that was told in part is told to its end, and nothing twice', async t => {
  const whole = [put('a', 7, more), put('b', 7, more), put('c', 7)];
  const server = await ScriptedServer.start(
    t,
    stream([progress(6), ...whole.slice(0, 1)], 'cut'),
    stream([progress(6), ...whole.slice(0, 2)], 'cut'),
    stream([progress(6), ...whole.slice(0, 1)], 'cut'),
    stream([progress(6), ...whole, put('d', 8)]),
  );
  const watch = client(t, server).watch({});
  const events = await take(watch, 4);
  assert.deepEqual(told(events), ['put a 7', 'put b 7', 'put c 7', 'put d 8']);
  assert.deepEqual(server.targets().slice(1), [
    'GET /watch?from=7',
    'GET /watch?from=7',
    'GET /watch?from=7',
  ]);
});

test('a node that is behind a revision that was told in part brings nothing back', async t => {
  const whole = [put('a', 9, more), put('b', 9, more), put('c', 9)];
  const server = await ScriptedServer.start(
    t,
    stream([progress(5), ...whole.slice(0, 2)], 'cut'),
    stream([progress(5), progress(7)], 'cut'),
    stream([progress(7), progress(8), ...whole]),
  );
  const events = await take(client(t, server).watch({}), 3);
  assert.deepEqual(told(events), ['put a 9', 'put b 9', 'put c 9']);
  assert.deepEqual(server.targets().slice(1), ['GET /watch?from=6', 'GET /watch?from=8']);
});

test('a watch that is closed ends its loop, however it waits, and its connection', async t => {
  let ended = 0;
  const open: Step = (response, seen) => {
    response.on('close', () => (ended += 1));
    stream([progress(4)])(response, seen);
  };
  const server = await ScriptedServer.start(t, open, open);
  const store = client(t, server);
  const unused = store.watch({});
  assert.equal(await unused.start(), 4);
  unused.close();
  await assert.rejects(unused.start(), {code: 'ABORTED'});
  assert.deepEqual(await take(unused, 1), []);
  const waiting = store.watch({});
  const taken = take(waiting, 1);
  await server.whenSeen(2);
  waiting.close();
  waiting.close();
  assert.deepEqual(await taken, []);
  while (ended < 2) await new Promise(resolve => setImmediate(resolve));
});

test('progress moves the place from which a watch goes on', async t => {
  const server = await ScriptedServer.start(
    t,
    stream([progress(3), progress(20)], 'cut'),
    stream([progress(20), put('a', 21)]),
  );
  await take(client(t, server).watch({key: 'a'}), 1);
  assert.deepEqual(server.targets(), ['GET /watch?key=a', 'GET /watch?key=a&from=21']);
});

test('start fixes the beginning, before anything is told', async t => {
  const server = await ScriptedServer.start(
    t,
    cut,
    stream([], 'cut'),
    problem('STARTING'),
    stream([progress(41)], 'cut'),
    stream([progress(41), put('a', 42)]),
  );
  const watch = client(t, server).watch({prefix: ''});
  assert.equal(watch.revision, null);
  assert.equal(await watch.start(), 41);
  assert.deepEqual(told(await take(watch, 1)), ['put a 42']);
  assert.equal(server.targets().at(-1), 'GET /watch?prefix=&from=42');
});

test('a slow watch that is closed goes on by itself', async t => {
  const end = {type: 'end', code: 'WATCH_TOO_SLOW', detail: 'too slow', revision: 6};
  const server = await ScriptedServer.start(
    t,
    stream([progress(4), put('a', 5), end], 'ended'),
    stream([progress(5), put('a', 6)]),
  );
  const other = await ScriptedServer.start(t);
  const events = await take(client(t, server, other).watch({key: 'a'}), 2);
  assert.deepEqual(told(events), ['put a 5', 'put a 6']);
  assert.equal(other.seen.length, 0, 'the node has done nothing wrong');
});

test('a reader that takes its time has not lost its node', async t => {
  const server = await ScriptedServer.start(t, stream([progress(4), put('a', 5), put('a', 6)]));
  const other = await ScriptedServer.start(t);
  const watch = client(t, server, other).watch({key: 'a'});
  await watch.start();
  t.mock.timers.enable({apis: ['setTimeout']});
  const events: WatchEvent[] = [];
  for await (const event of watch) {
    events.push(event);
    // The node says something every 15 s; nobody listens meanwhile.
    t.mock.timers.tick(100_000);
    if (events.length === 2) break;
  }
  t.mock.timers.reset();
  assert.deepEqual(told(events), ['put a 5', 'put a 6']);
  assert.equal(server.seen.length, 1);
  assert.equal(other.seen.length, 0);
});

test('a refusal that does not end is left for another node', async t => {
  const first = await ScriptedServer.start(t, response => {
    response.writeHead(503, {'Content-Type': 'application/problem+json'}).write('{"code":');
  });
  const second = await ScriptedServer.start(t, stream([progress(4), put('a', 5)]));
  const made = client(t, first, second);
  t.mock.timers.enable({apis: ['setTimeout']});
  const ticking = setInterval(() => t.mock.timers.tick(1_000), 1);
  const events = await take(made.watch({key: 'a'}), 1);
  clearInterval(ticking);
  t.mock.timers.reset();
  assert.deepEqual(told(events), ['put a 5']);
});

test('a node that stops is left for another', async t => {
  const end = {type: 'end', code: 'STOPPING', detail: 'stopping', revision: 6};
  const first = await ScriptedServer.start(t, stream([progress(4), put('a', 5), end]));
  const second = await ScriptedServer.start(t, stream([progress(5), put('a', 6)]));
  const events = await take(client(t, first, second).watch({key: 'a'}), 2);
  assert.deepEqual(told(events), ['put a 5', 'put a 6']);
});

test('what has been compacted ends the watch with its code', async t => {
  const server = await ScriptedServer.start(
    t,
    problem('REVISION_COMPACTED'),
    stream([progress(4), {type: 'end', code: 'REVISION_COMPACTED', detail: 'x', revision: 5}]),
  );
  const made = client(t, server);
  await assert.rejects(take(made.watch({}, {from: 2}), 1), {code: 'REVISION_COMPACTED'});
  await assert.rejects(take(made.watch({}, {from: 5}), 1), {code: 'REVISION_COMPACTED'});
});

test('what no node will take ends the watch, other answers do not', async t => {
  const server = await ScriptedServer.start(
    t,
    json({hello: 'from a proxy'}, 502),
    problem('DIVERGED'),
    problem('KEY_TOO_LONG'),
  );
  await assert.rejects(take(client(t, server).watch({key: 'a'}), 1), {
    code: 'KEY_TOO_LONG',
    status: 400,
  });
});

test('a signal ends a watch, also while it waits', async t => {
  const server = await ScriptedServer.start(t, stream([progress(4)]));
  const controller = new AbortController();
  const watch = client(t, server).watch({}, {signal: controller.signal});
  await watch.start();
  const waiting = take(watch, 1);
  controller.abort('enough');
  await assert.rejects(waiting, {code: 'ABORTED', cause: 'enough'});
});

test('a client that is closed ends its watches', async t => {
  const server = await ScriptedServer.start(t, stream([progress(4)]));
  const made = client(t, server);
  const watch = made.watch({});
  await watch.start();
  const waiting = take(watch, 1);
  await made.close();
  await assert.rejects(waiting, {code: 'CLIENT_CLOSED'});
});

test('a loop that is left gives its connection up, and the next one goes on', async t => {
  let isClosed = false;
  const first = stream([progress(4), put('a', 5), put('a', 6)]);
  const server = await ScriptedServer.start(
    t,
    (response, request) => {
      response.on('close', () => (isClosed = true));
      first(response, request);
    },
    stream([progress(5), put('a', 6)]),
  );
  const watch = client(t, server).watch({key: 'a'});
  assert.deepEqual(told(await take(watch, 1)), ['put a 5']);
  assert.deepEqual(told(await take(watch, 1)), ['put a 6']);
  assert.equal(isClosed, true);
  assert.equal(server.targets().at(-1), 'GET /watch?key=a&from=6');
});

test('a watch whose loop was left keeps no process alive', async t => {
  const server = await ScriptedServer.start(t, stream([progress(4), put('a', 5), put('a', 6)]));
  const timerCount = (): number =>
    process.getActiveResourcesInfo().filter(name => name === 'Timeout').length;
  const before = timerCount();
  assert.deepEqual(told(await take(client(t, server).watch({key: 'a'}), 1)), ['put a 5']);
  await new Promise(resolve => setImmediate(resolve));
  assert.equal(timerCount(), before);
});
