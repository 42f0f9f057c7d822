import assert from 'node:assert/strict';
import {test} from 'node:test';
import {startsOf} from '../../test/contract/starts.ts';
import {testClock} from '../../test/contract/http-transport-harness.ts';
import {scenario} from '../../test/contract/raw-peer.ts';
import {RecordingHandler} from '../../test/contract/recording-handler.ts';
import {identityOf} from '../../test/contract/transport-contract.ts';
import type {Clock, Timer} from '../base/clock.ts';
import {limits} from '../base/limits.ts';
import {silentLogger} from '../base/logger.ts';
import {Prng} from '../base/prng.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import {boundAddress, HttpTransport} from './http-transport.ts';
import {Backoff} from './reconnect.ts';

test('the delay doubles with jitter up to its bound, and starts over after a reset', () => {
  const backoff = new Backoff(new Prng(1));
  let expectedMs: number = limits.reconnectDelayMsMin;
  for (let i = 0; i < 20; i++) {
    const delayMs = backoff.nextMs();
    assert.ok(delayMs >= expectedMs / 2 && delayMs <= expectedMs, `${delayMs} of ${expectedMs}`);
    expectedMs = Math.min(expectedMs * 2, limits.reconnectDelayMsMax);
  }
  backoff.reset();
  assert.ok(backoff.nextMs() <= limits.reconnectDelayMsMin);
});

/** Knows no hurry: what should wait a moment waits for longer than a test does. */
class PatientClock implements Clock {
  /** Attempts to connect, each of which begins with the timer that ends it. */
  dialCount = 0;
  /** Attempts that failed, each of which ends with a timer for the next. */
  redialCount = 0;

  wallMs(): number {
    return testClock.wallMs();
  }

  /** Stands still: time that an attempt takes would shorten the wait that follows. */
  monotonicMs(): number {
    return 0;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    if (delayMs === limits.peerConnectTimeoutMs) this.dialCount++;
    if (delayMs <= limits.reconnectDelayMsMin) this.redialCount++;
    return testClock.setTimer(delayMs * 10_000, callback);
  }

  afterPoll(callback: () => void): void {
    testClock.afterPoll(callback);
  }
}

scenario('a peer that connects is dialed, unless its connection was lost', async harness => {
  const clock = new PatientClock();
  const options = {listen: '127.0.0.1:0', prng: new Prng(1), logger: silentLogger};
  // An address where nobody listens yet.
  const former = new HttpTransport({...options, clock});
  await started(former, new RecordingHandler(harness.onEvent));
  const listen = boundAddress(former);
  await stopped(former);
  const own = new HttpTransport({...options, clock});
  try {
    const handler = new RecordingHandler(harness.onEvent);
    await started(own, handler);
    const members = [memberAt('node1', boundAddress(own)), memberAt('node2', listen)];
    own.setIdentity(identityOf('node1'));
    own.setPeers(members);
    // Both channels found nobody, and wait.
    await harness.until(() => clock.redialCount >= 2);
    const peer = async (startCount: number): Promise<HttpTransport> => {
      const transport = harness.createHttp('node2', listen);
      const peerHandler = new RecordingHandler(harness.onEvent);
      await started(transport, peerHandler);
      transport.setIdentity(identityOf('node2', {starts: startsOf(startCount)}));
      transport.setPeers(members);
      await harness.until(() => peerHandler.events.includes('up node1'));
      return transport;
    };
    const first = await peer(1);
    await harness.until(() => handler.events.includes('up node2'));
    const {dialCount} = clock;
    await stopped(first);
    await harness.until(() => handler.events.includes('down node2'));
    await peer(2);
    assert.equal(clock.dialCount, dialCount, 'it waits as it would have');
  } finally {
    await stopped(own);
  }
});

function memberAt(id: string, listen: string): Member {
  return {id: nodeId(id), incarnation: '00000000000000aa', listen, http: listen};
}

function stopped(transport: HttpTransport): Promise<void> {
  return new Promise(resolve => transport.stop(resolve));
}

function started(transport: HttpTransport, handler: RecordingHandler): Promise<void> {
  return new Promise((resolve, reject) => {
    transport.start(handler, error => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}
