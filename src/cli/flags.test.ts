import assert from 'node:assert/strict';
import test from 'node:test';
import type {ServerFlags} from './flags.ts';
import {helpText, parseFlags} from './flags.ts';
import {UsageError} from './usage-error.ts';

interface Given {
  readonly env?: Record<string, string>;
  readonly file?: string;
}

const base = ['-id=node1', '-listen=localhost:8080', '-http=localhost:9080'];

function parse(args: readonly string[], given: Given = {}): ServerFlags {
  const readFile = (path: string): string => {
    if (given.file === undefined) throw new Error(`no such file: ${path}`);
    return given.file;
  };
  const parsed = parseFlags({args, env: given.env ?? {}, readFile});
  assert.equal(parsed.type, 'server');
  return parsed.flags;
}

function refusal(args: readonly string[], given: Given = {}): string {
  try {
    parse(args, given);
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    assert.ok(!error.message.includes('\n'), 'one line');
    return error.message;
  }
  return assert.fail('accepted');
}

test('three flags make a server, everything else has a default', () => {
  assert.deepEqual(parse(base), {
    id: 'node1',
    listen: 'localhost:8080',
    http: 'localhost:9080',
    peers: [],
    data: './rosetta-data/node1',
    join: null,
    rejoin: false,
    advertiseListen: 'localhost:8080',
    advertiseHttp: 'localhost:9080',
    electionTimeoutMs: 150,
    heartbeatMs: 50,
    corsOrigins: [],
    historyAgeMs: 3_600_000,
    historySizeBytesMax: 1024 * 1024 * 1024,
    walSegmentSizeBytes: 16 * 1024 * 1024,
    logRetentionSizeBytesMax: 256 * 1024 * 1024,
    logLevel: 'info',
  });
});

test('a flag takes one dash or two, an equals sign or a space', () => {
  const flags = parse(['-id', 'a', '--listen', ':8080', '--http=[::1]:9080', '-data', '-odd']);
  assert.equal(flags.id, 'a');
  assert.equal(flags.listen, ':8080');
  assert.equal(flags.http, '[::1]:9080');
  assert.equal(flags.data, '-odd');
});

test('peers are id:host:port, IPv6 included', () => {
  const {peers} = parse([...base, '-peers=node2:localhost:8081, node3:[::1]:8082']);
  assert.deepEqual(peers, [
    {id: 'node2', address: 'localhost:8081'},
    {id: 'node3', address: '[::1]:8082'},
  ]);
});

test('a flag comes before the environment, the environment before the file', () => {
  const file =
    '{"heartbeat": 20, "log-level": "warn", "data": "/file", "peers": ["b:h:1", "c:h:2"]}';
  const env = {ROSETTA_LOG_LEVEL: 'error', ROSETTA_DATA: '/env', ROSETTA_CONFIG: 'x.json'};
  const flags = parse([...base, '-data=/flag'], {env, file});
  assert.equal(flags.data, '/flag');
  assert.equal(flags.logLevel, 'error');
  assert.equal(flags.heartbeatMs, 20);
  assert.equal(flags.peers.length, 2);
});

test('the environment alone makes a server', () => {
  const addresses = {ROSETTA_LISTEN: 'h:1', ROSETTA_HTTP: ':2', ROSETTA_JOIN: 'h:3'};
  const env = {ROSETTA_ID: 'e', ...addresses, ROSETTA_REJOIN: '1'};
  assert.equal(parse([], {env}).id, 'e');
  assert.equal(parse([], {env}).rejoin, true);
});

test('help and version win over everything else', () => {
  const sources = {env: {}, readFile: () => ''};
  assert.equal(parseFlags({...sources, args: ['-help', '-id=x']}).type, 'help');
  assert.equal(parseFlags({...sources, args: ['--version']}).type, 'version');
});

const refused: readonly [string, readonly string[], RegExp][] = [
  ['a missing id', ['-listen=:1', '-http=:2'], /-id is missing/],
  ['a missing address', ['-id=a', '-http=:2'], /-listen is missing/],
  ['an unknown flag', [...base, '-colour=red'], /no flag -colour/],
  ['a bare word', ['serve'], /"serve" is not a flag/],
  ['a flag given twice', [...base, '-id=b'], /-id is given twice/],
  ['a flag without its value', [...base, '-data'], /-data needs a value/],
  ['an empty directory for the data', [...base, '-data='], /-data needs a value/],
  [
    'every interface as the address of a member',
    ['-id=a', '-listen=:1', '-http=:2', '-peers=b:h:1'],
    /-listen=:1 is every interface.*-advertise-listen/,
  ],
  [
    'every interface as where a member is found',
    ['-id=a', '-listen=:1', '-http=:2', '-join=h:1', '-advertise-listen=[0:0::0]:1'],
    /-advertise-listen=\[0:0::0\]:1 is every interface/,
  ],
  [
    'every interface of a member that joins',
    ['-id=a', '-listen=0.0.0.0:1', '-http=:2', '-join=h:1'],
    /every interface/,
  ],
  ['a flag whose value is the next flag', ['-id', '-listen=:1'], /-id needs a value/],
  ['an id with other characters', ['-id=a/b', ...base.slice(1)], /letters, digits/],
  ['an address without port', ['-id=a', '-listen=localhost', '-http=:2'], /not an address/],
  ['a port too large', ['-id=a', '-listen=:70000', '-http=:2'], /not an address/],
  ['one address for both', ['-id=a', '-listen=:1', '-http=:1'], /two ports/],
  ['itself as a peer', [...base, '-peers=node1:h:1'], /this node itself/],
  ['its own address as a peer', ['-id=a', '-listen=h:1', '-http=h:2', '-peers=b:h:1'], /own/],
  ['one peer twice', [...base, '-peers=b:h:1,b:h:2'], /names b twice/],
  ['one peer address twice', [...base, '-peers=b:h:1,c:h:1'], /h:1 twice/],
  ['peers that name nobody', [...base, '-peers='], /-peers names nobody/],
  ['a peer without id', [...base, '-peers=localhost:8081'], /not id:host:port/],
  [
    'too many peers',
    [...base, `-peers=${'bcdefgh'.replace(/./g, c => `${c}:${c}:1,`)}`],
    /at most 7/,
  ],
  ['join beside peers', [...base, '-peers=b:h:1', '-join=h:1'], /exclude each other/],
  ['a time that is no number', [...base, '-election-timeout=1s'], /whole number/],
  ['a heartbeat too slow', [...base, '-heartbeat=100'], /at most half/],
  ['a level that does not exist', [...base, '-log-level=loud'], /one of debug/],
  ['an origin with a path', [...base, '-cors-origin=https://a/b'], /not an origin/],
  ['nobody to ask for a rejoin', [...base, '-rejoin'], /-rejoin needs -join or -peers/],
  ['itself to join', [...base, '-join=localhost:8080'], /is the -listen address of this node/],
  ['a switch with another value', [...base, '-rejoin=maybe'], /^-rejoin=maybe must be true/],
];

test('every interface may be bound by a node alone, and by one that says where it is found', () => {
  assert.equal(parse(['-id=a', '-listen=:1', '-http=:2']).advertiseListen, ':1');
  const member = ['-id=a', '-listen=[::]:1', '-http=:2', '-peers=b:h:1', '-advertise-listen=me:1'];
  assert.equal(parse(member).advertiseListen, 'me:1');
});

for (const [what, args, message] of refused) {
  test(`it refuses ${what}`, () => {
    assert.match(refusal(args), message);
  });
}

test('a refusal is one line and no control sequence, whatever was typed', () => {
  const typed = 'two\nlines\r\u2028 \u001b[31m';
  const flags = ['id', 'listen', 'http', 'advertise-http', 'election-timeout', 'log-level'];
  for (const name of [...flags, 'rejoin', 'cors-origin', 'peers', 'join', 'config']) {
    const others = base.filter(word => !word.startsWith(`-${name}=`));
    const message = refusal([...others, `-${name}=${typed}`]);
    assert.match(message, /two.*lines/, name);
    assert.doesNotMatch(message, /[\p{Cc}\u2028\u2029]/u, name);
  }
});

test('it refuses a config file that is missing, no JSON, or has unknown settings', () => {
  const args = [...base, '-config=c.json'];
  assert.match(refusal(args), /-config=c.json cannot be read: no such file/);
  assert.match(refusal(args, {file: '{'}), /cannot be read/);
  assert.match(refusal(args, {file: '[]'}), /JSON object/);
  assert.match(refusal(args, {file: '{"__proto__x": 1}'}), /no setting "__proto__x"/);
  assert.match(refusal(args, {file: '{"id": {}}'}), /must be a string/);
});

test('the help names every public flag and none of the hidden ones', () => {
  const text = helpText();
  for (const name of ['id', 'listen', 'http', 'peers', 'data', 'join', 'config', 'version']) {
    assert.ok(text.includes(`  -${name}`), name);
  }
  assert.ok(!text.includes('test-'));
});
