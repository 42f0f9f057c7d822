/** What each workload is for each store: which node is asked, and with what. */
import {must} from '../../src/base/assert.ts';
import type {FixedRequest} from '../load/h2load.ts';
import {runH2load} from '../load/h2load.ts';
import {putRequestFrame, rangeRequestFrame} from '../load/etcd-messages.ts';
import type {LoadFigures} from '../load/load-figures.ts';
import type {HttpWorkload} from '../load/wrk-script.ts';
import {defaultWorkload, keyName} from '../load/wrk-script.ts';
import {runWrk} from '../load/wrk.ts';
import type {WorkloadName} from '../report/results.ts';
import type {StoreCluster} from '../systems/store-cluster.ts';

export const valueSizeBytes = 128;
export const randomKeyCount = 100_000;

interface RoundShape {
  readonly connectionCount: number;
  readonly durationSeconds: number;
}

const httpWorkloads: Readonly<Record<WorkloadName, Partial<HttpWorkload>>> = {
  put: {},
  'put-raw': {body: 'raw'},
  'put-random': {keyCount: randomKeyCount},
  get: {readShare: 1},
  'get-local': {readShare: 1, readQuery: '?consistency=local'},
  'put-follower': {},
  'get-follower': {readShare: 1},
  mix: {readShare: 0.9, keyCount: randomKeyCount},
  txn: {body: 'txn'},
};

export const comparedKey = keyName(0);
export const comparedValue = 'v'.repeat(valueSizeBytes);
const grpc = {protocol: 'grpc', method: 'POST'} as const;
export const etcdPut: FixedRequest = {
  ...grpc,
  path: '/etcdserverpb.KV/Put',
  body: putRequestFrame(comparedKey, comparedValue),
};
export const rosettaPut: FixedRequest = {
  protocol: 'http/1.1',
  method: 'PUT',
  path: '/kv',
  body: Buffer.from(JSON.stringify({key: comparedKey, value: comparedValue})),
};
const etcdGet: FixedRequest = {
  ...grpc,
  path: '/etcdserverpb.KV/Range',
  body: rangeRequestFrame(comparedKey, false),
};
const etcdCalls: Readonly<Partial<Record<WorkloadName, FixedRequest>>> = {
  put: etcdPut,
  get: etcdGet,
  'get-local': {...etcdGet, body: rangeRequestFrame(comparedKey, true)},
  'put-follower': etcdPut,
  'get-follower': etcdGet,
};

/** h2load posts one fixed body, so a workload over many keys has no counterpart. */
export function etcdHas(workload: WorkloadName): boolean {
  return etcdCalls[workload] !== undefined;
}

export function isWrite(workload: WorkloadName): boolean {
  return workload.startsWith('put') || workload === 'txn';
}

/** One round; throws when what the generator calls success did not reach the store. */
export async function runRound(
  cluster: StoreCluster,
  workload: WorkloadName,
  shape: RoundShape & {readonly scratchDirectory: string},
): Promise<LoadFigures> {
  const leader = await cluster.leader();
  const node = workload.endsWith('follower') ? (leader + 1) % cluster.nodeCount : leader;
  const port = must(cluster.clientPorts[node], `node ${node} exists`);
  const load = {...shape, port};
  const run = (): Promise<LoadFigures> =>
    cluster.name === 'rosetta'
      ? runWrk(load, {...defaultWorkload, ...httpWorkloads[workload]}, shape.scratchDirectory)
      : runEtcdRound(workload, load, shape.scratchDirectory);
  if (isWrite(workload)) return runWrites(cluster, workload, run);
  const figures = await run();
  // A key that is not there is answered with 404, which counts as an error.
  if (figures.requestCount === 0) throw new Error(`${cluster.name} ${workload}: nothing was read`);
  return figures;
}

/** `run` writes, and hardly anybody else; throws when what succeeded did not reach the store. */
export async function runWrites(
  cluster: Pick<StoreCluster, 'name' | 'revision'>,
  what: string,
  run: () => Promise<LoadFigures>,
): Promise<LoadFigures> {
  const before = await cluster.revision();
  const figures = await run();
  if (figures.requestCount === 0) throw new Error(`${cluster.name} ${what}: nothing was written`);
  const writtenCount = (await cluster.revision()) - before;
  if (writtenCount < figures.requestCount) {
    const claim = `${figures.requestCount} acknowledged`;
    throw new Error(`${cluster.name} ${what}: ${claim}, ${writtenCount} written`);
  }
  return figures;
}

async function runEtcdRound(
  workload: WorkloadName,
  load: RoundShape & {readonly port: number},
  scratchDirectory: string,
): Promise<LoadFigures> {
  const call = must(etcdCalls[workload], `etcd has ${workload}`);
  const figures = await runH2load(load, call, scratchDirectory);
  if (!isWrite(workload) && figures.dataSizeBytesPerAnswer < valueSizeBytes) {
    throw new Error(`etcd ${workload}: answers of ${figures.dataSizeBytesPerAnswer} bytes`);
  }
  return figures;
}
