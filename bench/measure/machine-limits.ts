/** What this machine could do at best: its disk, its loopback, and node:http on its own. */
import fs from 'node:fs';
import net from 'node:net';
import type {AddressInfo} from 'node:net';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {must} from '../../src/base/assert.ts';
import {percentile} from '../load/load-figures.ts';
import {defaultWorkload} from '../load/wrk-script.ts';
import {runWrk} from '../load/wrk.ts';
import type {MachineLimits} from '../report/results.ts';
import {ServerProcess} from '../systems/child-process.ts';
import {pollFor} from '../systems/poll.ts';
import type {BenchContext} from './bench-context.ts';
import {connectionCounts} from './throughput.ts';

const echoProgram = fileURLToPath(new URL('../http-echo-server.js', import.meta.url));
const blockSizeBytes = 4096;

export async function measureMachineLimits(context: BenchContext): Promise<MachineLimits> {
  const sampleCount = context.options.isQuick ? 1_000 : 5_000;
  const disk = measureFdatasync(context.directory('fdatasync'), sampleCount);
  const loopback = await measureLoopback(sampleCount);
  const limits: MachineLimits = {
    fdatasyncP50Us: percentile(disk, 0.5),
    fdatasyncP99Us: percentile(disk, 0.99),
    loopbackP50Us: percentile(loopback, 0.5),
    loopbackP99Us: percentile(loopback, 0.99),
    httpEcho: context.has('wrk') ? await measureHttpEcho(context) : [],
  };
  context.say(
    `limits: fdatasync p50 ${limits.fdatasyncP50Us.toFixed(0)} µs, loopback echo p50 ` +
      `${limits.loopbackP50Us.toFixed(0)} µs, node:http ` +
      limits.httpEcho.map(row => `${Math.round(row.requestsPerSecond)}/s`).join(', '),
  );
  return limits;
}

/** Microseconds per write and sync, into blocks that exist already, as the log does it. */
function measureFdatasync(directory: string, sampleCount: number): Float64Array {
  const file = fs.openSync(path.join(directory, 'blocks'), 'w');
  const block = Buffer.alloc(blockSizeBytes, 1);
  for (let i = 0; i < sampleCount; i++) fs.writeSync(file, block, 0, block.length);
  fs.fsyncSync(file);
  const samples = new Float64Array(sampleCount);
  for (let i = 0; i < sampleCount; i++) {
    block.fill(i);
    const startedAtMs = performance.now();
    fs.writeSync(file, block, 0, block.length, i * blockSizeBytes);
    fs.fdatasyncSync(file);
    samples[i] = (performance.now() - startedAtMs) * 1000;
  }
  fs.closeSync(file);
  return samples;
}

async function measureLoopback(sampleCount: number): Promise<Float64Array> {
  const server = net.createServer({noDelay: true}, socket => socket.pipe(socket));
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const {port} = server.address() as AddressInfo;
  const samples = new Float64Array(sampleCount);
  const message = Buffer.alloc(128);
  await new Promise<void>((resolve, reject) => {
    const socket = net.connect({port, host: '127.0.0.1', noDelay: true});
    let count = 0;
    let sentAtMs = 0;
    const send = (): void => {
      sentAtMs = performance.now();
      socket.write(message);
    };
    socket.on('connect', send);
    socket.on('error', reject);
    socket.on('data', () => {
      samples[count++] = (performance.now() - sentAtMs) * 1000;
      if (count < sampleCount) send();
      else {
        socket.destroy();
        resolve();
      }
    });
  });
  server.close();
  return samples;
}

async function measureHttpEcho(context: BenchContext): Promise<MachineLimits['httpEcho']> {
  const logPath = path.join(context.directory('echo'), 'port');
  const server = new ServerProcess(process.execPath, [echoProgram], {logPath});
  const port = await pollFor('the echo server', {intervalMs: 20, deadlineMs: 10_000}, () => {
    const text = fs.readFileSync(logPath, 'utf8');
    return Promise.resolve(text.endsWith('\n') ? Number(text) : null);
  });
  const rows: MachineLimits['httpEcho'][number][] = [];
  const durationSeconds = context.options.secondsPerRound;
  for (const connectionCount of connectionCounts) {
    const load = {port, connectionCount, durationSeconds};
    const figures = await runWrk(load, defaultWorkload, context.scratchDirectory);
    rows.push({...figures, connectionCount});
  }
  await server.kill9();
  return must(rows.length > 0 ? rows : null, 'it was measured');
}
