import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import test from 'node:test';
import {UsageError} from '../usage-error.ts';
import type {VerbSurroundings} from './verb.ts';
import {findVerb, runVerb, verbs} from './verb-table.ts';

interface Ran {
  readonly code: number;
  readonly printed: string;
}

async function run(words: readonly string[], input = ''): Promise<Ran> {
  let printed = '';
  const surroundings: VerbSurroundings = {
    env: {},
    output: {
      print: content => void (printed += String(content)),
      drained: () => Promise.resolve(),
      note: () => undefined,
      isTerminal: false,
      isNoteTerminal: false,
      columnCount: Infinity,
    },
    isAtTerminal: false,
    input: async function* () {
      await Promise.resolve();
      yield Buffer.from(input);
    },
    onSignal: () => undefined,
  };
  const found = findVerb(words);
  assert.ok(found !== null);
  return {code: await runVerb(found, surroundings), printed};
}

test('docs/cli.md lists every verb', () => {
  const text = readFileSync('docs/cli.md', 'utf8');
  const section = text.slice(text.indexOf('## Verbs'), text.indexOf('## Output'));
  const rows = [...section.matchAll(/^\| `(.+)` \| (.+) \|$/gm)].map(([, verb, what]) => [
    verb,
    what,
  ]);
  assert.deepEqual(
    rows,
    verbs.map(({name, operands, summary}) => [
      [name, ...operands].join(' ').replaceAll('|', '\\|'),
      summary,
    ]),
  );
});

test('a verb of two words comes before one of its first word', () => {
  assert.equal(findVerb(['members', 'add', 'x', 'y:1'])?.verb.name, 'members add');
  assert.equal(findVerb(['members', '-json'])?.verb.name, 'members');
  assert.equal(findVerb(['-id=node1']), null);
  assert.equal(findVerb([]), null);
  assert.throws(
    () => findVerb(['lease']),
    /needs a second word: .*lease grant or .*lease keepalive/,
  );
  assert.throws(() => findVerb(['gett', 'x']), /there is no verb "gett"/);
  assert.equal(findVerb(['lease', '-help'])?.verb.name, 'lease');
});

test('wrong usage is refused before anything is sent', async () => {
  for (const [words, reason, input] of [
    [['get'], /needs KEY/],
    [['get', ''], /at least one byte/],
    [['get', 'x'.repeat(1025)], /at most 1024 bytes, not 1025/],
    [['get', 'x=', '-key-base64'], /is not base64/],
    [['get', 'x', '-revision=0'], /must be a whole number/],
    [['get', 'x', '-consistency=some'], /must be linearizable or local/],
    [['put', 'x'], /the value is missing/],
    [['put', 'x', 'y', '-file=z'], /leave one of them out/],
    [['put', 'x', 'y', '-if-absent', '-if-revision=3'], /at most one condition/],
    [['put', 'x', 'y', '-ttl=3', '-lease=4'], /exclude each other/],
    [['put', 'x', 'y', '-ttl=forever'], /must be seconds/],
    [['put', 'x', 'y', '-timeout=0'], /-timeout=0 must be seconds/],
    [['del'], /needs one of/],
    [['del', 'x', '-prefix=x'], /needs one of/],
    [['del', '-prefix='], /would delete every key/],
    [['ls', 'a', '-end=b'], /a range is a PREFIX, or/],
    [['watch'], /needs KEY or -prefix/],
    [['watch', 'x', '-prefix=x'], /needs KEY or -prefix/],
    [['txn'], /is not JSON/, '{'],
    [['txn'], /no field "comapre"/, '{"comapre":[]}'],
    [['txn'], /success\[0\] must be exactly one of/, '{"success":[{}]}'],
    [['txn'], /success\[0\]\.get\.key must be text/, '{"success":[{"get":{"key":1}}]}'],
    [['txn'], /compare\[0\]\.op must be/, '{"compare":[{"key":"a","target":"value"}]}'],
    [
      ['txn'],
      /compare\[0\]\.target must be/,
      '{"compare":[{"key":"a","target":"ttl","op":"=","value":1}]}',
    ],
    [['txn'], /base64/, '{"success":[{"get":{"key":"=","keyEncoding":"base64"}}]}'],
    [['lease', 'grant', 'x'], /must be seconds/],
    [['lock', 'x'], /needs -- COMMAND/],
    [['lock', 'x', 'ls', '-l'], /no flag -l/],
    [['bench', '-clients=0'], /from 1 to 1024/],
    [['completion', 'fish'], /knows bash and zsh/],
    [['status', '-endpoints=,'], /names no node/],
  ] as const) {
    await assert.rejects(
      run(words, input),
      (error: unknown) => error instanceof UsageError && reason.test(error.message),
      words.join(' '),
    );
  }
});

test('-help is the verb’s own, unless it belongs to the command of a lock', async () => {
  const {code, printed} = await run(['lock', '-help']);
  assert.equal(code, 0);
  assert.match(printed, /^Usage: \.\/rosetta lock NAME -- COMMAND… \[flags\]/);
  const words = ['lock', 'x', '-endpoints=127.0.0.1:1', '-timeout=0.05', '--', 'ls', '-help'];
  await assert.rejects(run(words), /NO_ENDPOINT/);
});

test('with -json a failure is JSON too', async () => {
  const {findLast} = await failure([
    'get',
    'x',
    '-endpoints=127.0.0.1:1',
    '-timeout=0.05',
    '-json',
  ]);
  const {error} = JSON.parse(findLast) as {error: {code: string; outcome: string}};
  assert.equal(error.code, 'NO_ENDPOINT');
  assert.equal(error.outcome, 'definite');
});

async function failure(words: readonly string[]): Promise<{readonly findLast: string}> {
  let findLast = '';
  const found = findVerb(words);
  assert.ok(found !== null);
  const output = {
    print: (content: string | Uint8Array) => void (findLast = String(content)),
    drained: () => Promise.resolve(),
    note: () => undefined,
    isTerminal: false,
    isNoteTerminal: false,
    columnCount: Infinity,
  };
  const input = (): AsyncIterable<Uint8Array> => assert.fail('nothing is read');
  const surroundings = {env: {}, output, isAtTerminal: false, input, onSignal: () => undefined};
  await assert.rejects(runVerb(found, surroundings), {code: 'NO_ENDPOINT'});
  return {findLast};
}

/** What bash offers for the last of `words`. */
function offered(script: string, words: readonly string[]): string[] {
  const list = words.map(word => `'${word}'`).join(' ');
  const ask = `COMP_WORDS=(rosetta ${list}); COMP_CWORD=${words.length}; _rosetta`;
  const text = execFileSync('bash', ['-c', `${script}\n${ask}; printf '%s\\n' "\${COMPREPLY[@]}"`]);
  return text.toString().split('\n').filter(Boolean);
}

test('bash completes verbs, second words and flags', async () => {
  const {printed: script} = await run(['completion', 'bash']);
  assert.deepEqual(offered(script, ['l']), ['ls', 'lease', 'lock', 'leader']);
  const seconds = ['grant', 'keepalive', 'revoke', 'get', 'list'];
  assert.deepEqual(offered(script, ['lease', '']), seconds);
  assert.deepEqual(offered(script, ['members', 'a']), ['add']);
  assert.deepEqual(offered(script, ['put', 'key', '-if']), [
    '-if-absent',
    '-if-exists',
    '-if-revision=',
  ]);
  assert.deepEqual(offered(script, ['lease', 'keepalive', '-f']), ['-forever']);
  assert.deepEqual(offered(script, ['put', 'key', '']), [], 'files are the shell’s business');
});

test('the script for zsh answers whether it is sourced or loaded from $fpath', async () => {
  const {printed: script} = await run(['completion', 'zsh']);
  assert.match(script, /^#compdef rosetta\n/);
  // Loaded, the whole script is the function's body: without the call its first answer is empty.
  assert.match(
    script,
    /\nif \[\[ \$funcstack\[1\] == _rosetta \]\]; then\n {2}_rosetta "\$@"\nelse\n {2}compdef _rosetta rosetta\nfi\n$/,
  );
});

test('every verb and flag is in both scripts', async () => {
  for (const shell of ['bash', 'zsh']) {
    const {printed: script} = await run(['completion', shell]);
    for (const {name, flags} of verbs) {
      assert.ok(script.includes(name.includes(' ') ? `'${name}')` : `'${name} '*)`), name);
      for (const flag of Object.keys(flags)) assert.ok(script.includes(`-${flag}`), flag);
    }
  }
});
