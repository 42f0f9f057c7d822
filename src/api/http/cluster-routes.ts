/** The node and its cluster: status, leader, members, health, metrics. Never forwarded. */
import {RosettaError} from '../../base/errors.ts';
import type {Exchange} from './exchange.ts';

/** Validated like everywhere and otherwise without effect: these answers are always local. */
const generalParameters = new Set(['timeout', 'consistency']);
const noParameters: ReadonlySet<string> = new Set();

const metricsType = 'text/plain; version=0.0.4; charset=utf-8';

export function handleStatus(exchange: Exchange): void {
  checkGeneralParameters(exchange);
  exchange.sendJson(200, JSON.stringify(exchange.context.service.status()), 0);
}

export function handleLeader(exchange: Exchange): void {
  checkGeneralParameters(exchange);
  const leader = exchange.context.service.leader();
  if (leader === null) throw noLeader();
  const {id, listen, http, term} = leader;
  exchange.sendJson(200, JSON.stringify({id, listen, http, term}), 0);
}

export function handleMembers(exchange: Exchange): void {
  checkGeneralParameters(exchange);
  const members = exchange.context.service.members();
  exchange.sendJson(200, JSON.stringify({members}), 0);
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
