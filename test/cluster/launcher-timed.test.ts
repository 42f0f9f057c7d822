import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import type {ChildProcess} from 'node:child_process';
import {closeSync, openSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {fileURLToPath} from 'node:url';
import {atEnd} from './at-end.ts';
import {Client, valueOf} from './client.ts';
import {temporaryDirectory} from './cluster.ts';
import {eventually} from './eventually.ts';
import {freePorts, isFree} from './free-ports.ts';
import {killAtExit, mainPath} from './node-process.ts';

const launcherPath = fileURLToPath(new URL('../../src/cli/launcher.js', import.meta.url));

interface Launched {
  readonly process: ChildProcess;
  readonly output: () => string;
  readonly exited: Promise<number | null>;
}

class Ground {
  readonly directory: string;
  readonly listenPort: number;
  readonly httpPort: number;
  readonly clients: readonly Client[];

  constructor(directory: string, ports: readonly number[]) {
    this.directory = directory;
    [this.listenPort = 0] = ports;
    this.httpPort = this.listenPort + 3;
    this.clients = [0, 1, 2].map(i => new Client(this.httpPort + i));
  }

  /** In a process group of its own, as a terminal gives it. */
  launch(): Launched {
    const path = join(this.directory, `launcher-${Date.now()}.log`);
    const log = openSync(path, 'a');
    const flags = [`-listen-port=${this.listenPort}`, `-http-port=${this.httpPort}`, '-data=data'];
    const child = spawn(process.execPath, [launcherPath, ...flags], {
      cwd: this.directory,
      detached: true,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    killAtExit(child);
    const exited = new Promise<number | null>(resolve => child.once('exit', resolve));
    return {process: child, exited, output: () => readFileSync(path, 'utf8')};
  }

  /** The pid that the table shows for a node. */
  pid(launched: Launched, id: string): number {
    const match = new RegExp(`${id} .*localhost:\\d+ +(\\d+) `).exec(launched.output());
    assert.ok(match !== null, launched.output());
    return Number(match[1]);
  }

  async allStopped(deadlineMs: number): Promise<void> {
    await eventually('all nodes to stop', deadlineMs, async () => {
      const ports = [0, 1, 2, 3, 4, 5].map(i => isFree(this.listenPort + i));
      return (await Promise.all(ports)).every(free => free) ? true : null;
    });
  }
}

async function ground(t: TestContext): Promise<Ground> {
  // Six in a row, and hopefully nobody in between.
  for (let attempt = 0; attempt < 50; attempt++) {
    const ports = await freePorts(6);
    if (ports.every((port, i) => port === (ports[0] ?? 0) + i)) {
      const made = new Ground(temporaryDirectory(t), ports);
      atEnd(t, () => {
        for (const client of made.clients) client.close();
      });
      return made;
    }
  }
  throw new Error('no six free ports in a row');
}

async function running(launched: Launched): Promise<void> {
  await eventually('the table of nodes', 30_000, () => {
    if (launched.process.exitCode !== null) throw new Error(launched.output());
    return launched.output().includes('Ctrl-C') ? true : null;
  });
}

/** What a terminal does on Ctrl-C: launcher and nodes get the signal at once. */
function controlC(launched: Launched): void {
  const {pid} = launched.process;
  assert.ok(pid !== undefined);
  process.kill(-pid, 'SIGINT');
}

test(
  'three nodes come up, survive a kill -9 of one, take it back, and stop at Ctrl-C with their data kept',
  {timeout: 180_000},
  async t => {
    const here = await ground(t);
    const launched = here.launch();
    await running(launched);
    const table = launched.output();
    for (const id of ['node1', 'node2', 'node3']) assert.match(table, new RegExp(`^ *${id} `, 'm'));
    assert.match(table, /curl -X PUT http:\/\/localhost:\d+\/kv -d/);
    const [first, second, third] = here.clients;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    assert.equal((await first.put('hello', 'world')).type, 'ok');

    process.kill(here.pid(launched, 'node2'), 'SIGKILL');
    const command = await eventually('node2 to be shown as dead', 10_000, () => {
      if (!/node2 is dead/.test(launched.output())) return null;
      return /^ *\.\/rosetta (-id=node2 .*)$/m.exec(launched.output())?.[1] ?? null;
    });
    await eventually('the others to go on', 10_000, async () =>
      (await third.put('hello', 'again')).type === 'ok' ? true : null,
    );
    const revived = spawn(process.execPath, [mainPath, ...command.split(' ')], {
      cwd: here.directory,
      stdio: 'ignore',
    });
    killAtExit(revived);
    const revivedExit = new Promise<number | null>(resolve => revived.once('exit', resolve));
    await eventually('node2 to be shown as back', 15_000, () =>
      /node2 is back/.test(launched.output()) ? true : null,
    );
    assert.equal(valueOf(await second.get('hello')), 'again');

    // In the user's second terminal.
    revived.kill('SIGINT');
    assert.equal(await revivedExit, 0);
    const startedAt = performance.now();
    controlC(launched);
    assert.equal(await launched.exited, 0, launched.output());
    assert.ok(performance.now() - startedAt < 2_000, 'Ctrl-C took more than two seconds');
    await here.allStopped(100);

    const again = here.launch();
    await running(again);
    for (const client of here.clients) assert.equal(valueOf(await client.get('hello')), 'again');
    controlC(again);
    assert.equal(await again.exited, 0, again.output());
    await here.allStopped(100);
  },
);

test('nodes end with their launcher, however it ends', {timeout: 120_000}, async t => {
  const here = await ground(t);
  const launched = here.launch();
  await running(launched);
  assert.equal((await here.clients[0]?.put('k', 'v'))?.type, 'ok');
  launched.process.kill('SIGKILL');
  await launched.exited;
  await here.allStopped(5_000);
  const again = here.launch();
  await running(again);
  const outcome = await here.clients[1]?.get('k');
  assert.ok(outcome !== undefined);
  assert.equal(valueOf(outcome), 'v');
  // A second cluster on the same ports is refused and does not disturb the first.
  const second = here.launch();
  assert.equal(await second.exited, 1);
  assert.match(second.output(), /^rosetta: localhost:\d+ is in use.*\n$/);
  assert.equal((await here.clients[2]?.put('k', 'w'))?.type, 'ok');
  again.process.kill('SIGTERM');
  assert.equal(await again.exited, 0, again.output());
  await here.allStopped(100);
});
