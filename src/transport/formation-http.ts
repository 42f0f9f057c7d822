/** `POST /formation`: one JSON question and answer, between nodes that share no cluster yet. */
import {Buffer} from 'node:buffer';
import type {IncomingMessage} from 'node:http';
import type {Clock} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import {readableError} from '../base/network-error.ts';
import {openRequest, parseJson, readBody} from './dial.ts';
import type {FormationAnswer} from './transport.ts';

/** Returns the cancellation, after which the callback does not run. */
export function askFormation(
  options: {readonly address: string; readonly request: unknown; readonly clock: Clock},
  callback: (error: Error | null, answer: FormationAnswer | null) => void,
): () => void {
  const body = Buffer.from(JSON.stringify(options.request));
  let isDone = false;
  const finish = (error: Error | null, answer: FormationAnswer | null): void => {
    if (isDone) return;
    isDone = true;
    timer.cancel();
    request.destroy();
    callback(error, answer);
  };
  const request = openRequest(options.address, {
    method: 'POST',
    path: '/formation',
    headers: {'content-type': 'application/json', 'content-length': body.length},
  });
  const timer = options.clock.setTimer(limits.formationTimeoutMs, () => {
    finish(new Error(`no answer within ${limits.formationTimeoutMs} ms`), null);
  });
  request.on('error', error => finish(readableError(error), null));
  request.on('close', () => finish(new Error('the connection was closed'), null));
  request.once('response', response => {
    readBody(response, limits.formationSizeBytesMax, (error, bytes) => {
      if (error !== null) finish(error, null);
      else finish(null, {status: response.statusCode ?? 0, body: parseJson(bytes) ?? null});
    });
  });
  request.end(body);
  return () => {
    isDone = true;
    timer.cancel();
    request.destroy();
  };
}

/** The question of a request, or a sentence about what is wrong with it. */
export function readFormationRequest(
  request: IncomingMessage,
  clock: Clock,
  callback: (problem: string | null, value: unknown) => void,
): void {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > limits.formationSizeBytesMax) {
    callback(`a body has at most ${limits.formationSizeBytesMax} bytes`, null);
    return;
  }
  const timer = clock.setTimer(limits.formationTimeoutMs, () => {
    request.destroy(new Error('the body took too long'));
  });
  readBody(request, limits.formationSizeBytesMax, (error, body) => {
    timer.cancel();
    if (error !== null) {
      callback(error.message, null);
      return;
    }
    const value = parseJson(body);
    if (value === undefined) callback('the body is not JSON', null);
    else callback(null, value);
  });
}
