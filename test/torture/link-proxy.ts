/**
 * A TCP proxy in front of one node's Raft address. The peers' own introduction tells which link a
 * connection belongs to, so each direction of each link can be cut by itself. What is cut is held
 * back, not lost, as TCP would send it again; connections that begin meanwhile hang.
 */
import {connect, createServer} from 'node:net';
import type {AddressInfo, Server, Socket} from 'node:net';

/** Whether bytes sent by one node reach another; `null`: a node that has not said its name. */
type IsCut = (from: string | null, to: string | null) => boolean;

/** An introduction is short. */
const introductionSizeBytesMax = 16 * 1024;

export class LinkProxy {
  readonly #target: {readonly id: string; readonly host: string; readonly port: number};
  readonly #isCut: IsCut;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();

  constructor(
    target: {readonly id: string; readonly host: string; readonly port: number},
    isCut: IsCut,
  ) {
    this.#target = target;
    this.#isCut = isCut;
    this.#server = createServer({pauseOnConnect: false, noDelay: true}, socket => {
      const connection = new Connection(socket, this.#target, this.#isCut);
      this.#connections.add(connection);
      connection.onEnd = () => this.#connections.delete(connection);
    });
  }

  /** Resolves to the port it listens on. */
  listen(port = 0): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({host: '127.0.0.1', port}, () => {
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** Cuts were made or healed. */
  update(): void {
    for (const connection of this.#connections) connection.update();
  }

  close(): void {
    this.#server.close();
    for (const connection of this.#connections) connection.destroy();
  }
}

class Connection {
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #to: string;
  readonly #isCut: IsCut;
  /** Bytes until the other side has said who it is; then null. */
  #introduction: Buffer | null = Buffer.alloc(0);
  #from: string | null = null;
  onEnd: () => void = () => undefined;

  constructor(
    near: Socket,
    target: {readonly id: string; readonly host: string; readonly port: number},
    isCut: IsCut,
  ) {
    this.#near = near;
    this.#to = target.id;
    this.#isCut = isCut;
    this.#far = connect({host: target.host, port: target.port, noDelay: true});
    near.on('data', chunk => this.#onNear(chunk));
    this.#far.on('data', chunk => this.#send(chunk, this.#near, this.#far));
    near.on('drain', () => this.update());
    this.#far.on('drain', () => this.update());
    for (const [socket, isNear] of [
      [near, true],
      [this.#far, false],
    ] as const) {
      socket.on('error', () => undefined);
      socket.on('close', () => this.#onClose(isNear));
    }
  }

  update(): void {
    if (this.#introduction === null) {
      this.#hold(this.#near, this.#far, this.#isCut(this.#from, this.#to));
    }
    this.#hold(this.#far, this.#near, this.#isCut(this.#to, this.#from));
    // The end of a connection is news as well: it waits until it can be told.
    if (this.#near.closed) this.#onClose(true);
    else if (this.#far.closed) this.#onClose(false);
  }

  destroy(): void {
    this.#near.destroy();
    this.#far.destroy();
  }

  #onNear(chunk: Buffer): void {
    if (this.#introduction === null) {
      this.#send(chunk, this.#far, this.#near);
      return;
    }
    const introduction = Buffer.concat([this.#introduction, chunk]);
    this.#introduction = introduction;
    const from = introducedAs(introduction);
    if (from === undefined && introduction.length < introductionSizeBytesMax) return;
    this.#from = from ?? null;
    this.#introduction = null;
    // Back into the stream, where a cut holds it like everything behind it.
    this.#near.pause();
    this.#near.unshift(introduction);
    this.update();
  }

  #send(chunk: Buffer, target: Socket, source: Socket): void {
    if (!target.write(chunk)) source.pause();
  }

  #hold(source: Socket, target: Socket, isCut: boolean): void {
    if (isCut || target.writableNeedDrain) source.pause();
    else source.resume();
  }

  #onClose(isNear: boolean): void {
    const isHeld = isNear ? this.#isCut(this.#from, this.#to) : this.#isCut(this.#to, this.#from);
    if (isHeld) return;
    this.destroy();
    this.onEnd();
  }
}

/** Undefined: more has to come. Null: somebody who does not say. */
function introducedAs(bytes: Buffer): string | null | undefined {
  const text = bytes.toString('latin1');
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = text.slice(0, end);
  const from = /^rosetta-from: *(\S+)/im.exec(head);
  if (from !== null) return from[1] ?? null;
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  const body = text.slice(end + 4);
  if (body.length < length) return undefined;
  // While a cluster forms its members say their names in the question itself.
  return /"type":"hello","id":"([^"]+)"/.exec(body)?.[1] ?? null;
}
