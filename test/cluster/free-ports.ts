/**
 * Loopback ports for nodes that are told their ports before they run. They lie below the range
 * from which the system takes the ports of outgoing connections, so nothing takes one between this
 * look and the node's own bind; and each process begins elsewhere, so test files may run together.
 * Two that begin close to each other are kept apart by a name that each port has while its process
 * lives, where the system has such names.
 */
import {createServer, type ListenOptions, type Server} from 'node:net';

const first = 11_000;
const end = 31_000;
const stride = 61;

/** Names of Linux that are no files, and go with their process. */
const hasNames = process.platform === 'linux';
const held: Server[] = [];

let next = first + ((process.pid * stride) % (end - first));

export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let attempt = 0; attempt < 2_000 && ports.length < count; attempt++) {
    const port = next;
    next = next + 1 < end ? next + 1 : first;
    if ((await isFree(port)) && (await hold(port))) ports.push(port);
  }
  if (ports.length < count) throw new Error('no free loopback ports');
  return ports;
}

export async function isFree(port: number): Promise<boolean> {
  const server = await listening({port, host: '127.0.0.1', exclusive: true});
  if (server === null) return false;
  await new Promise(resolve => server.close(resolve));
  return true;
}

/** False: another process has chosen this port, and its node may not have bound it yet. */
async function hold(port: number): Promise<boolean> {
  if (!hasNames) return true;
  const server = await listening({path: `\0rosetta-test-port-${port}`});
  if (server === null) return false;
  server.unref();
  held.push(server);
  return true;
}

/** Null: somebody else is there. */
function listening(options: ListenOptions): Promise<Server | null> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(options, () => resolve(server));
  });
}
