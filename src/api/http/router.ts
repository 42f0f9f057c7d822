/** The routes, and finding one by the raw path: a table of exact paths and a few prefixes. */
import {
  handleAddMember,
  handleLeader,
  handleLive,
  handleMembers,
  handleMetrics,
  handleMoveLeader,
  handleNotImplemented,
  handleReady,
  handleRemoveMember,
  handleStatus,
} from './cluster-routes.ts';
import type {Exchange} from './exchange.ts';
import {handleDeleteKey, handleGetKey, handlePutJson, handlePutRaw} from './kv-routes.ts';
import {handleCloseSession, handleOpenSession} from './session-routes.ts';
import {handleSnapshot} from './snapshot-routes.ts';
import {handleCompact, handleDeleteRange, handleGetRange} from './range-routes.ts';
import {
  handleGetLease,
  handleGrantLease,
  handleKeepLeaseAlive,
  handleListLeases,
  handleRevokeLease,
} from './lease-routes.ts';
import {handleTransaction} from './txn-routes.ts';
import {handleWatch} from './watch-routes.ts';

export type RouteHandler = (exchange: Exchange) => void;

export interface Route {
  /** As docs/http-api.md writes it; also the label of its metrics. */
  readonly name: string;
  readonly methods: ReadonlyMap<string, RouteHandler>;
  /** The value of the Allow header: HEAD wherever GET is, OPTIONS everywhere. */
  readonly allow: string;
  /** Reads or writes the store: refused while the node is not ready. */
  readonly isStore: boolean;
}

export interface RouteMatch {
  readonly route: Route;
  /** The raw path behind the prefix; empty for an exact path. */
  readonly rest: string;
}

const keyRoute = storeRoute('/kv/{key}', {
  GET: handleGetKey,
  PUT: handlePutRaw,
  DELETE: handleDeleteKey,
});
const leaseRoute = storeRoute('/lease/{id}', {GET: handleGetLease, DELETE: handleRevokeLease});
const keepaliveRoute = storeRoute('/lease/{id}/keepalive', {POST: handleKeepLeaseAlive});
const sessionRoute = storeRoute('/session/{id}', {DELETE: handleCloseSession});
const memberRoute = route('/cluster/members/{id}', {DELETE: handleRemoveMember});

export const routes: readonly Route[] = [
  storeRoute('/kv', {GET: handleGetRange, PUT: handlePutJson, DELETE: handleDeleteRange}),
  keyRoute,
  storeRoute('/txn', {POST: handleTransaction}),
  storeRoute('/compact', {POST: handleCompact}),
  storeRoute('/watch', {GET: handleWatch}),
  storeRoute('/lease', {GET: handleListLeases, POST: handleGrantLease}),
  leaseRoute,
  keepaliveRoute,
  storeRoute('/session', {POST: handleOpenSession}),
  sessionRoute,
  route('/status', {GET: handleStatus}),
  route('/leader', {GET: handleLeader}),
  route('/cluster/members', {GET: handleMembers, POST: handleAddMember}),
  memberRoute,
  route('/cluster/leader', {POST: handleMoveLeader}),
  storeRoute('/cluster/snapshot', {GET: handleSnapshot}),
  route('/livez', {GET: handleLive}),
  route('/readyz', {GET: handleReady}),
  route('/metrics', {GET: handleMetrics}),
  route('/openapi.json', {GET: handleNotImplemented}),
];

const exactMatches: ReadonlyMap<string, RouteMatch> = new Map(
  routes
    .filter(({name}) => !name.includes('{'))
    .map(exact => [exact.name, {route: exact, rest: ''}]),
);

const keyPrefix = '/kv/';
const leasePattern = /^\/lease\/([^/]+)(\/keepalive)?$/;
const sessionPattern = /^\/session\/([^/]+)$/;
const memberPattern = /^\/cluster\/members\/([^/]+)$/;

/** Null: no such route. */
export function findRoute(path: string): RouteMatch | null {
  if (path.startsWith(keyPrefix)) return {route: keyRoute, rest: path.slice(keyPrefix.length)};
  const exact = exactMatches.get(path);
  if (exact !== undefined) return exact;
  const lease = leasePattern.exec(path);
  if (lease !== null) {
    return {route: lease[2] === undefined ? leaseRoute : keepaliveRoute, rest: lease[1] ?? ''};
  }
  const session = sessionPattern.exec(path);
  if (session !== null) return {route: sessionRoute, rest: session[1] ?? ''};
  const member = memberPattern.exec(path);
  return member === null ? null : {route: memberRoute, rest: member[1] ?? ''};
}

/** Undefined: the route does not know the method. HEAD is a GET without its body. */
export function findHandler(found: Route, method: string): RouteHandler | undefined {
  return found.methods.get(method === 'HEAD' ? 'GET' : method);
}

function route(name: string, handlers: Readonly<Record<string, RouteHandler>>): Route {
  const methods = new Map(Object.entries(handlers));
  const names = [...methods.keys()].flatMap(method =>
    method === 'GET' ? ['GET', 'HEAD'] : method,
  );
  return {name, methods, allow: [...names, 'OPTIONS'].join(', '), isStore: false};
}

function storeRoute(name: string, handlers: Readonly<Record<string, RouteHandler>>): Route {
  return {...route(name, handlers), isStore: true};
}
