/**
 * The HTTP front door: node:http servers with every limit set, and the way of a request from the
 * wire to its handler. Checks come in one order everywhere: target, headers, route, method,
 * origin, readiness, then what the route itself asks for.
 */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import {Server as NetServer, type Socket} from 'node:net';
import type {Address} from '../../base/address.ts';
import {must} from '../../base/assert.ts';
import type {Clock, Timer} from '../../base/clock.ts';
import {limits} from '../../base/limits.ts';
import {openListeners} from '../../base/listeners.ts';
import type {Logger} from '../../base/logger.ts';
import {TurnBudget} from '../../base/turn-budget.ts';
import type {Service} from '../../node/service.ts';
import type {WatchService} from '../../node/watch-service.ts';
import {AnswerTurns} from './answer-turns.ts';
import {Arrivals} from './arrivals.ts';
import {BufferBudget} from './buffer-budget.ts';
import {answerClientError, refuseTunnel, serverMethods} from './connection-errors.ts';
import {Exchange, mustBeOperating, type ApiContext} from './exchange.ts';
import {openApiDocument} from './openapi-document.ts';
import {checkOrigin, preflightHeaders} from './origin-check.ts';
import {NodeWire} from './node-wire.ts';
import {PlainLane} from './plain-lane.ts';
import {
  readBodyHeaders,
  readRequestHeaders,
  RequestHead,
  type RequestHeaders,
} from './request-headers.ts';
import {parseTarget, type RequestTarget} from './request-target.ts';
import {findHandler, findRoute, routes, type RouteMatch} from './router.ts';
import type {Wire} from './wire.ts';

/** Milliseconds; the defaults are those of base/limits.ts. Tests shorten them. */
export interface HttpTimeouts {
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly checkingIntervalMs: number;
}

export interface HttpApiOptions {
  readonly service: Service;
  readonly watches: WatchService;
  readonly address: Address;
  /** Host names by which browsers may know this server, beside localhost and IP literals. */
  readonly hostNames: readonly string[];
  /** Origins such as `https://app.example` whose pages may use the API. */
  readonly corsOrigins: readonly string[];
  readonly logger: Logger;
  readonly clock: Clock;
  readonly metricsText: () => Promise<string>;
  /** Called once per answer. `route` is one of a fixed set of names. */
  readonly observe: (route: string, method: string, status: number, durationMs: number) => void;
  readonly timeouts?: Partial<HttpTimeouts>;
  /** When the process may open fewer files than limits.httpConnectionCountMax asks for. */
  readonly connectionCountMax?: number;
}

const stopCheckIntervalMs = 50;
/** How long a request that is on its way when the stop begins may take to arrive. */
const stopGraceMs = 250;
const noHeaders: RequestHeaders = readRequestHeaders([], {mustHaveHost: false});

export class HttpApi {
  readonly #context: ApiContext;
  readonly #address: Address;
  readonly #timeouts: HttpTimeouts;
  readonly #connectionCountMax: number;
  /** Connections that have not sent a request yet: a stop does not wait for them. */
  readonly #fresh = new Set<Socket>();
  readonly #turns = new AnswerTurns();
  readonly #lanes: PlainLane[] = [];
  readonly #arrivals: Arrivals;
  #servers: readonly Server[] = [];
  #port = 0;

  constructor(options: HttpApiOptions) {
    const {service, watches, clock, logger, metricsText, observe} = options;
    const names = [options.address.host, ...options.hostNames].filter(name => name !== '');
    let openApiText: string | null = null;
    this.#context = {
      service,
      watches,
      clock,
      logger,
      metricsText,
      openApiText: () => (openApiText ??= openApiDocument(routes, service.status().version)),
      observe,
      budget: new BufferBudget(),
      turnBudget: new TurnBudget(clock, limits.httpTurnSizeBytesMax),
      corsOrigins: new Set(options.corsOrigins),
      hostNames: new Set(names.map(name => name.toLowerCase())),
      isStopping: false,
    };
    this.#address = options.address;
    this.#timeouts = {...defaultTimeouts, ...options.timeouts};
    this.#arrivals = new Arrivals(clock);
    this.#connectionCountMax = options.connectionCountMax ?? limits.httpConnectionCountMax;
  }

  /** Begins to listen. The callback runs once. */
  start(callback: (error: Error | null) => void): void {
    const created: Server[] = [];
    const create = (): Server => {
      const server = this.#createServer();
      created.push(server);
      return server;
    };
    openListeners(this.#address, create, (error, listeners) => {
      if (error !== null) {
        callback(error);
        return;
      }
      const {servers, port} = must(listeners, 'listening fails or succeeds');
      this.#servers = created.filter(server => servers.includes(server));
      // Each counts its own connections: `localhost` has two servers.
      const share = Math.max(1, Math.floor(this.#connectionCountMax / servers.length));
      for (const server of this.#servers) server.maxConnections = share;
      this.#port = port;
      callback(null);
    });
  }

  /** The address in use; its port is the real one also when the options said 0. */
  address(): Address {
    return {host: this.#address.host, port: this.#port};
  }

  /** Memory that bodies and answers occupy. */
  bufferSizeBytes(): number {
    return this.#context.budget.totalSizeBytes;
  }

  /**
   * Stops accepting and lets running requests finish; after `timeoutMs` the remaining connections
   * are cut. The callback runs once, when no connection is left.
   */
  stop(timeoutMs: number, callback: () => void): void {
    const {clock} = this.#context;
    this.#context.isStopping = true;
    let openCount = this.#servers.length;
    if (openCount === 0) {
      clock.afterPoll(callback);
      return;
    }
    let idleTimer: Timer | null = null;
    const closeIdle = (): void => {
      for (const server of this.#servers) server.closeIdleConnections();
      for (const lane of this.#lanes) lane.closeIdle();
      idleTimer = clock.setTimer(stopCheckIntervalMs, closeIdle);
    };
    const cutTimer = clock.setTimer(timeoutMs, () => {
      for (const server of this.#servers) server.closeAllConnections();
      for (const lane of this.#lanes) lane.closeAll();
    });
    for (const server of this.#servers) {
      // Not the close of http.Server, which cuts idle connections off at once: a request that is on
      // its way on one of them gets its answer, and the word to close, instead of a reset.
      NetServer.prototype.close.call(server, () => {
        openCount -= 1;
        if (openCount > 0) return;
        idleTimer?.cancel();
        cutTimer.cancel();
        callback();
      });
    }
    // A connection whose answer was on its way when the stop began becomes idle only later.
    idleTimer = clock.setTimer(Math.min(stopGraceMs, timeoutMs / 2), () => {
      closeIdle();
      for (const socket of this.#fresh) socket.destroy();
      for (const lane of this.#lanes) lane.closeSilent();
    });
  }

  #createServer(): Server {
    const {timeout, ...options} = serverOptions(this.#timeouts);
    const server = createServer(options);
    server.timeout = timeout;
    // One more than allowed, so that a request above the maximum can be told and refused.
    server.maxHeadersCount = limits.httpHeaderCountMax + 1;
    server.maxConnections = this.#connectionCountMax;
    this.#beginPlain(server);
    server.on('request', (request, response) => this.#inTurn(request, response, false));
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
      this.#inTurn(request, response, true),
    );
    server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) =>
      this.#inTurn(request, response, true, wire => this.#onExpectation(wire, request)),
    );
    server.on('connect', (_request, socket) => refuseTunnel(socket));
    server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
      answerClientError(error, socket),
    );
    return server;
  }

  /**
   * Every connection begins as a plain one. The first that is not plain takes its connection to
   * node:http, as if it had just been accepted.
   */
  #beginPlain(server: Server): void {
    const toNodeHttp = server.listeners('connection');
    server.removeAllListeners('connection');
    const lane = new PlainLane({
      clock: this.#context.clock,
      timeouts: this.#timeouts,
      budget: this.#context.budget,
      arrivals: this.#arrivals,
      onRequest: (wire, {target, head}) => {
        this.#onRequest(wire, {target, head, isHeldBack: false});
      },
      handOver: (socket, bytes) => {
        this.#fresh.add(socket);
        socket.once('close', () => this.#fresh.delete(socket));
        socket.pause();
        if (bytes.length > 0) socket.unshift(bytes);
        for (const listener of toNodeHttp) listener.call(server, socket);
        socket.resume();
      },
    });
    this.#lanes.push(lane);
    server.on('connection', socket => lane.accept(socket));
  }

  #onExpectation(wire: Wire, request: IncomingMessage): void {
    const exchange = this.#bareExchange(wire, request.rawHeaders, true);
    exchange.sendProblem('EXPECTATION_FAILED', 'the Expect header is not 100-continue');
  }

  #inTurn(
    request: IncomingMessage,
    response: ServerResponse,
    isHeldBack: boolean,
    answer: (wire: Wire, message: Message) => void = (wire, message) =>
      this.#onRequest(wire, message),
  ): void {
    if (this.#fresh.size > 0) this.#fresh.delete(request.socket);
    const wire = new NodeWire(request, response, this.#context.clock);
    const message = {
      target: request.url ?? '',
      head: new RequestHead(request.rawHeaders, request.httpVersion !== '1.0'),
      isHeldBack,
    };
    this.#turns.take(request, response, () => answer(wire, message));
  }

  #onRequest(wire: Wire, message: Message): void {
    const {head, isHeldBack} = message;
    let target: RequestTarget;
    let headers: RequestHeaders;
    try {
      const isAny = message.target === '*' && wire.method === 'OPTIONS';
      target = isAny ? anyTarget : parseTarget(message.target);
      headers = head.headers;
    } catch (error) {
      this.#bareExchange(wire, head.rawHeaders, isHeldBack).fail(mustBeOperating(error));
      return;
    }
    const found = target === anyTarget ? serverMatch : findRoute(target.path);
    const exchange = new Exchange(this.#context, wire, {
      headers,
      query: target.query,
      route: found?.route.name ?? unknownRoute,
      rest: found?.rest ?? '',
      isHeldBack,
    });
    try {
      this.#dispatch(exchange, found);
    } catch (error) {
      exchange.fail(error);
    }
  }

  #dispatch(exchange: Exchange, found: RouteMatch | null): void {
    const context = this.#context;
    if (found === null) {
      exchange.sendProblem('ROUTE_NOT_FOUND', 'the path names no route of this API');
      return;
    }
    if (exchange.method === 'OPTIONS') {
      const allow = found.route.allow;
      const preflight = preflightHeaders(exchange.headers, context.corsOrigins, allow);
      exchange.sendEmpty(204, 0, ['Allow', allow, ...preflight]);
      return;
    }
    const {route} = found;
    const handler = findHandler(route, exchange.method);
    if (handler === undefined) {
      const detail = `${route.name} knows ${route.allow}`;
      exchange.sendProblem('METHOD_NOT_ALLOWED', detail, 0, ['Allow', route.allow]);
      return;
    }
    if (!exchange.isRead) checkOrigin(exchange.headers, context);
    if (route.isStore) {
      const reason = context.service.notReady();
      // A missing leader is the request's to wait for; a local read does without one.
      if (reason !== null && reason.code !== 'NO_LEADER') {
        exchange.fail(reason);
        return;
      }
    }
    handler(exchange);
  }

  /** An exchange whose target or headers could not be read. */
  #bareExchange(wire: Wire, rawHeaders: readonly string[], isHeldBack: boolean): Exchange {
    const headers = {...noHeaders, ...readBodyHeaders(rawHeaders)};
    const rest = {query: '', route: unknownRoute, rest: ''};
    return new Exchange(this.#context, wire, {headers, ...rest, isHeldBack});
  }
}

/** What was asked, as both kinds of connection tell it. */
interface Message {
  readonly target: string;
  readonly head: RequestHead;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly isHeldBack: boolean;
}

const unknownRoute = 'unknown';

/** `OPTIONS *` asks about the server as a whole. */
const anyTarget: RequestTarget = {path: '*', query: ''};
const serverMatch: RouteMatch = {
  route: {
    name: '*',
    operations: new Map(),
    pathParameter: null,
    allow: serverMethods,
    isStore: false,
  },
  rest: '',
};

const defaultTimeouts: HttpTimeouts = {
  headersTimeoutMs: limits.httpHeadersTimeoutMs,
  requestTimeoutMs: limits.httpRequestTimeoutMs,
  keepAliveTimeoutMs: limits.httpKeepAliveTimeoutMs,
  idleTimeoutMs: limits.httpIdleTimeoutMs,
  checkingIntervalMs: limits.httpConnectionsCheckingIntervalMs,
};

function serverOptions(timeouts: HttpTimeouts): ServerOptions & {readonly timeout: number} {
  return {
    headersTimeout: timeouts.headersTimeoutMs,
    requestTimeout: timeouts.requestTimeoutMs,
    keepAliveTimeout: timeouts.keepAliveTimeoutMs,
    connectionsCheckingInterval: timeouts.checkingIntervalMs,
    timeout: timeouts.idleTimeoutMs,
    maxHeaderSize: limits.httpHeaderSizeBytesMax,
    insecureHTTPParser: false,
    // The missing Host is answered by us, as a problem.
    requireHostHeader: false,
    noDelay: true,
  };
}
