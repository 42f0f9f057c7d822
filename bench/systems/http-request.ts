/** One HTTP/1.1 request to a loopback port, with a deadline: status and body, or null. */
import {Agent, request} from 'node:http';

const agent = new Agent({keepAlive: true, maxSockets: 256});

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

export function httpRequest(
  port: number,
  target: {readonly method: string; readonly path: string; readonly body?: string},
  timeoutMs = 5_000,
): Promise<HttpAnswer | null> {
  const {method, path, body = ''} = target;
  return new Promise(resolve => {
    const headers = {'content-length': Buffer.byteLength(body)};
    const sent = request({host: '127.0.0.1', port, method, path, headers, agent}, response => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => finish({status: response.statusCode ?? 0, body: text}));
      response.on('error', () => finish(null));
    });
    const timer = setTimeout(() => finish(null), timeoutMs);
    const finish = (answer: HttpAnswer | null): void => {
      clearTimeout(timer);
      if (answer === null) sent.destroy();
      resolve(answer);
    };
    sent.on('error', () => finish(null));
    sent.end(body);
  });
}
