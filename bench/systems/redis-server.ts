/** One Redis that syncs its log before it answers: the price of durability without replication. */
import net from 'node:net';
import {must} from '../../src/base/assert.ts';
import {freePorts} from '../../test/cluster/free-ports.ts';
import {ServerProcess} from './child-process.ts';
import {pollFor} from './poll.ts';
import path from 'node:path';

export class RedisServer {
  readonly port: number;
  readonly #process: ServerProcess;

  private constructor(directory: string, port: number) {
    this.port = port;
    const args = [
      ...['--bind', '127.0.0.1', '--port', String(port), '--dir', directory],
      ...['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''],
    ];
    const logPath = path.join(directory, 'redis.log');
    this.#process = new ServerProcess('redis-server', args, {logPath});
  }

  static async start(directory: string): Promise<RedisServer> {
    const [port] = await freePorts(1);
    const server = new RedisServer(directory, must(port, 'a port is free'));
    await pollFor('Redis', {intervalMs: 20, deadlineMs: 10_000}, () => server.#answers());
    return server;
  }

  pids(): readonly number[] {
    return [this.#process.pid];
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }

  #answers(): Promise<true | null> {
    return new Promise(resolve => {
      const socket = net.connect(this.port, '127.0.0.1', () => socket.write('PING\r\n'));
      socket.on('data', () => socket.destroy());
      socket.on('error', () => resolve(null));
      socket.on('close', () => resolve(socket.bytesRead > 0 ? true : null));
    });
  }
}
