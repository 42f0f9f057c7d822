/**
 * The node and its cluster: status, leader, members, health, metrics are this node's own answers;
 * changes of the members and of the leader go to the leader.
 */
import {formatAddress, parseAddress} from '../../base/address.ts';
import {RosettaError} from '../../base/errors.ts';
import type {ClusterChange, MemberId} from '../../node/service.ts';
import {isMemberId} from '../../node/service.ts';
import type {Exchange} from './exchange.ts';
import {invalidField, requestObject, textField} from './json-fields.ts';
import type {JsonObject} from './json-parser.ts';
import {parseJson} from './json-parser.ts';
import {awaitEnd, readBody} from './request-body.ts';

/** Validated like everywhere and otherwise without effect: these answers are always local. */
const generalParameters = new Set(['timeout', 'consistency']);
const noParameters: ReadonlySet<string> = new Set();
const changeParameters = new Set(['timeout']);
const addFields = new Set(['id', 'listen']);
const leadFields = new Set(['id']);
const changeBodyLimit = {sizeBytesMax: 64 * 1024, code: 'BODY_TOO_LARGE'} as const;

const metricsType = 'text/plain; version=0.0.4; charset=utf-8';

export function handleStatus(exchange: Exchange): void {
  checkGeneralParameters(exchange);
  exchange.sendJson(200, JSON.stringify(exchange.context.service.status()), 0);
}

export function handleLeader(exchange: Exchange): void {
  checkGeneralParameters(exchange);
  sendLeader(exchange);
}

function sendLeader(exchange: Exchange): void {
  const leader = exchange.context.service.leader();
  if (leader === null) throw noLeader();
  const {id, listen, http, term} = leader;
  exchange.sendJson(200, JSON.stringify({id, listen, http, term}), 0);
}

export function handleMembers(exchange: Exchange): void {
  checkGeneralParameters(exchange);
  sendMembers(exchange);
}

/** The answer of a change of the members: all of them, as this node sees them after it. */
function sendMembers(exchange: Exchange): void {
  const members = exchange.context.service.members();
  exchange.sendJson(200, JSON.stringify({members}), 0);
}

export function handleAddMember(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(changeParameters).timeoutMs();
  readBody(exchange, changeBodyLimit, body => {
    const fields = requestObject(parseJson(body), addFields);
    const id = idField(fields);
    const address = parseAddress(textField(fields, 'listen'));
    if (address === null || address.host === '' || address.port === 0) {
      throw invalidField('listen', 'must be the Raft address of the node, host:port');
    }
    const change = {type: 'add', id, listen: formatAddress(address)} as const;
    changeCluster(exchange, change, timeoutMs, () => sendMembers(exchange));
  });
}

export function handleRemoveMember(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(changeParameters).timeoutMs();
  const id = exchange.rest;
  awaitEnd(exchange, () => {
    if (!isMemberId(id)) {
      throw new RosettaError('MEMBER_NOT_FOUND', 'the path names no node id');
    }
    changeCluster(exchange, {type: 'remove', id}, timeoutMs, () => sendMembers(exchange));
  });
}

export function handleMoveLeader(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(changeParameters).timeoutMs();
  readBody(exchange, changeBodyLimit, body => {
    const id = idField(requestObject(parseJson(body), leadFields));
    changeCluster(exchange, {type: 'lead', id}, timeoutMs, () => sendLeader(exchange));
  });
}

function changeCluster(
  exchange: Exchange,
  change: ClusterChange,
  timeoutMs: number,
  onDone: () => void,
): void {
  exchange.context.service.changeCluster(change, {timeoutMs}, error => {
    if (error === null) onDone();
    else exchange.fail(error);
  });
}

function idField(fields: JsonObject): MemberId {
  const id = textField(fields, 'id');
  if (isMemberId(id)) return id;
  throw invalidField('id', 'must be 1 to 64 letters, digits, "_" or "-"');
}

export function handleLive(exchange: Exchange): void {
  exchange.parameters(noParameters);
  exchange.sendJson(200, '{"live":true}', 0);
}

export function handleReady(exchange: Exchange): void {
  exchange.parameters(noParameters);
  const {service} = exchange.context;
  const reason = service.notReady() ?? (service.leader() === null ? noLeader() : null);
  if (reason !== null) throw reason;
  exchange.sendJson(200, '{"ready":true}', 0);
}

export function handleMetrics(exchange: Exchange): void {
  exchange.parameters(noParameters);
  exchange.context.metricsText().then(
    text => exchange.sendBytes(metricsType, text, 0),
    (error: unknown) => {
      exchange.context.logger.error({err: error}, 'the metrics could not be collected');
      exchange.sendProblem('INTERNAL', 'the metrics could not be collected');
    },
  );
}

export function handleNotImplemented(exchange: Exchange): void {
  exchange.sendProblem('NOT_IMPLEMENTED', `${exchange.route} is not implemented`);
}

function checkGeneralParameters(exchange: Exchange): void {
  const parameters = exchange.parameters(generalParameters);
  parameters.timeoutMs();
  parameters.consistency();
}

function noLeader(): RosettaError {
  return new RosettaError('NO_LEADER', 'this node knows no leader; an election may be running');
}
