/**
 * The headers with which a member introduces itself, and the checks that need no state but the own
 * identity. Format: docs/formats.md, "Peer frames". A header that is missing, repeated or badly
 * formed is a refusal, never a default.
 */
import type {IncomingHttpHeaders} from 'node:http';
import {parseAddress} from '../base/address.ts';
import {must} from '../base/assert.ts';
import type {NodeId} from '../raft/ids.ts';
import {isNodeId} from '../raft/ids.ts';
import {toStartHistory} from '../storage/start-history.ts';
import type {Handshake, LocalIdentity, LogPosition, Refusal} from './transport.ts';

export const upgradeProtocol = 'rosetta-raft/1';
const protocolVersion = '1';

/** The two connections to a peer, and the request that carries a snapshot. */
export type Channel = 'control' | 'data' | 'snapshot';

export interface Introduction {
  readonly handshake: Handshake;
  readonly channel: Channel;
}

const clusterIdPattern = /^[0-9a-f]{32}$/;
const incarnationPattern = /^[0-9a-f]{1,32}$/;
const countPattern = /^[0-9]{1,15}$/;
const positionPattern = /^([0-9]{1,15})\.([0-9]{1,15})$/;

export function handshakeHeaders(
  identity: LocalIdentity,
  to: NodeId,
  channel: Channel,
): Record<string, string> {
  const {log} = identity;
  return {
    'rosetta-version': protocolVersion,
    'rosetta-cluster': must(identity.clusterId, 'a member of no cluster dials nobody'),
    'rosetta-from': identity.id,
    'rosetta-to': to,
    'rosetta-incarnation': identity.incarnation,
    'rosetta-start-count': String(identity.starts.count),
    // No comma: it would look like a repeated header.
    'rosetta-start-marks': identity.starts.marks.join('.'),
    'rosetta-listen': identity.listen,
    'rosetta-http': identity.http,
    'rosetta-channel': channel,
    ...(log === null ? {} : {'rosetta-log': `${log.term}.${log.lastIndex}`}),
  };
}

export function isRefusal(value: Introduction | Refusal): value is Refusal {
  return 'code' in value;
}

/** Cluster, addressee and version are those of this node, or it is a refusal. */
export function readHandshake(
  headers: IncomingHttpHeaders,
  identity: LocalIdentity,
): Introduction | Refusal {
  const version = headers['rosetta-version'];
  if (version === undefined) return badHandshake('rosetta-version is missing');
  if (version !== protocolVersion) {
    const detail = `this node speaks version ${protocolVersion} of the peer protocol`;
    return {status: 400, code: 'BAD_VERSION', detail};
  }
  const introduction = readIntroduction(headers);
  if (typeof introduction === 'string') return badHandshake(introduction);
  const {handshake} = introduction;
  if (identity.clusterId === null) return starting(identity.id);
  if (handshake.clusterId !== identity.clusterId) {
    const detail =
      `${identity.id} belongs to cluster ${identity.clusterId}, ` +
      `${handshake.from} to ${handshake.clusterId}: check the peer addresses`;
    return {status: 409, code: 'WRONG_CLUSTER', detail};
  }
  if (handshake.to !== identity.id) {
    const detail = `this is ${identity.id}, not ${handshake.to}: check the peer addresses`;
    return {status: 409, code: 'WRONG_NODE', detail};
  }
  if (handshake.from === identity.id) return badHandshake('a node does not dial itself');
  return introduction;
}

function starting(id: NodeId): Refusal {
  return {status: 503, code: 'STARTING', detail: `${id} does not know its cluster yet`};
}

function badHandshake(detail: string): Refusal {
  return {status: 400, code: 'BAD_HANDSHAKE', detail};
}

/** A text says which header is wrong. */
function readIntroduction(headers: IncomingHttpHeaders): Introduction | string {
  const clusterId = single(headers, 'rosetta-cluster');
  const from = single(headers, 'rosetta-from');
  const to = single(headers, 'rosetta-to');
  const incarnation = single(headers, 'rosetta-incarnation');
  const startCount = single(headers, 'rosetta-start-count');
  const startMarks = single(headers, 'rosetta-start-marks');
  const listen = single(headers, 'rosetta-listen');
  const http = single(headers, 'rosetta-http');
  const channel = single(headers, 'rosetta-channel');
  const log = readPosition(headers['rosetta-log']);
  if (!clusterIdPattern.test(clusterId)) return 'rosetta-cluster is not a cluster id';
  if (!isNodeId(from)) return 'rosetta-from is not a node id';
  if (!isNodeId(to)) return 'rosetta-to is not a node id';
  if (!incarnationPattern.test(incarnation)) return 'rosetta-incarnation is malformed';
  if (!countPattern.test(startCount)) return 'rosetta-start-count is not a count';
  const marks = startMarks === '' ? [] : startMarks.split('.');
  const starts = toStartHistory(Number(startCount), marks);
  if (starts === null) return 'rosetta-start-marks is malformed';
  if (parseAddress(listen) === null) return 'rosetta-listen is not an address';
  if (parseAddress(http) === null) return 'rosetta-http is not an address';
  if (channel !== 'control' && channel !== 'data' && channel !== 'snapshot') {
    return 'rosetta-channel is unknown';
  }
  if (log === undefined) return 'rosetta-log is malformed';
  const handshake: Handshake = {
    clusterId,
    from,
    to,
    incarnation,
    starts,
    listen,
    http,
    log,
  };
  return {handshake, channel};
}

/** Null: not said. Undefined: malformed. */
function readPosition(
  value: string | readonly string[] | undefined,
): LogPosition | null | undefined {
  if (value === undefined) return null;
  const match = typeof value === 'string' ? positionPattern.exec(value) : null;
  return match === null ? undefined : {term: Number(match[1]), lastIndex: Number(match[2])};
}

/** Empty when absent; repeated headers arrive joined by a comma, which no pattern admits. */
function single(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : '';
}
