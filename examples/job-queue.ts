/**
 * A queue of jobs that several workers share: each job is recorded as done once, also when a worker
 * dies over it. The work itself may run twice: whoever was away for too long may have done it
 * before the next one. Run: `node dist/examples/job-queue.js work alice [endpoints]` in some
 * terminals, and in another one `node dist/examples/job-queue.js add 20 [endpoints]`.
 *
 * queue/job/<id>     what is to be done, until it is
 * queue/claim/<id>   whose it is; bound to the lease of the worker, and gone with it
 * queue/done/<id>    who did it
 */
import {randomUUID} from 'node:crypto';
import {setTimeout as sleep} from 'node:timers/promises';
import {connect, isClientError, type KvRecord, type Lease} from 'rosetta/client';

const [role = '', argument = '', endpoints = 'localhost:9080,localhost:9081,localhost:9082'] =
  process.argv.slice(2);
const store = connect({endpoints});
const stop = new AbortController();
const {signal} = stop;
process.once('SIGINT', () => stop.abort());

async function add(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    // In the order of their coming, and nobody else's.
    const id = `${Date.now()}-${randomUUID()}`;
    await store.put(`queue/job/${id}`, `job ${i + 1}`, {ifAbsent: true});
  }
  console.log(`${count} jobs added`);
}

async function work(name: string): Promise<void> {
  let lease = await store.lease({ttl: 2});
  while (!signal.aborted) {
    if (!lease.isHeld) lease = await store.lease({ttl: 2});
    const {records: jobs, revision} = await store.list({prefix: 'queue/job/'}, {signal}).all();
    const claims = await store.list({prefix: 'queue/claim/'}, {revision, signal}).all();
    const taken = new Set(claims.records.map(({key}) => key.slice('queue/claim/'.length)));
    const free = jobs.find(({key}) => !taken.has(key.slice('queue/job/'.length)));
    if (free === undefined) await change(revision);
    else if (!(await hasTried(name, lease, free))) lease = await store.lease({ttl: 2});
  }
}

/** False: the worker stood still for longer than its lease lives. */
async function hasTried(name: string, lease: Lease, {key, value}: KvRecord): Promise<boolean> {
  try {
    await tryJob(name, lease, key.slice('queue/job/'.length), value);
    return true;
  } catch (error) {
    if (!isClientError(error, 'LEASE_NOT_FOUND')) throw error;
    return false;
  }
}

/** Claims a job that is still there and nobody's; does it; and takes it off the queue. */
async function tryJob(name: string, lease: Lease, id: string, job: string): Promise<void> {
  const claimed = await store.txn({
    compare: [
      {key: `queue/job/${id}`, target: 'version', op: '>', value: 0},
      {key: `queue/claim/${id}`, target: 'version', op: '=', value: 0},
    ],
    success: [{put: {key: `queue/claim/${id}`, value: name, lease: lease.id}}],
  });
  if (!claimed.succeeded) return;
  console.log(`${name} begins ${job}`);
  await sleep(50);
  const done = await store.txn({
    // Whoever was away for longer than the lease has lost the job to another worker.
    compare: [{key: `queue/claim/${id}`, target: 'lease', op: '=', value: lease.id}],
    success: [
      {delete: {key: `queue/job/${id}`}},
      {delete: {key: `queue/claim/${id}`}},
      {put: {key: `queue/done/${id}`, value: name}},
    ],
  });
  console.log(done.succeeded ? `${name} did ${job}` : `${name} was too late with ${job}`);
}

/** Resolves when the queue is another one than at `revision`: a job came, or a claim ended. */
async function change(revision: number): Promise<void> {
  const watch = store.watch({prefix: 'queue/'}, {from: revision + 1, signal});
  for await (const event of watch) if (event.isLast) return;
}

try {
  if (role === 'add') await add(Number(argument));
  else await work(argument);
} catch (error) {
  if (!isClientError(error, 'ABORTED')) throw error;
}
await store.close();
