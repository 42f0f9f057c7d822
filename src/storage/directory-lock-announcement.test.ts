import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import type {ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {announce} from './directory-lock-announcement.ts';
import type {AnnounceOutcome, Announcement} from './directory-lock-announcement.ts';

function announced(directory: string): Promise<AnnounceOutcome> {
  return new Promise(resolve => announce(directory, resolve));
}

async function alone(directory: string): Promise<Announcement> {
  const outcome = await announced(directory);
  assert.equal(outcome.type, 'alone', JSON.stringify(outcome));
  return outcome.announcement;
}

/** Those that run still; a test that fails leaves none behind. */
const children = new Set<ChildProcess>();

function withTemporary(body: (directory: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'rosetta-announcement-'));
    try {
      await body(directory);
    } finally {
      for (const child of children) child.kill('SIGKILL');
      fs.rmSync(directory, {recursive: true, force: true});
    }
  };
}

/** A process that announces itself and stays; its outcome is the first thing it writes. */
async function announcer(directory: string): Promise<{child: ChildProcess; outcome: string}> {
  const module = new URL('./directory-lock-announcement.js', import.meta.url).href;
  const script = `
    import {announce} from ${JSON.stringify(module)};
    announce(${JSON.stringify(directory)}, outcome => {
      process.stdout.write(outcome.type);
      setInterval(() => undefined, 1000);
    });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
  return {child, outcome: chunk.toString()};
}

async function kill9(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

test(
  'a second one meets the first, and is alone after its withdrawal',
  withTemporary(async directory => {
    const first = await alone(directory);
    assert.equal((await announced(directory)).type, 'met');
    assert.equal(fs.readdirSync(directory).length, 1, 'who meets another leaves no name behind');
    first.withdraw();
    assert.deepEqual(fs.readdirSync(directory), []);
    (await alone(directory)).withdraw();
  }),
);

test(
  'of processes that come and go at the same time never two are alone together',
  {timeout: 60_000},
  withTemporary(async directory => {
    const marker = `${directory}-marker`;
    const outcomes = await Promise.all([1, 2, 3].map(() => contender(directory, marker, 150)));
    for (const outcome of outcomes) assert.deepEqual(outcome.faults, []);
    const sum = outcomes.reduce((total, outcome) => total + outcome.aloneCount, 0);
    assert.ok(sum > 0, 'nobody was ever alone');
    assert.deepEqual(fs.readdirSync(directory), []);
  }),
);

/** Announces itself again and again; while it is alone `marker` is its own. */
async function contender(
  directory: string,
  marker: string,
  rounds: number,
): Promise<{aloneCount: number; faults: readonly string[]}> {
  const module = new URL('./directory-lock-announcement.js', import.meta.url).href;
  const script = `
    import {randomInt} from 'node:crypto';
    import fs from 'node:fs';
    import {setTimeout as pause} from 'node:timers/promises';
    import {announce} from ${JSON.stringify(module)};
    const faults = [];
    let aloneCount = 0;
    for (let round = 0; round < ${rounds}; round++) {
      const outcome = await new Promise(resolve => announce(${JSON.stringify(directory)}, resolve));
      if (outcome.type === 'alone') {
        aloneCount++;
        try {
          fs.mkdirSync(${JSON.stringify(marker)});
          await pause(randomInt(3));
          fs.rmdirSync(${JSON.stringify(marker)});
        } catch (error) {
          faults.push(String(error));
        }
        outcome.announcement.withdraw();
      } else if (outcome.type !== 'met') {
        faults.push(JSON.stringify(outcome));
      }
      await pause(randomInt(6));
    }
    process.stdout.write(JSON.stringify({aloneCount, faults}));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await once(child, 'close');
  return JSON.parse(said) as {aloneCount: number; faults: readonly string[]};
}

test(
  'a process that is stopped is met, however many wait for it; one that was killed is not',
  withTemporary(async directory => {
    const {child} = await announcer(directory);
    child.kill('SIGSTOP');
    const [name = ''] = fs.readdirSync(directory);
    const crowd: net.Socket[] = [];
    // Until the queue of the socket is full: then the kernel answers instead of it.
    for (let isFull = false; !isFull;) {
      const socket = net.connect({path: path.join(directory, name)});
      crowd.push(socket);
      isFull = await new Promise<boolean>(resolve => {
        socket.once('connect', () => resolve(false));
        socket.once('error', () => resolve(true));
      });
      assert.ok(crowd.length < 10_000);
    }
    assert.equal((await announced(directory)).type, 'met');
    await kill9(child);
    (await alone(directory)).withdraw();
    for (const socket of crowd) socket.destroy();
  }),
);

test(
  'a name that is unfinished is passed by, and removed when its process is dead',
  withTemporary(async directory => {
    const late = net.createServer();
    const [living, dead] = ['00000000000000aa.new', '00000000000000bb.new'];
    await new Promise<void>(resolve => late.listen(path.join(directory, living), resolve));
    fs.writeFileSync(path.join(directory, dead), '');
    const announcement = await alone(directory);
    assert.ok(fs.existsSync(path.join(directory, living)));
    assert.ok(!fs.existsSync(path.join(directory, dead)));
    announcement.withdraw();
    late.close();
  }),
);

test(
  "a file that is no announcement stays, and is nobody's",
  withTemporary(async directory => {
    fs.writeFileSync(path.join(directory, 'README'), 'x');
    (await alone(directory)).withdraw();
    assert.deepEqual(fs.readdirSync(directory), ['README']);
  }),
);

test(
  'a path longer than that of a socket may be is no obstacle',
  withTemporary(async directory => {
    const deep = path.join(directory, 'd'.repeat(120), 'e'.repeat(120));
    fs.mkdirSync(deep, {recursive: true});
    const first = await alone(deep);
    assert.equal((await announced(deep)).type, 'met');
    const {child, outcome} = await announcer(deep);
    assert.equal(outcome, 'met');
    await kill9(child);
    first.withdraw();
    (await alone(deep)).withdraw();
  }),
);

test(
  'a directory that is moved takes its holder along',
  withTemporary(async directory => {
    const [before, after] = [path.join(directory, 'before'), path.join(directory, 'after')];
    fs.mkdirSync(before);
    const first = await alone(before);
    fs.renameSync(before, after);
    assert.equal((await announced(after)).type, 'met');
    first.withdraw();
    assert.deepEqual(fs.readdirSync(after), []);
  }),
);

test('without a directory there is no announcement', async () => {
  const outcome = await announced('/nowhere/at/all');
  assert.ok(outcome.type === 'failed');
  assert.match(outcome.error.message, /ENOENT/);
});

test('where no socket can be made nobody is alone', async () => {
  // The kernel's own directory takes no new names, not even from root.
  const outcome = await announced('/sys');
  assert.ok(outcome.type === 'unheard' || outcome.type === 'failed', outcome.type);
});
