/** "Watches" of docs/http-api.md: as curl, as a browser, and as a program sees them. */
import assert from 'node:assert/strict';
import {asObject} from '../../contract/schema-check.ts';
import type {CheckedApi} from './checked-api.ts';
import {holds, type Section} from './contract-case.ts';
import {EventSource, parsedStream} from './event-source.ts';
import {jsonLines, WatchStream} from './watch-stream.ts';

/** Opened on the node `at`; a watch that is refused is asked with CheckedApi instead. */
async function watch(
  api: CheckedApi,
  query: string,
  headers: Readonly<Record<string, string>> = {},
  at = 0,
): Promise<WatchStream> {
  const stream = await WatchStream.open(api.endpoints[at] ?? '', query, headers);
  assert.equal(stream.status, 200, query);
  assert.match(String(stream.headers['rosetta-revision']), /^[1-9][0-9]*$/);
  api.remember('GET', `/watch${query}`, Object.keys(headers));
  return stream;
}

async function put(api: CheckedApi, key: string, value = ''): Promise<number> {
  return Number((await api.ok(`PUT /kv/${key}`, {body: value}))['revision']);
}

/** The lines of JSON in `text` that tell of changes. */
function told(text: string): Record<string, unknown>[] {
  const lines = text.split('\n').filter(line => line !== '');
  return lines
    .map(line => ({...asObject(JSON.parse(line))}))
    .filter(({type}) => type !== 'progress');
}

/** Changes keys below `prefix` in several revisions, some of many events. The last revision. */
async function changeMuch(api: CheckedApi, prefix: string): Promise<number> {
  for (const round of ['1', '2', '3']) {
    await put(api, `${prefix}/a`, `é ${round}\nline`);
    const success = ['b', 'c', 'd'].map(key => ({put: {key: `${prefix}/${key}`, value: round}}));
    await api.ok('POST /txn', {body: {success}});
    await api.ok(`DELETE /kv?prefix=${prefix}/c`);
  }
  await api.ok(`DELETE /kv?prefix=${prefix}/`);
  return put(api, `${prefix}/end`);
}

export const watches: Section = {
  title: 'Watches',
  cases: [
    holds('GET /watch tells every change of a key (key=)', async ({api}) => {
      const from = (await put(api, 'watched', '0')) + 1;
      const queries = ['key=w/b', 'prefix=w/', 'start=w/b&end=w/c', 'start=w/b', 'end=w/b', 'prev'];
      const streams = await Promise.all(
        queries.map((query, i) => {
          const all = `?${query}&from=${from}&timeout=5000&consistency=local`;
          return watch(api, all, jsonLines, i % 3);
        }),
      );
      for (const key of ['w/a', 'w/b', 'w/bb', 'x']) await put(api, key);
      await api.ok('DELETE /kv?start=w/a');
      const success = ['w/a', 'w/b'].map(key => ({put: {key, value: 'last'}}));
      const {revision: last} = await api.ok('POST /txn', {body: {success}});
      const lastWhole = new RegExp(`"revision":${String(last)},(?!.*"more").*\n`);
      const seen = await Promise.all(
        streams.map(async stream => {
          const text = await stream.until(lastWhole);
          stream.close();
          return told(text)
            .filter(({type}) => type === 'put')
            .map(({key}) => key)
            .join(' ');
        }),
      );
      assert.deepEqual(seen, [
        'w/b w/b',
        'w/a w/b w/bb w/a w/b',
        'w/b w/bb w/b',
        'w/b w/bb x w/b',
        'w/a w/a',
        'w/a w/b w/bb x w/a w/b',
      ]);
      await api.refused([
        ['GET /watch?key=', 'KEY_EMPTY'],
        ['GET /watch?key=a&prefix=a', 'INVALID_PARAMETER'],
        ['GET /watch?prefix=a&start=a', 'INVALID_PARAMETER'],
        ['GET /watch?key=a&from=x', 'INVALID_PARAMETER'],
        ['GET /watch?key=a&prev=maybe', 'INVALID_PARAMETER'],
        ['GET /watch?key=a', 'INVALID_PARAMETER', {headers: {'Last-Event-ID': 'seven'}}],
      ]);
    }),
    holds('It begins with from=REV, inclusive, or with the next change', async ({api}) => {
      const first = await put(api, 'from', '1');
      const since = await watch(api, `?key=from&from=${first}`, jsonLines);
      // Three revisions ahead of what any node has reached.
      const ahead = await watch(api, `?key=from&from=${first + 3}`, jsonLines, 1);
      // What is next is next for the node that is asked: a read there waits for the first.
      await api.ok('GET /kv/from', {at: 2});
      const next = await watch(api, '?key=from', jsonLines, 2);
      for (const value of ['2', '3', '4']) await put(api, 'from', value);
      for (const [stream, values] of [
        [since, '1234'],
        [next, '234'],
        [ahead, '4'],
      ] as const) {
        const text = await stream.until(/"value":"4".*\n/);
        stream.close();
        const seen = told(text).map(({value}) => value);
        assert.equal(seen.join(''), values);
      }
    }),
    holds('From a compacted revision the answer is 410.', async ({api}) => {
      const old = await put(api, 'gone');
      const revision = await put(api, 'gone');
      await api.ok('POST /compact', {body: {revision}});
      // A watch takes its node as it is, which applies the compaction before it answers this.
      await api.ok('GET /kv/gone', {at: 0});
      const since = {headers: {'Last-Event-ID': `${old - 1}`}};
      await api.refused([
        [`GET /watch?key=gone&from=${old}`, 'REVISION_COMPACTED', {at: 0}],
        ['GET /watch?key=gone', 'REVISION_COMPACTED', {...since, at: 0}],
      ]);
    }),
    holds(
      ['prev adds what each key was', 'With prev an event has the field prev'],
      async ({api}) => {
        const stream = await watch(api, '?key=prev&prev=true', jsonLines);
        const events = await watch(api, '?key=prev&prev', {}, 1);
        const first = await put(api, 'prev', '1');
        const second = await put(api, 'prev', '2');
        await api.ok('DELETE /kv/prev');
        const text = await stream.until(/"delete".*\n/);
        const record = {
          key: 'prev',
          value: '1',
          createRevision: first,
          modRevision: first,
          version: 1,
        };
        const next = {...record, value: '2', modRevision: second, version: 2};
        assert.deepEqual(
          told(text).map(({prev}) => prev),
          [null, record, next],
        );
        assert.match(
          await events.until(/event: delete\n.*\n/),
          /event: put\ndata: .*"prev":null\}/,
        );
        stream.close();
        events.close();
      },
    ),
    holds(
      [
        "curl -N 'localhost:9080/watch?prefix=a'",
        'Server-sent events (the default).',
        'The events of one revision come together',
      ],
      async ({api}) => {
        const stream = await watch(api, '?prefix=sse/');
        assert.equal(stream.headers['content-type'], 'text/event-stream');
        assert.equal(stream.headers['content-length'], undefined);
        assert.equal(stream.headers['cache-control'], 'no-cache');
        const first = await put(api, 'sse/a', 'x');
        const body = {success: [{put: {key: 'sse/b', value: 'y'}}, {delete: {key: 'sse/a'}}]};
        await api.ok('POST /txn', {body});
        const text = await stream.until(new RegExp(`\nid: ${first + 1}\n\n`));
        stream.close();
        const record = (key: string, value: string, at: number): string =>
          JSON.stringify({key, value, createRevision: at, modRevision: at, version: 1});
        assert.equal(
          text.replace(/^retry: 1000\nid: \d+\n\n(id: \d+\n\n)*/, ''),
          `event: put\ndata: ${record('sse/a', 'x', first)}\nid: ${first}\n\n` +
            `event: put\ndata: ${record('sse/b', 'y', first + 1)}\n\n` +
            `event: delete\ndata: {"key":"sse/a","modRevision":${first + 1}}\nid: ${first + 1}\n\n`,
        );
        assert.match(text, /^retry: 1000\nid: \d+\n\n/);
      },
    ),
    holds('A client that comes back with Last-Event-ID', async ({api}) => {
      const start = await put(api, 'back/begin');
      const last = await changeMuch(api, 'back');
      const stream = await watch(api, `?prefix=back/&from=${start + 1}`);
      const bytes = Buffer.from(await stream.until(new RegExp(`\nid: ${last}\n\n`)));
      stream.close();
      const whole = parsedStream(bytes);
      assert.equal(whole.retryMs, 1000);
      assert.equal(whole.lastEventId, String(last));
      // A connection that breaks behind any byte leaves one of these ids; each leads to the rest.
      const ids = new Set<string>();
      for (let size = 1; size <= bytes.length; size++) {
        const part = parsedStream(bytes.subarray(0, size));
        assert.deepEqual(part.events, whole.events.slice(0, part.events.length));
        ids.add(part.lastEventId);
      }
      assert.ok(ids.size > 8, `${ids.size} ids`);
      let at = 0;
      for (const id of [...ids].filter(each => each !== '' && each !== String(last))) {
        // The address says from where, as it did the first time; the header wins.
        const headers = {'Last-Event-ID': id};
        const rest = await watch(api, `?prefix=back/&from=${start + 1}`, headers, at++ % 3);
        const text = await rest.until(new RegExp(`\nid: ${last}\n\n`));
        rest.close();
        const {events} = parsedStream(Buffer.from(text));
        const behind = whole.events.filter(({data}) => revisionIn(data) > Number(id));
        assert.deepEqual(
          events.map(({data}) => data),
          behind.map(({data}) => data),
          `behind ${id}`,
        );
      }
    }),
    holds('id: without data moves the id on', async ({api}) => {
      const source = new EventSource(api.endpoints, '/watch?prefix=source/', 5);
      const whole = (): number[] => source.events.map(({lastEventId}) => Number(lastEventId));
      await source.until(() => source.lastEventId !== '');
      const quiet = Number(source.lastEventId);
      let last = 0;
      for (let round = 0; round < 3; round++) {
        source.cut();
        last = await changeMuch(api, 'source');
        await source.until(() => whole().includes(last));
      }
      source.close();
      assert.ok(source.sentIds.length > 3, 'it came back after each cut');
      assert.ok(source.sentIds.slice(1).every(id => Number(id) >= quiet));
      const revisions = source.events.map(({data}) => revisionIn(data));
      assert.deepEqual(
        revisions,
        revisions.toSorted((a, b) => a - b),
      );
      const from = await watch(api, `?prefix=source/&from=${quiet + 1}`);
      const {events} = parsedStream(Buffer.from(await from.until(new RegExp(`id: ${last}\n`))));
      from.close();
      // A revision of which a part had come is told again as a whole, and nothing else twice.
      const distinct = new Set(source.events.map(({type, data}) => `${type} ${data}`));
      assert.deepEqual([...distinct], [...events.map(({type, data}) => `${type} ${data}`)]);
    }),
    holds(
      [
        'Lines of JSON, with Accept: application/x-ndjson',
        'An event that is not the last of its revision',
        'Resume from the last whole revision plus one.',
      ],
      async ({api}) => {
        const stream = await watch(api, '?prefix=lines/', jsonLines);
        assert.equal(stream.headers['content-type'], 'application/x-ndjson');
        const first = await put(api, 'lines/a', 'x');
        await put(api, 'lines/b', 'y');
        await api.ok('DELETE /kv?prefix=lines/');
        const text = await stream.until(/"delete".*"lines\/b".*\n/);
        stream.close();
        assert.match(text, /^\{"type":"progress","revision":\d+\}\n/);
        const record = {createRevision: first, modRevision: first, version: 1};
        const events = told(text);
        assert.deepEqual(events[0], {
          ...{type: 'put', revision: first, key: 'lines/a', value: 'x'},
          ...record,
        });
        const end = first + 2;
        const gone = {type: 'delete', revision: end, modRevision: end};
        assert.deepEqual(events.slice(2), [
          {...gone, key: 'lines/a', more: true},
          {...gone, key: 'lines/b'},
        ]);
        const resumed = await watch(api, `?prefix=lines/&from=${first + 1}`, jsonLines, 1);
        const rest = told(await resumed.until(/"delete".*"lines\/b".*\n/));
        resumed.close();
        assert.deepEqual(rest, events.slice(1));
      },
    ),
  ],
};

function revisionIn(data: string): number {
  return Number(asObject(JSON.parse(data))['modRevision']);
}
