/**
 * The wires between the members, and how they are cut: by proxies inside this process, anywhere, or
 * by packet rules between network namespaces, when this process has namespaces of its own.
 */
import {LinkProxy} from './link-proxy.ts';

export interface Endpoint {
  readonly id: string;
  readonly raftPort: number;
  readonly httpPort: number;
}

export interface PeerNetwork {
  /** What the node listens on and what it tells others, as flags. */
  flags(node: Endpoint): readonly string[];
  /** Where others find the node's Raft address. */
  address(node: Endpoint): string;
  /** Where clients find the node's HTTP port; who is not there refuses. */
  httpHost(node: Endpoint): string;
  /** Command that runs another command where the node lives. */
  wrapper(node: Endpoint): readonly string[];
  /** Nothing that `from` sends reaches `to` any more. */
  cut(from: string, to: string): void;
  /** One direction of one link works again. */
  mend(from: string, to: string): void;
  close(): void;
}

export class ProxyNetwork implements PeerNetwork {
  readonly #proxies = new Map<string, {readonly proxy: LinkProxy; readonly port: number}>();
  /** How many faults cut `from>to`. */
  readonly #cuts = new Map<string, number>();

  static async create(nodes: readonly Endpoint[]): Promise<ProxyNetwork> {
    const network = new ProxyNetwork();
    for (const {id, raftPort} of nodes) {
      const proxy = new LinkProxy({id, host: '127.0.0.1', port: raftPort}, (from, to) =>
        network.#isCut(from, to),
      );
      network.#proxies.set(id, {proxy, port: await proxy.listen()});
    }
    return network;
  }

  flags(node: Endpoint): readonly string[] {
    return [
      `-listen=127.0.0.1:${node.raftPort}`,
      `-http=127.0.0.1:${node.httpPort}`,
      `-advertise-listen=${this.address(node)}`,
    ];
  }

  address({id}: Endpoint): string {
    const port = this.#proxies.get(id)?.port;
    if (port === undefined) throw new Error(`no proxy for ${id}`);
    return `127.0.0.1:${port}`;
  }

  httpHost(): string {
    return '127.0.0.1';
  }

  wrapper(): readonly string[] {
    return [];
  }

  cut(from: string, to: string): void {
    this.#change(`${from}>${to}`, 1);
  }

  mend(from: string, to: string): void {
    this.#change(`${from}>${to}`, -1);
  }

  close(): void {
    for (const {proxy} of this.#proxies.values()) proxy.close();
  }

  #change(link: string, by: number): void {
    this.#cuts.set(link, (this.#cuts.get(link) ?? 0) + by);
    for (const {proxy} of this.#proxies.values()) proxy.update();
  }

  #isCut(from: string | null, to: string | null): boolean {
    return (this.#cuts.get(`${from ?? ''}>${to ?? ''}`) ?? 0) > 0;
  }
}
