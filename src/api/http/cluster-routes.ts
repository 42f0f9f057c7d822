/**
 * The node and its cluster: status, leader, members, health, metrics are this node's own answers;
 * changes of the members and of the leader go to the leader.
 */
import {formatAddress, isEveryInterface, parseAddress} from '../../base/address.ts';
import {RosettaError} from '../../base/errors.ts';
import type {ClusterChange, MemberId} from '../../node/service.ts';
import {isMemberId} from '../../node/service.ts';
import type {Exchange} from './exchange.ts';
import {invalidField, requestObject, textField} from './json-fields.ts';
import type {JsonObject} from './json-parser.ts';
import {parseJson} from './json-parser.ts';
import {fieldSet, type JsonSchema} from './json-schema.ts';
import {jsonBodyErrors, nodeAnswer, type RouteOperation} from './route-operation.ts';
import {parameterSet, type Parameter} from './parameter.ts';
import {consistencyParameter, timeoutParameter} from './query-parameters.ts';
import {awaitEnd, readBody} from './request-body.ts';

/** Validated like everywhere and otherwise without effect: these answers are always local. */
const generalParameters = parameterSet(timeoutParameter, consistencyParameter);
const noParameters = parameterSet();
const changeParameters = parameterSet(timeoutParameter);
const memberIdSchema: JsonSchema = {type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$'};
const addFields = fieldSet({
  required: {
    id: memberIdSchema,
    listen: {type: 'string', description: 'The Raft address of the node, host:port'},
  },
});
const leadFields = fieldSet({required: {id: memberIdSchema}});
const changeBodyLimit = {sizeBytesMax: 64 * 1024, code: 'BODY_TOO_LARGE'} as const;

const metricsType = 'text/plain; version=0.0.4; charset=utf-8';

const changeErrors = [
  'NO_LEADER',
  'OUTCOME_UNKNOWN',
  'CHANGE_PENDING',
  'STARTING',
  'STOPPING',
  'DIVERGED',
] as const;

export const memberInPath: Parameter = {
  name: 'id',
  description: 'The id of the member',
  schema: memberIdSchema,
};

export const getStatus: RouteOperation = {
  id: 'getStatus',
  summary: 'The state of the node that is asked',
  handle: handleStatus,
  parameters: generalParameters,
  answers: [nodeAnswer('Status', 'The state')],
  errors: [],
};

export const getLeader: RouteOperation = {
  id: 'getLeader',
  summary: 'Who leads, as the node that is asked knows',
  handle: handleLeader,
  parameters: generalParameters,
  answers: [nodeAnswer('Leader', 'The leader')],
  errors: ['NO_LEADER'],
};

export const getMembers: RouteOperation = {
  id: 'getMembers',
  summary: 'The members, as the node that is asked knows them',
  handle: handleMembers,
  parameters: generalParameters,
  answers: [nodeAnswer('Members', 'The members')],
  errors: [],
};

export const addMember: RouteOperation = {
  id: 'addMember',
  summary: 'Adds a learner, which becomes a voter once it has caught up',
  handle: handleAddMember,
  parameters: changeParameters,
  body: addFields,
  answers: [nodeAnswer('Members', 'The members with the new one')],
  errors: [
    ...changeErrors,
    ...jsonBodyErrors,
    'MEMBER_EXISTS',
    'ADDRESS_IN_USE',
    'WRONG_CLUSTER',
    'WRONG_NODE',
    'TOO_MANY_MEMBERS',
  ],
};

export const removeMember: RouteOperation = {
  id: 'removeMember',
  summary: 'Removes a voter or a learner',
  handle: handleRemoveMember,
  parameters: changeParameters,
  answers: [nodeAnswer('Members', 'The members without it')],
  errors: [...changeErrors, 'MEMBER_NOT_FOUND', 'LAST_VOTER', 'QUORUM_AT_RISK', 'TRANSFER_FAILED'],
};

export const moveLeader: RouteOperation = {
  id: 'moveLeader',
  summary: 'Hands leadership to a voter',
  handle: handleMoveLeader,
  parameters: changeParameters,
  body: leadFields,
  answers: [nodeAnswer('Leader', 'The leader after it')],
  errors: [
    ...changeErrors,
    ...jsonBodyErrors,
    'MEMBER_NOT_FOUND',
    'NOT_A_VOTER',
    'MEMBER_UNREACHABLE',
    'TRANSFER_FAILED',
  ],
};

export const getLive: RouteOperation = {
  id: 'getLive',
  summary: 'Answers while the process does',
  handle: handleLive,
  parameters: noParameters,
  answers: [nodeAnswer('Alive', 'It lives')],
  errors: [],
};

export const getReady: RouteOperation = {
  id: 'getReady',
  summary: 'Whether the node knows a leader and has caught up',
  handle: handleReady,
  parameters: noParameters,
  answers: [nodeAnswer('Ready', 'It does')],
  errors: ['NO_LEADER', 'STARTING', 'STOPPING', 'DIVERGED'],
};

export const getMetrics: RouteOperation = {
  id: 'getMetrics',
  summary: 'The metrics of the node, for Prometheus',
  handle: handleMetrics,
  parameters: noParameters,
  answers: [{status: 200, description: 'The metrics', headers: [], content: {'text/plain': null}}],
  errors: [],
};

export const getOpenApi: RouteOperation = {
  id: 'getOpenApi',
  summary: 'This document',
  handle: handleOpenApi,
  parameters: noParameters,
  answers: [nodeAnswer('OpenApi', 'OpenAPI 3.1')],
  errors: [],
};

function handleStatus(exchange: Exchange): void {
  checkGeneralParameters(exchange);
  exchange.sendJson(200, JSON.stringify(exchange.context.service.status()), 0);
}

function handleLeader(exchange: Exchange): void {
  checkGeneralParameters(exchange);
  sendLeader(exchange);
}

function sendLeader(exchange: Exchange): void {
  const leader = exchange.context.service.leader();
  if (leader === null) throw noLeader();
  const {id, listen, http, term} = leader;
  exchange.sendJson(200, JSON.stringify({id, listen, http, term}), 0);
}

function handleMembers(exchange: Exchange): void {
  checkGeneralParameters(exchange);
  sendMembers(exchange);
}

/** The answer of a change of the members: all of them, as this node sees them after it. */
function sendMembers(exchange: Exchange): void {
  const members = exchange.context.service.members();
  exchange.sendJson(200, JSON.stringify({members}), 0);
}

function handleAddMember(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(changeParameters).timeoutMs();
  readBody(exchange, changeBodyLimit, body => {
    const fields = requestObject(parseJson(body), addFields.names);
    const id = idField(fields);
    const address = parseAddress(textField(fields, 'listen'));
    if (address === null || address.port === 0 || isEveryInterface(formatAddress(address))) {
      throw invalidField('listen', 'must be the Raft address of the node, host:port');
    }
    const change = {type: 'add', id, listen: formatAddress(address)} as const;
    changeCluster(exchange, change, timeoutMs, () => sendMembers(exchange));
  });
}

function handleRemoveMember(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(changeParameters).timeoutMs();
  const id = exchange.rest;
  awaitEnd(exchange, () => {
    if (!isMemberId(id)) {
      throw new RosettaError('MEMBER_NOT_FOUND', 'the path names no node id');
    }
    changeCluster(exchange, {type: 'remove', id}, timeoutMs, () => sendMembers(exchange));
  });
}

function handleMoveLeader(exchange: Exchange): void {
  const timeoutMs = exchange.parameters(changeParameters).timeoutMs();
  readBody(exchange, changeBodyLimit, body => {
    const id = idField(requestObject(parseJson(body), leadFields.names));
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

function handleLive(exchange: Exchange): void {
  exchange.parameters(noParameters);
  exchange.sendJson(200, '{"live":true}', 0);
}

function handleReady(exchange: Exchange): void {
  exchange.parameters(noParameters);
  const {service} = exchange.context;
  const reason = service.notReady() ?? (service.leader() === null ? noLeader() : null);
  if (reason !== null) throw reason;
  exchange.sendJson(200, '{"ready":true}', 0);
}

function handleMetrics(exchange: Exchange): void {
  exchange.parameters(noParameters);
  exchange.context.metricsText().then(
    text => exchange.sendBytes(metricsType, text, 0),
    (error: unknown) => {
      exchange.context.logger.error({err: error}, 'the metrics could not be collected');
      exchange.sendProblem('INTERNAL', 'the metrics could not be collected');
    },
  );
}

function handleOpenApi(exchange: Exchange): void {
  exchange.parameters(noParameters);
  exchange.sendJson(200, exchange.context.openApiText(), 0);
}

function checkGeneralParameters(exchange: Exchange): void {
  const parameters = exchange.parameters(generalParameters);
  parameters.timeoutMs();
  parameters.consistency();
}

function noLeader(): RosettaError {
  return new RosettaError('NO_LEADER', 'this node knows no leader; an election may be running');
}
