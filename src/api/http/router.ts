/** The routes, and finding one by the raw path: a table of exact paths and a few prefixes. */
import {
  addMember,
  getLeader,
  getLive,
  getMembers,
  getMetrics,
  getOpenApi,
  getReady,
  getStatus,
  memberInPath,
  moveLeader,
  removeMember,
} from './cluster-routes.ts';
import {deleteKey, getKey, keyInPath, putJsonKey, putKey} from './kv-routes.ts';
import {
  getLease,
  grantLease,
  keepLeaseAlive,
  leaseInPath,
  listLeases,
  revokeLease,
} from './lease-routes.ts';
import type {RouteOperation, RouteHandler} from './route-operation.ts';
import type {Parameter} from './parameter.ts';
import {compact, deleteRange, getRange} from './range-routes.ts';
import {closeSession, openSession, sessionInPath} from './session-routes.ts';
import {getSnapshot} from './snapshot-routes.ts';
import {transact} from './txn-routes.ts';
import {watch} from './watch-routes.ts';

export interface Route {
  /** As docs/http-api.md writes it; also the label of its metrics. */
  readonly name: string;
  /** By method. */
  readonly operations: ReadonlyMap<string, RouteOperation>;
  /** Of a route whose path has one. */
  readonly pathParameter: Parameter | null;
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

const keyRoute = storeRoute('/kv/{key}', {GET: getKey, PUT: putKey, DELETE: deleteKey}, keyInPath);
const leaseRoute = storeRoute('/lease/{id}', {GET: getLease, DELETE: revokeLease}, leaseInPath);
const keepaliveRoute = storeRoute('/lease/{id}/keepalive', {POST: keepLeaseAlive}, leaseInPath);
const sessionRoute = storeRoute('/session/{id}', {DELETE: closeSession}, sessionInPath);
const memberRoute = route('/cluster/members/{id}', {DELETE: removeMember}, memberInPath);

export const routes: readonly Route[] = [
  storeRoute('/kv', {GET: getRange, PUT: putJsonKey, DELETE: deleteRange}),
  keyRoute,
  storeRoute('/txn', {POST: transact}),
  storeRoute('/compact', {POST: compact}),
  storeRoute('/watch', {GET: watch}),
  storeRoute('/lease', {GET: listLeases, POST: grantLease}),
  leaseRoute,
  keepaliveRoute,
  storeRoute('/session', {POST: openSession}),
  sessionRoute,
  route('/status', {GET: getStatus}),
  route('/leader', {GET: getLeader}),
  route('/cluster/members', {GET: getMembers, POST: addMember}),
  memberRoute,
  route('/cluster/leader', {POST: moveLeader}),
  storeRoute('/cluster/snapshot', {GET: getSnapshot}),
  route('/livez', {GET: getLive}),
  route('/readyz', {GET: getReady}),
  route('/metrics', {GET: getMetrics}),
  route('/openapi.json', {GET: getOpenApi}),
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
  return found.operations.get(method === 'HEAD' ? 'GET' : method)?.handle;
}

function route(
  name: string,
  byMethod: Readonly<Record<string, RouteOperation>>,
  pathParameter: Parameter | null = null,
): Route {
  const operations = new Map(Object.entries(byMethod));
  const names = [...operations.keys()].flatMap(method =>
    method === 'GET' ? ['GET', 'HEAD'] : method,
  );
  const allow = [...names, 'OPTIONS'].join(', ');
  return {name, operations, pathParameter, allow, isStore: false};
}

function storeRoute(
  name: string,
  byMethod: Readonly<Record<string, RouteOperation>>,
  pathParameter: Parameter | null = null,
): Route {
  return {...route(name, byMethod, pathParameter), isStore: true};
}
