/**
 * docs/http-api.md, row by row, from outside: on a running cluster every sentence of the page has a
 * case here or a test that is named, and so has every route, parameter, header, field and code of
 * its tables.
 */
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {test, type TestContext} from 'node:test';
import {asObject, type Json} from '../../contract/schema-check.ts';
import {startNode, type StartedNode} from '../../../src/server/start-node.ts';
import {atEnd} from '../at-end.ts';
import {temporaryDirectory} from '../cluster.ts';
import {freePorts} from '../free-ports.ts';
import {startNodes} from '../in-process-nodes.ts';
import {CheckedApi, documentedParts} from './checked-api.ts';
import {backups, membership, status} from './cluster-cases.ts';
import {allowedOrigin, type Scene} from './contract-case.ts';
import {headersAndParameters, introduction, keysAndJson} from './convention-cases.ts';
import {readPage, type Page} from './document-rows.ts';
import {conditions, sessions} from './exactly-once-cases.ts';
import {codesHeldElsewhere, rowsHeldElsewhere} from './held-elsewhere.ts';
import {leases} from './lease-cases.ts';
import {ranges, transactions} from './range-cases.ts';
import {bounds, browsers, errors} from './refusal-cases.ts';
import {watches} from './watch-cases.ts';

/** In this order, since all use one cluster; the last one ends it. */
const sections = [
  keysAndJson,
  introduction,
  headersAndParameters,
  conditions,
  sessions,
  ranges,
  transactions,
  watches,
  backups,
  membership,
  status,
  leases,
  browsers,
  bounds,
  errors,
];

/** Long enough that a leader which is alone takes a write before it gives up. */
const slowElections = {electionTimeoutMs: 1_500, heartbeatMs: 100};

test('a running cluster does what docs/http-api.md says', {timeout: 480_000}, async t => {
  const page = readPage();
  const tried = new Set<string>();
  const {scene, document} = await setUp(t, page, tried);
  for (const {title, cases} of sections) {
    for (const {rows, run} of cases) {
      await t.test(`${title}: ${rows.join(' · ')}`, () => run(scene));
    }
  }
  await t.test('every route, parameter, header, field and code has been tried', () => {
    const elsewhere = new Set(codesHeldElsewhere.map(({row}) => `code ${row}`));
    const parts = documentedParts(page, document);
    assert.ok(parts.length > 200, `${parts.length} parts`);
    const missing = parts.filter(part => !tried.has(part) && !elsewhere.has(part));
    assert.deepEqual(missing, []);
  });
});

test('every row of docs/http-api.md has a case or a named test', () => {
  const {sections: documented, errors: codes} = readPage();
  const claims = [
    ...sections.flatMap(({title, cases}) =>
      cases.flatMap(({rows}) => rows.map(row => ({section: title, row}))),
    ),
    ...rowsHeldElsewhere,
  ];
  for (const {section, row} of claims) {
    const meant = (documented.get(section) ?? []).filter(text => text.startsWith(row));
    assert.equal(meant.length, 1, `"${row}" is ${meant.length} rows of "${section}"`);
  }
  const missing = [...documented].flatMap(([section, texts]) => {
    const held = claims.filter(claim => claim.section === section).map(({row}) => row);
    return texts.filter(text => !held.some(row => text.startsWith(row)));
  });
  assert.deepEqual(missing, []);
  for (const {row, tests} of [...rowsHeldElsewhere, ...codesHeldElsewhere]) {
    for (const [file, title] of tests) {
      const source = readFileSync(file, 'utf8');
      assert.ok(source.includes(title), `${file} has no "${title}" any more`);
      if (codes.has(row)) assert.ok(source.includes(row), `${file} does not know ${row}`);
    }
  }
  for (const {row} of codesHeldElsewhere) assert.ok(codes.has(row), `${row} is no code`);
});

async function setUp(
  t: TestContext,
  page: Page,
  tried: Set<string>,
): Promise<{readonly scene: Scene; readonly document: Json}> {
  const nodes = await startNodes(t, 3, slowElections);
  const [own = 0, waiting = 0, nobody = 0] = await freePorts(3);
  const soloNode = await start(t, 'solo', own, {corsOrigins: [allowedOrigin]});
  await soloNode.ready;
  const peers = [{id: 'nobody', address: `127.0.0.1:${nobody}`}];
  const startingNode = await start(t, 'waiting', waiting, {peers});
  const answer = await fetch(`http://${soloNode.http}/openapi.json`);
  const document = asObject(await answer.json());
  const apiOf = (...asked: StartedNode[]): CheckedApi => {
    const endpoints = asked.map(({http}) => http);
    const api = new CheckedApi(endpoints, page, document, tried);
    atEnd(t, () => api.close());
    return api;
  };
  const scene = {
    api: apiOf(...nodes),
    nodes,
    solo: apiOf(soloNode),
    soloNode,
    starting: apiOf(startingNode),
  };
  return {scene, document};
}

async function start(
  t: TestContext,
  id: string,
  port: number,
  options: Partial<Parameters<typeof startNode>[0]>,
): Promise<StartedNode> {
  const data = join(temporaryDirectory(t), id);
  const listen = `127.0.0.1:${port}`;
  const node = await startNode({id, listen, http: '127.0.0.1:0', data, ...options});
  atEnd(t, () => node.stop());
  return node;
}
