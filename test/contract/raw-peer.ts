/** A member on an HTTP transport, and another end that is up to the test, byte by byte. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {nodeId} from '../../src/raft/ids.ts';
import {handshakeHeaders} from '../../src/transport/handshake.ts';
import {asHttp, httpHarness} from './http-transport-harness.ts';
import type {HttpHarness} from './http-transport-harness.ts';
import type {TestNode} from './transport-contract.ts';
import {identityOf, startNode} from './transport-contract.ts';

export function scenario(name: string, body: (harness: HttpHarness) => Promise<void>): void {
  test(name, async () => {
    const harness = httpHarness();
    try {
      await body(harness);
    } finally {
      await harness.close();
    }
  });
}

export function portOf(node: TestNode): number {
  return asHttp(node.transport).address().port;
}

/** A member that nobody wrote a transport for: what arrives is up to the test. */
export function upgradeRequest(changes: Record<string, string> = {}): string {
  const headers = {
    ...handshakeHeaders(identityOf('node1'), nodeId('node2'), 'data'),
    upgrade: 'rosetta-raft/1',
    connection: 'Upgrade',
    host: 'x',
    ...changes,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET / HTTP/1.1\r\n${lines.join('')}\r\n`;
}

export async function startVictim(harness: HttpHarness): Promise<TestNode> {
  const node = await startNode(harness, 'node2');
  node.transport.setIdentity(identityOf('node2'));
  return node;
}

export function assertUntouched(node: TestNode): void {
  assert.deepEqual(node.handler.messages, []);
  assert.deepEqual(node.handler.events, []);
}
