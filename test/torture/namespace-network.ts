/**
 * A network namespace for each node and this process as the router between them, so that a cut is a
 * packet dropped in silence, in one direction. This process must run in a network namespace of its
 * own (tools/torture.mjs starts it there): nothing outside is touched and all of it ends with it.
 */
import {spawn, spawnSync} from 'node:child_process';
import type {ChildProcess} from 'node:child_process';
import {readlinkSync, writeFileSync} from 'node:fs';
import {eventually} from '../cluster/eventually.ts';
import {killAtExit} from '../cluster/node-process.ts';
import {LinkProxy} from './link-proxy.ts';
import type {Endpoint, PeerNetwork} from './peer-network.ts';

/** Set by tools/torture.mjs for the process that it starts in a namespace of its own. */
export const ownNamespaceVariable = 'ROSETTA_TORTURE_OWN_NETWORK';

interface Place {
  readonly holder: ChildProcess;
  readonly host: string;
  /** From this process' loopback to the node's HTTP address, for those who look at it only. */
  readonly door: LinkProxy;
}

export class NamespaceNetwork implements PeerNetwork {
  readonly #places = new Map<string, Place>();
  readonly #cuts = new Map<string, number>();

  static async create(nodes: readonly Endpoint[]): Promise<NamespaceNetwork> {
    if (process.env[ownNamespaceVariable] === undefined) {
      throw new Error('this process shares its network with others; start it by tools/torture.mjs');
    }
    const network = new NamespaceNetwork();
    ip('link set lo up');
    writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
    for (const [i, node] of nodes.entries()) await network.#add(node, i + 1);
    return network;
  }

  flags(node: Endpoint): readonly string[] {
    const {host} = this.#place(node.id);
    return [`-listen=${host}:${node.raftPort}`, `-http=${host}:${node.httpPort}`];
  }

  address(node: Endpoint): string {
    return `${this.#place(node.id).host}:${node.raftPort}`;
  }

  httpHost(node: Endpoint): string {
    return this.#place(node.id).host;
  }

  wrapper(node: Endpoint): readonly string[] {
    return ['nsenter', `--target=${this.#place(node.id).holder.pid ?? 0}`, '--net'];
  }

  cut(from: string, to: string): void {
    this.#change(from, to, 1);
  }

  mend(from: string, to: string): void {
    this.#change(from, to, -1);
  }

  close(): void {
    for (const {holder, door} of this.#places.values()) {
      door.close();
      holder.stdin?.end();
    }
  }

  async #add(node: Endpoint, number: number): Promise<void> {
    const holder = spawn('unshare', ['--net', 'cat'], {stdio: ['pipe', 'ignore', 'inherit']});
    killAtExit(holder);
    const pid = holder.pid ?? 0;
    await eventually(`the network of ${node.id}`, 5_000, () =>
      readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net') ? null : true,
    );
    const host = `10.77.${number}.2`;
    ip(`link add veth${number} type veth peer name eth0 netns ${pid}`);
    ip(`addr add 10.77.${number}.1/24 dev veth${number}`);
    ip(`link set veth${number} up`);
    const inside = ['nsenter', `--target=${pid}`, '--net'];
    ip('link set lo up', inside);
    ip(`addr add ${host}/24 dev eth0`, inside);
    ip('link set eth0 up', inside);
    ip(`route add default via 10.77.${number}.1`, inside);
    const door = new LinkProxy({id: node.id, host, port: node.httpPort}, () => false);
    await door.listen(node.httpPort);
    this.#places.set(node.id, {holder, host, door});
  }

  #place(id: string): Place {
    const place = this.#places.get(id);
    if (place === undefined) throw new Error(`no namespace for ${id}`);
    return place;
  }

  #change(from: string, to: string, by: number): void {
    const link = `${from}>${to}`;
    const before = this.#cuts.get(link) ?? 0;
    const after = before + by;
    this.#cuts.set(link, after);
    const rule = `from ${this.#place(from).host} to ${this.#place(to).host} blackhole`;
    if (before === 0 && after > 0) ip(`rule add ${rule}`);
    if (before > 0 && after === 0) ip(`rule del ${rule}`);
  }
}

function ip(command: string, wrapper: readonly string[] = []): void {
  const [program = 'ip', ...args] = [...wrapper, 'ip', ...command.split(' ')];
  const {status, stderr} = spawnSync(program, args, {encoding: 'utf8'});
  if (status !== 0) throw new Error(`ip ${command}: ${stderr}`);
}
