/**
 * Loopback ports for nodes that are told their ports before they run. They lie below the range
 * from which the system takes the ports of outgoing connections, so nothing takes one between this
 * look and the node's own bind; and each process begins elsewhere, so test files may run together.
 */
import {createServer} from 'node:net';

const first = 11_000;
const end = 31_000;
const stride = 61;

let next = first + ((process.pid * stride) % (end - first));

export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let attempt = 0; attempt < 2_000 && ports.length < count; attempt++) {
    const port = next;
    next = next + 1 < end ? next + 1 : first;
    if (await isFree(port)) ports.push(port);
  }
  if (ports.length < count) throw new Error('no free loopback ports');
  return ports;
}

export function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({port, host: '127.0.0.1', exclusive: true}, () => {
      server.close(() => resolve(true));
    });
  });
}
