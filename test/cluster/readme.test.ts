/**
 * The README's examples, literally: the first fenced block of its section "Examples" is the one
 * node, the second the three nodes, the third the curl calls. Uses the ports that are printed
 * there.
 */
import assert from 'node:assert/strict';
import {execFile, spawn} from 'node:child_process';
import type {ChildProcess} from 'node:child_process';
import {closeSync, existsSync, openSync, readFileSync, symlinkSync} from 'node:fs';
import {request} from 'node:http';
import {dirname, join} from 'node:path';
import {test} from 'node:test';
import {fileURLToPath} from 'node:url';
import {temporaryDirectory} from './cluster.ts';
import {eventually} from './eventually.ts';
import {isFree} from './free-ports.ts';
import {killAtExit} from './node-process.ts';

const root = projectRoot();
const apiPorts = [9080, 9081, 9082] as const;

interface Examples {
  readonly single: readonly string[];
  readonly cluster: readonly string[];
  readonly curl: readonly string[];
}

function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('no package.json above the test');
    folder = parent;
  }
  return folder;
}

/** Commands of all shell blocks, sorted by what they are; continued lines joined. */
function readExamples(): Examples {
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  const blocks = [...text.matchAll(/^```(?:sh|bash)\n(.*?)^```/gms)].map(match => match[1] ?? '');
  const lines = blocks
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map(line =>
      line
        .replace(/^\$ /, '')
        .replace(/\s+#.*$/, '')
        .trim(),
    );
  const servers = lines.filter(line => line.startsWith('./rosetta -id='));
  return {
    single: servers.filter(line => !line.includes('-peers=')),
    cluster: servers.filter(line => line.includes('-peers=')),
    curl: lines.filter(line => line.startsWith('curl ')),
  };
}

class Terminal {
  readonly #child: ChildProcess;
  readonly #log: string;
  readonly exited: Promise<number | null>;

  constructor(directory: string, command: string) {
    this.#log = join(directory, `terminal-${process.hrtime.bigint()}.log`);
    const log = openSync(this.#log, 'a');
    const [program = '', ...args] = command.split(' ');
    this.#child = spawn(program, args, {cwd: directory, stdio: ['ignore', log, log]});
    closeSync(log);
    killAtExit(this.#child);
    this.exited = new Promise(resolve => this.#child.once('exit', resolve));
  }

  output(): string {
    return readFileSync(this.#log, 'utf8');
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null;
  }

  async controlC(): Promise<number | null> {
    this.#child.kill('SIGINT');
    return this.exited;
  }
}

async function ready(terminal: Terminal, port: number): Promise<void> {
  await eventually(`port ${port} to be ready`, 60_000, async () => {
    if (terminal.hasEnded) throw new Error(terminal.output());
    const status = await new Promise<number>((resolve, reject) => {
      request(`http://localhost:${port}/readyz`, response => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
        .on('error', reject)
        .end();
    });
    return status === 200 ? true : null;
  });
}

/** Runs a line of the README in a shell; with `-i` for the status, where curl is at hand. */
function shell(directory: string, command: string): Promise<{status: number; body: string}> {
  return new Promise((resolve, reject) => {
    const line = command.replace(/^curl /, 'curl -sS -w "\\n%{http_code}" ');
    execFile('sh', ['-c', line], {cwd: directory, timeout: 120_000}, (error, stdout) => {
      if (error !== null) {
        reject(new Error(`${line}: ${error.message}`, {cause: error}));
        return;
      }
      const at = stdout.lastIndexOf('\n');
      resolve({status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at)});
    });
  });
}

test("the README's examples work as they are printed", {timeout: 360_000}, async t => {
  const {single, cluster, curl} = readExamples();
  assert.equal(single.length, 1, 'one line that starts one node');
  assert.equal(cluster.length, 3, 'three lines that start three nodes');
  assert.ok(curl.length >= 5, 'five curl calls');
  for (const port of [8080, 8081, 8082, ...apiPorts]) {
    assert.ok(await isFree(port), `port ${port}, which the README uses, is busy on this machine`);
  }
  const directory = temporaryDirectory(t);
  symlinkSync(join(root, 'rosetta'), join(directory, 'rosetta'));

  const alone = new Terminal(directory, single[0] ?? '');
  await ready(alone, 9080);
  const kept = `curl -X PUT http://localhost:9080/kv -d '{"key":"kept","value":"from node1"}'`;
  assert.equal((await shell(directory, kept)).status, 200);
  assert.equal(await alone.controlC(), 0, alone.output());

  const three = cluster.map(command => new Terminal(directory, command));
  for (const [i, terminal] of three.entries()) await ready(terminal, apiPorts[i] ?? 0);
  for (const port of apiPorts) {
    const answer = await shell(directory, `curl http://localhost:${port}/kv/kept`);
    assert.equal(answer.status, 200, `node1's data at port ${port}`);
    assert.equal((JSON.parse(answer.body) as {value: string}).value, 'from node1');
    await checkCalls(directory, curl, port);
  }
  for (const terminal of three) assert.equal(await terminal.controlC(), 0, terminal.output());
});

/** Every curl line of the README, in its order, but against the node at `port`. */
async function checkCalls(
  directory: string,
  lines: readonly string[],
  port: number,
): Promise<void> {
  const seen = new Set<string>();
  for (const line of lines) {
    const aimed = line.replace(/localhost:908\d/g, `localhost:${port}`);
    const {status, body} = await shell(directory, aimed);
    assert.equal(status, 200, `${aimed}: ${body}`);
    const answer = JSON.parse(body) as Readonly<Record<string, unknown>>;
    if (aimed.includes('-X PUT') && aimed.includes('"hello"')) {
      seen.add('put');
      assert.equal(answer['key'], 'hello');
    } else if (aimed.includes('-X DELETE')) {
      seen.add('delete');
      assert.equal(answer['deleted'], 1);
    } else if (aimed.endsWith('/kv/hello')) {
      seen.add('get');
      assert.equal(answer['value'], 'world');
    } else if (aimed.endsWith('/status')) {
      seen.add('status');
      assert.equal(typeof answer['commitIndex'], 'number');
    } else if (aimed.endsWith('/leader')) {
      seen.add('leader');
      assert.match(String(answer['id']), /^node[123]$/);
    }
  }
  assert.deepEqual([...seen].sort(), ['delete', 'get', 'leader', 'put', 'status']);
}
