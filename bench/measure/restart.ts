/** How long a node, and a whole cluster, takes to serve again after SIGKILL with many keys. */
import {must} from '../../src/base/assert.ts';
import {keyName} from '../load/wrk-script.ts';
import type {RestartFigures} from '../report/results.ts';
import {httpRequest} from '../systems/http-request.ts';
import {delay, pollFor} from '../systems/poll.ts';
import {rssAnonBytes} from '../systems/process-usage.ts';
import type {BenchContext} from './bench-context.ts';
import {loadKeys} from './key-loader.ts';

const polling = {intervalMs: 2, deadlineMs: 60_000};
/** A checkpoint and a garbage collection have their time. */
const idleMs = 10_000;

export async function measureRestart(context: BenchContext): Promise<RestartFigures> {
  const keyCount = context.options.isQuick ? 100_000 : 1_000_000;
  const cluster = await context.rosetta();
  await cluster.start();
  const loadStartedAtMs = performance.now();
  await loadKeys(context, cluster, keyCount);
  const loadSeconds = (performance.now() - loadStartedAtMs) / 1000;

  const follower = ((await cluster.leader()) + 1) % cluster.nodeCount;
  const untouchedPids = cluster.pids().filter((_, node) => node !== follower);
  await cluster.killNode(follower);
  const oneStartedAtMs = performance.now();
  cluster.startNode(follower);
  const ports = cluster.clientPorts;
  const followerPort = must(ports[follower], 'a follower has a port');
  await waitRead(followerPort, '?consistency=local').catch((error: unknown) => {
    throw new Error(`${String(error)}\n${cluster.lastLines(follower)}`, {cause: error});
  });
  const oneNodeMs = performance.now() - oneStartedAtMs;

  await delay(idleMs);
  const memory = untouchedPids.flatMap(pid => rssAnonBytes(pid) ?? []);

  await Promise.all(ports.map((_, node) => cluster.killNode(node)));
  const allStartedAtMs = performance.now();
  for (const node of ports.keys()) cluster.startNode(node);
  await Promise.any(ports.map(port => waitRead(port, '')));
  const clusterMs = performance.now() - allStartedAtMs;
  await cluster.leader();
  await cluster.stop();

  const rssAnonBytesIdle = memory.length === 0 ? null : Math.max(...memory);
  context.say(
    `restart with ${keyCount} keys: one node ${oneNodeMs.toFixed(0)} ms, ` +
      `the cluster ${clusterMs.toFixed(0)} ms`,
  );
  return {keyCount, loadSeconds, oneNodeMs, clusterMs, rssAnonBytesIdle};
}

async function waitRead(port: number, query: string): Promise<void> {
  const target = {method: 'GET', path: `/kv/${keyName(0)}${query}`};
  await pollFor('a read after the restart', polling, async () => {
    const answer = await httpRequest(port, target, 1_000);
    return answer?.status === 200 ? true : null;
  });
}
