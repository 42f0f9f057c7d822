/** "Backups", "Members" and "Status" of docs/http-api.md, as far as running nodes show them. */
import assert from 'node:assert/strict';
import {request} from 'node:http';
import {asList, asObject, type Json} from '../../contract/schema-check.ts';
import {eventually, pause} from '../eventually.ts';
import type {CheckedApi} from './checked-api.ts';
import {holds, type Section} from './contract-case.ts';

interface UnreadBackup {
  readonly status: number;
  /** Reads it to its end: whether the server ended it as it should. */
  rest(): Promise<boolean>;
}

/** A backup of which nobody reads more than the head yet. */
function beginBackup(endpoint: string, timeoutMs: number): Promise<UnreadBackup> {
  const [host = '', port = ''] = endpoint.split(':');
  const path = `/cluster/snapshot?timeout=${timeoutMs}`;
  return new Promise((resolve, reject) => {
    const call = request({host, port, path, agent: false});
    call.on('error', reject);
    call.on('response', response => {
      const rest = (): Promise<boolean> =>
        new Promise(ended => {
          response.on('error', () => ended(false));
          response.on('end', () => ended(response.complete));
          response.resume();
        });
      resolve({status: response.statusCode ?? 0, rest});
    });
    call.end();
  });
}

export const backups: Section = {
  title: 'Backups',
  cases: [
    holds(
      ['GET /cluster/snapshot answers with a whole backup', 'It is one moment of the store'],
      async ({api}) => {
        for (const at of [0, 1, 2]) {
          const {revision} = await api.ok('PUT /kv/backup', {body: `at ${at}`});
          const backup = await api.ask('GET /cluster/snapshot?timeout=30000', {at});
          assert.equal(backup.status, 200);
          assert.equal(backup.headers['content-type'], 'application/octet-stream');
          assert.equal(backup.headers['content-length'], undefined);
          assert.equal(backup.headers['rosetta-revision'], String(revision));
          assert.ok(backup.bytes.includes(`at ${at}`));
        }
        const local = await api.ask('GET /cluster/snapshot?consistency=local');
        assert.equal(local.status, 200);
      },
    ),
    holds(
      ['timeout bounds the wait for that moment', 'The node copies its checkpoint first'],
      async ({solo}) => {
        // More than the sockets on the way hold, so that it cannot be through before it is read.
        const value = Buffer.alloc(1_572_864, 'x');
        for (let i = 0; i < 12; i++) await solo.ok(`PUT /kv/backup/${i}`, {body: value});
        const timeoutMs = 2_000;
        const startedAt = performance.now();
        const first = await beginBackup(solo.endpoints[0] ?? '', timeoutMs);
        assert.equal(first.status, 200);
        do {
          assert.equal(await solo.code('GET /cluster/snapshot'), 'OVERLOADED');
          await pause(100);
        } while (performance.now() - startedAt < timeoutMs);
        assert.equal(await first.rest(), true);
        await eventually('the node is rid of the first one', 10_000, async () => {
          const next = await solo.ask('GET /cluster/snapshot');
          return next.status === 200 ? true : null;
        });
        await solo.ok('DELETE /kv?prefix=backup');
      },
    ),
  ],
};

async function members(api: CheckedApi, at: number): Promise<Map<string, Json>> {
  const {members: list} = await api.ok('GET /cluster/members?timeout=5000&consistency=local', {at});
  return new Map(asList(list).map(each => [String(asObject(each)['id']), asObject(each)]));
}

export const membership: Section = {
  title: 'Members',
  cases: [
    holds(
      'A member is {"id","listen","http","role","state","matchIndex"}',
      async ({api, nodes}) => {
        const {id: leader} = await api.ok('GET /leader?timeout=5000&consistency=local');
        for (const at of [0, 1, 2]) {
          const shown = await members(api, at);
          assert.deepEqual([...shown.keys()], ['node1', 'node2', 'node3']);
          for (const {id, listen, http} of nodes) {
            const {state, matchIndex, ...rest} = shown.get(id) ?? {};
            assert.deepEqual(rest, {id, listen, http, role: 'voter'});
            if (id === leader) assert.equal(state, 'leader');
            const isLeader = nodes[at]?.id === leader;
            if (isLeader) assert.ok(Number.isSafeInteger(matchIndex), JSON.stringify(matchIndex));
            if (isLeader && id !== leader) assert.equal(state, 'follower');
            if (!isLeader && id !== leader) assert.match(String(state), /^(unknown|follower)$/);
          }
        }
      },
    ),
    holds(
      [
        'POST adds a learner.',
        'It need not run yet',
        'The answer comes when the change is committed',
      ],
      async ({api, nodes, soloNode}) => {
        const add = (id: string, listen: string): Promise<string> =>
          api.code('POST /cluster/members?timeout=10000', {body: {id, listen}});
        for (const [i, id] of ['node4', 'node5', 'node6', 'node7'].entries()) {
          const listen = `127.0.0.1:${i + 1}`;
          const at = i % 3;
          const answer = await api.ok('POST /cluster/members?timeout=10000', {
            body: {id, listen},
            at,
          });
          const added = asList(answer['members'])
            .map(asObject)
            .find(each => each['id'] === id);
          const {state, matchIndex, ...rest} = added ?? {};
          assert.deepEqual(rest, {id, listen, http: '', role: 'learner'});
          assert.ok(matchIndex === null || matchIndex === 0);
          assert.match(String(state), /^(unknown|unreachable)$/);
          assert.ok((await members(api, at)).has(id), 'in force where it was asked');
        }
        assert.equal(await add('node8', '127.0.0.1:9'), 'TOO_MANY_MEMBERS');
        await api.ok('DELETE /cluster/members/node7');
        assert.equal(await add('node7', '127.0.0.1:1'), 'ADDRESS_IN_USE');
        await api.refused([['POST /cluster/leader', 'NOT_A_VOTER', {body: {id: 'node4'}}]]);
        for (const id of ['node4', 'node5', 'node6']) {
          const answer = await api.ok(`DELETE /cluster/members/${id}?timeout=10000`);
          assert.doesNotMatch(JSON.stringify(answer), new RegExp(id));
        }
        const [first] = nodes;
        assert.ok(first !== undefined);
        assert.equal(await add('node1', '127.0.0.1:9'), 'MEMBER_EXISTS');
        assert.equal(await add('node9', first.listen), 'WRONG_NODE');
        assert.equal(await add(soloNode.id, soloNode.listen), 'WRONG_CLUSTER');
        await api.refused([
          ['DELETE /cluster/members/node4', 'MEMBER_NOT_FOUND'],
          ['DELETE /cluster/members/no%20name', 'MEMBER_NOT_FOUND'],
          ['POST /cluster/members', 'INVALID_REQUEST', {body: {id: 'no name', listen: 'a:1'}}],
          ['POST /cluster/members', 'INVALID_REQUEST', {body: {id: 'node9', listen: 'nowhere'}}],
        ]);
      },
    ),
    holds('POST /cluster/leader moves leadership to a voter.', async ({api, nodes}) => {
      for (const {id, listen, http} of nodes) {
        const moved = await api.ok('POST /cluster/leader?timeout=10000', {body: {id}});
        assert.deepEqual(moved, {id, listen, http, term: moved['term']});
        for (const at of [0, 1, 2]) {
          const seen = await eventually(`${at} follows ${id}`, 10_000, async () => {
            const answer = await api.ask('GET /leader', {at});
            return answer.json?.['id'] === id ? answer.json : null;
          });
          assert.deepEqual(seen, moved);
        }
      }
      await api.refused([
        ['POST /cluster/leader', 'MEMBER_NOT_FOUND', {body: {id: 'node9'}}],
        ['POST /cluster/leader', 'INVALID_REQUEST', {body: {}}],
      ]);
    }),
    holds('All refusals come before anything is logged.', async ({solo}) => {
      const before = await solo.ok('GET /status');
      assert.equal(await solo.code('DELETE /cluster/members/solo'), 'LAST_VOTER');
      const after = await solo.ok('GET /status');
      assert.equal(after['lastLogIndex'], before['lastLogIndex']);
    }),
  ],
};

const statusFields =
  'id clusterId version state term leader ready commitIndex appliedIndex lastLogIndex log revision ' +
  'compactedRevision keys checkpointIndex uptimeSeconds stateHash diverged';

export const status: Section = {
  title: 'Status',
  cases: [
    holds(
      ['GET /status is never forwarded', 'state is leader, follower, candidate or learner'],
      async ({api, starting}) => {
        const {id: leader} = await api.ok('GET /leader');
        const {revision} = await api.ok('PUT /kv/status', {body: 'v'});
        const ids: unknown[] = [];
        for (const at of [0, 1, 2]) {
          const local = await api.ok('GET /status?timeout=5000&consistency=local', {at});
          assert.equal(Object.keys(local).join(' '), statusFields);
          assert.deepEqual(Object.keys(asObject(local['log'])), ['entries', 'bytes']);
          assert.equal(local['state'], local['id'] === leader ? 'leader' : 'follower');
          assert.deepEqual([local['leader'], local['ready']], [leader, true]);
          assert.ok(Number(local['revision']) <= Number(revision));
          ids.push(local['id']);
        }
        assert.deepEqual(ids, ['node1', 'node2', 'node3'], 'each answers for itself');
        const waiting = await starting.ok('GET /status');
        assert.deepEqual([waiting['clusterId'], waiting['leader']], [null, null]);
      },
    ),
    holds('Nodes with the same appliedIndex have the same stateHash.', async ({api}) => {
      const hashes = await eventually('all have applied alike', 10_000, async () => {
        const all = await Promise.all([0, 1, 2].map(at => api.ok('GET /status', {at})));
        const applied = new Set(all.map(each => each['appliedIndex']));
        return applied.size === 1 ? all.map(each => each['stateHash']) : null;
      });
      assert.equal(new Set(hashes).size, 1);
      assert.match(String(hashes[0]), /./);
    }),
    holds('GET /readyz is 200 when the node knows a leader', async ({api, starting}) => {
      for (const at of [0, 1, 2]) {
        assert.deepEqual(await api.ok('GET /readyz', {at}), {ready: true});
        assert.deepEqual(await api.ok('GET /livez', {at}), {live: true});
        const metrics = await api.ask('GET /metrics', {at});
        assert.match(String(metrics.headers['content-type']), /^text\/plain; version=0\.0\.4/);
        assert.match(metrics.text, /^# TYPE rosetta_\w+ (gauge|counter|histogram)$/m);
        await api.ok('GET /openapi.json', {at});
      }
      assert.deepEqual(await starting.ok('GET /livez'), {live: true});
      await starting.refused([
        ['GET /readyz', 'STARTING'],
        ['GET /leader', 'NO_LEADER'],
        ['GET /kv/a', 'STARTING'],
        ['PUT /kv/a', 'STARTING', {body: ''}],
        ['POST /txn', 'STARTING', {body: {}}],
        ['GET /watch', 'STARTING'],
        ['POST /session', 'STARTING'],
        ['GET /cluster/snapshot', 'STARTING'],
      ]);
    }),
  ],
};
