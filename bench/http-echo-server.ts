/**
 * The least an HTTP server on node:http can do: read the body, answer a fixed one. The ceiling for
 * every front door of this program. Prints its port; lives until it is ended.
 */
import {createServer} from 'node:http';
import type {AddressInfo} from 'node:net';

const answer = '{"key":"key-000000000","revision":1000000,"version":1000000}';

const server = createServer((request, response) => {
  request.on('data', () => undefined);
  request.on('end', () => {
    response.setHeader('Content-Type', 'application/json');
    response.end(answer);
  });
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
