/**
 * Workers of which one leads. Run three, each in a terminal of its own: `node
 * dist/examples/leader-election.js worker-1 [endpoints] [seconds]`. Ctrl-C lets the next one lead
 * at once; after a `kill -9` it leads when the lease of the dead one has ended, which lasts 2
 * seconds, or as many as said.
 */
import {setTimeout as sleep} from 'node:timers/promises';
import {connect, isClientError, type Leadership} from 'rosetta/client';

const [
  name = `worker-${process.pid}`,
  endpoints = 'localhost:9080,localhost:9081,localhost:9082',
  seconds = '2',
] = process.argv.slice(2);
const store = connect({endpoints});
const election = store.election('example/leader');
const stop = new AbortController();
process.once('SIGINT', () => stop.abort());

/** Works until the leadership may be over, or Ctrl-C. */
async function lead(leadership: Leadership): Promise<void> {
  const {token, signal} = leadership;
  const end = AbortSignal.any([signal, stop.signal]);
  for (let step = 1; !end.aborted; step++) {
    // A worker that stood still for longer than its lease does not know that another one leads. The
    // store knows: this transaction does nothing unless the leadership lasts.
    const {succeeded} = await store.txn({
      compare: [leadership.guard()],
      success: [{put: {key: 'example/progress', value: `${token} ${name} ${step}`}}],
    });
    if (!succeeded) break;
    await sleep(100, null, {signal: end}).catch(() => null);
  }
  await leadership.resign();
}

try {
  while (!stop.signal.aborted) {
    console.log(`${name} waits`);
    const leadership = await election.campaign(name, {ttl: Number(seconds), signal: stop.signal});
    console.log(`${name} leads, its token is ${leadership.token}`);
    await lead(leadership);
    console.log(`${name} leads no more`);
  }
} catch (error) {
  if (!isClientError(error, 'ABORTED')) throw error;
}
await store.close();
