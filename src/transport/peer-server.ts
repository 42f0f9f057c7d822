/**
 * The listening side: an HTTP server on the Raft address that turns upgrades into incoming
 * channels, takes snapshots and formation requests, and refuses everything else with a reason.
 * Whatever arrives before a valid handshake costs a bounded amount of memory and time and changes
 * nothing but a counter.
 */
import {Buffer} from 'node:buffer';
import * as http from 'node:http';
import type {Server, Socket} from 'node:net';
import type {Duplex} from 'node:stream';
import type {Address} from '../base/address.ts';
import type {Clock} from '../base/clock.ts';
import {TurnBudget} from '../base/turn-budget.ts';
import {limits} from '../base/limits.ts';
import {openListeners} from '../base/listeners.ts';
import type {NodeId} from '../raft/ids.ts';
import {readFormationRequest} from './formation-http.ts';
import type {Introduction} from './handshake.ts';
import {isRefusal, readHandshake, upgradeProtocol} from './handshake.ts';
import type {IncomingChannelListener} from './incoming-channel.ts';
import {IncomingChannel} from './incoming-channel.ts';
import type {Rejections} from './rejections.ts';
import {rejectionReason} from './rejections.ts';
import {SnapshotReceiver} from './snapshot-receiver.ts';
import type {LocalIdentity, Refusal, TransportHandler} from './transport.ts';

export interface PeerServerOptions {
  readonly clock: Clock;
  readonly rejections: Rejections;
  readonly handler: TransportHandler;
  /** Null until setIdentity was called. */
  readonly identity: () => LocalIdentity | null;
  /** A peer's channel is open: it is there, and lets this node be its peer. */
  readonly onChannel: (from: NodeId) => void;
}

const notFound: Refusal = {
  status: 404,
  code: 'ROUTE_NOT_FOUND',
  detail: 'this is the Raft port of a Rosetta node; clients use the address given by -http',
};
const noIdentity: Refusal = {status: 503, code: 'STARTING', detail: 'the node is starting'};

export class PeerServer {
  readonly #options: PeerServerOptions;
  readonly #sockets = new Set<Duplex>();
  /** By sender and channel; a newer connection replaces the older one. */
  readonly #channels = new Map<string, IncomingChannel>();
  readonly #budget: TurnBudget;
  readonly #receivers = new Map<NodeId, SnapshotReceiver>();
  #servers: readonly Server[] = [];
  #isStopped = false;

  constructor(options: PeerServerOptions) {
    this.#options = options;
    this.#budget = new TurnBudget(options.clock, limits.peerTurnSizeBytesMax);
  }

  start(address: Address, callback: (error: Error | null, port: number) => void): void {
    openListeners(
      address,
      () => this.#createServer(),
      (error, listeners) => {
        this.#servers = listeners?.servers ?? [];
        if (this.#isStopped) {
          for (const server of this.#servers) server.close();
          return;
        }
        for (const server of this.#servers) {
          // After a successful listen there is nothing an error could take back.
          server.on('error', failure => this.#reject('bad-request', failure.message, undefined));
        }
        callback(error, listeners?.port ?? 0);
      },
    );
  }

  tick(): void {
    for (const channel of this.#channels.values()) channel.tick();
  }

  /** Drops what peers had opened: they introduce themselves anew. */
  closeChannels(): void {
    for (const channel of [...this.#channels.values()]) channel.close();
    for (const receiver of [...this.#receivers.values()]) receiver.abort();
  }

  stop(callback: () => void): void {
    this.#isStopped = true;
    this.closeChannels();
    let openCount = this.#servers.length;
    if (openCount === 0) callback();
    for (const server of this.#servers) {
      server.close(() => {
        openCount -= 1;
        if (openCount === 0) callback();
      });
    }
    for (const socket of this.#sockets) socket.destroy();
  }

  #createServer(): Server {
    const server = http.createServer({
      maxHeaderSize: limits.handshakeHeaderSizeBytesMax,
      headersTimeout: limits.handshakeTimeoutMs,
      // A snapshot may take its time: its receiver watches over progress, not over the whole.
      requestTimeout: 0,
      keepAliveTimeout: 1,
      connectionsCheckingInterval: 1_000,
      insecureHTTPParser: false,
      noDelay: true,
    });
    server.maxConnections = limits.peerConnectionCountMax;
    server.maxHeadersCount = limits.httpHeaderCountMax;
    server.on('connection', socket => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.on('request', (request, response) => this.#onRequest(request, response));
    server.on('checkContinue', (request, response) => this.#onRequest(request, response));
    server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head));
    server.on('connect', (request, socket) => this.#refuseSocket(request, socket, notFound));
    server.on('clientError', (error, socket) => this.#onClientError(error, socket));
    server.on('drop', () => this.#reject('connection-limit', 'too many connections', undefined));
    return server;
  }

  #onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    // A peer that hangs up between requests is no garbage.
    if (error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    this.#reject('bad-request', error.message, remoteOf(socket));
    writeRefusal(socket, {status: 400, code: 'INVALID_REQUEST', detail: 'this is not HTTP'});
  }

  #onUpgrade(request: http.IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    if (request.headers.upgrade !== upgradeProtocol) {
      const detail = `the only upgrade is ${upgradeProtocol}`;
      this.#refuseSocket(request, socket, {status: 400, code: 'BAD_VERSION', detail});
      return;
    }
    const introduction = this.#admit(request, 'upgrade');
    if (isRefusal(introduction)) {
      this.#refuseSocket(request, socket, introduction);
      return;
    }
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\n' +
        `Upgrade: ${upgradeProtocol}\r\nConnection: Upgrade\r\n` +
        `rosetta-from: ${introduction.handshake.to}\r\n\r\n`,
    );
    this.#adopt(introduction, socket, head);
  }

  #adopt(introduction: Introduction, socket: Duplex, head: Buffer): void {
    const key = `${introduction.channel} ${introduction.handshake.from}`;
    // Closed first, so that nothing of the older connection is delivered after this one's.
    this.#channels.get(key)?.close();
    const {handler} = this.#options;
    const listener: IncomingChannelListener = {
      onContact: from => handler.onContact(from),
      onMessage: (from, message) => handler.onMessage(from, message),
      onClosed: (channel, problem) => {
        if (this.#channels.get(key) === channel) this.#channels.delete(key);
        if (problem === null) return;
        const detail = `${introduction.handshake.from}: ${problem.detail}`;
        this.#reject(problem.reason, detail, remoteOf(socket));
      },
    };
    const channel = new IncomingChannel(introduction, socket, {
      listener,
      budget: this.#budget,
    });
    this.#channels.set(key, channel);
    channel.start(head);
    this.#options.onChannel(introduction.handshake.from);
  }

  #onRequest(request: http.IncomingMessage, response: http.ServerResponse): void {
    request.on('error', () => request.destroy());
    response.on('error', () => response.destroy());
    if (request.method === 'POST' && request.url === '/formation') {
      this.#onFormation(request, response);
    } else if (request.method === 'POST' && request.url === '/snapshot') {
      this.#onSnapshot(request, response);
    } else this.#refuseRequest(request, response, notFound);
  }

  #onFormation(request: http.IncomingMessage, response: http.ServerResponse): void {
    readFormationRequest(request, this.#options.clock, (problem, value) => {
      if (this.#isStopped || response.destroyed) return;
      if (problem !== null) {
        this.#reject('bad-formation', problem, request.socket.remoteAddress);
        answer(response, 400, {code: 'BAD_FORMATION', detail: problem});
        return;
      }
      const {status, body} = this.#options.handler.onFormation(value);
      answer(response, status, body);
    });
  }

  #onSnapshot(request: http.IncomingMessage, response: http.ServerResponse): void {
    const introduction = this.#admit(request, 'post');
    if (isRefusal(introduction)) {
      this.#refuseRequest(request, response, introduction);
      return;
    }
    const {from} = introduction.handshake;
    const {handler, clock} = this.#options;
    const receiver = new SnapshotReceiver({request, response}, clock, {
      onOffer: offer => handler.onSnapshotOffer(from, offer),
      onBroken: snapshot => handler.onSnapshotBroken(from, snapshot),
      onReceived: (meta, snapshot) => handler.onSnapshotReceived(from, meta, snapshot),
      onEnd: (refusal, mustTell) => {
        if (this.#receivers.get(from) === receiver) this.#receivers.delete(from);
        if (refusal === null) return;
        if (refusal.status === 400) {
          this.#reject('bad-snapshot', `${from}: ${refusal.detail}`, remoteOf(request.socket));
        }
        const {status, code, detail} = refusal;
        if (mustTell) answer(response, status, {code, detail});
      },
    });
    const before = this.#receivers.get(from);
    this.#receivers.set(from, receiver);
    // Never two at once: the older stream has to let go of its import first.
    if (before === undefined) receiver.start();
    else before.supersede(() => receiver.start());
  }

  /** Whoever is admitted by `authorize` is from here on the only directory of its id. */
  #admit(request: http.IncomingMessage, how: 'upgrade' | 'post'): Introduction | Refusal {
    const identity = this.#isStopped ? null : this.#options.identity();
    if (identity === null) return noIdentity;
    const introduction = readHandshake(request.headers, identity);
    if (isRefusal(introduction)) return introduction;
    if ((introduction.channel === 'snapshot') !== (how === 'post')) {
      const detail = 'snapshots are sent with POST /snapshot, and nothing else is';
      return {status: 400, code: 'BAD_HANDSHAKE', detail};
    }
    const {handshake} = introduction;
    const refusal = this.#options.handler.authorize(handshake);
    if (refusal !== null) return refusal;
    this.#closeOthers(handshake);
    return introduction;
  }

  /** Messages name their sender by its id alone: never two directories of one id at once. */
  #closeOthers({from, incarnation}: Introduction['handshake']): void {
    for (const channel of [...this.#channels.values()]) {
      const {handshake} = channel.introduction;
      if (handshake.from === from && handshake.incarnation !== incarnation) channel.close();
    }
  }

  #refuseSocket(request: http.IncomingMessage, socket: Duplex, refusal: Refusal): void {
    this.#noteRefusal(request, refusal);
    writeRefusal(socket, refusal);
  }

  #refuseRequest(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    refusal: Refusal,
  ): void {
    this.#noteRefusal(request, refusal);
    answer(response, refusal.status, {code: refusal.code, detail: refusal.detail});
  }

  #noteRefusal(request: http.IncomingMessage, refusal: Refusal): void {
    const reason = refusal === notFound ? 'not-found' : rejectionReason(refusal.code);
    this.#reject(reason, `${refusal.code}: ${refusal.detail}`, remoteOf(request.socket));
  }

  #reject(
    reason: Parameters<Rejections['note']>[0],
    detail: string,
    remote: string | undefined,
  ): void {
    this.#options.rejections.note(reason, detail, remote);
  }
}

function answer(response: http.ServerResponse, status: number, body: unknown): void {
  if (response.destroyed || response.headersSent) return;
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': bytes.length,
    connection: 'close',
  });
  response.end(bytes);
}

function writeRefusal(socket: Duplex, refusal: Refusal): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify({code: refusal.code, detail: refusal.detail});
  const reason = http.STATUS_CODES[refusal.status] ?? 'Refused';
  socket.on('error', () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${refusal.status} ${reason}\r\nConnection: close\r\n` +
      'Content-Type: application/json\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

function remoteOf(socket: Duplex): string | undefined {
  return (socket as Partial<Socket>).remoteAddress;
}
