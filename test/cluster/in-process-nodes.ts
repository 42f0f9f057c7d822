/** Members of one cluster in the process of the test. */
import {join} from 'node:path';
import type {TestContext} from 'node:test';
import {startNode, type StartedNode, type StartNodeOptions} from '../../src/server/start-node.ts';
import {atEnd} from './at-end.ts';
import {temporaryDirectory} from './cluster.ts';
import {freePorts} from './free-ports.ts';

/** Ready; stopped when the test ends. */
export async function startNodes(
  t: TestContext,
  size: number,
  options: Partial<StartNodeOptions> = {},
): Promise<StartedNode[]> {
  const directory = temporaryDirectory(t);
  const ports = await freePorts(size);
  const members = ports.map((port, i) => ({id: `node${i + 1}`, address: `127.0.0.1:${port}`}));
  const nodes = await Promise.all(
    members.map(({id, address}) =>
      startNode({
        id,
        listen: address,
        http: '127.0.0.1:0',
        peers: members.filter(other => other.id !== id),
        data: join(directory, id),
        ...options,
      }),
    ),
  );
  atEnd(t, async () => {
    await Promise.all(nodes.map(node => node.stop()));
    await Promise.all(nodes.map(node => node.closed));
  });
  await Promise.all(nodes.map(node => node.ready));
  return nodes;
}
