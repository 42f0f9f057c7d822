/**
 * The rate of exactly-once puts through `rosetta/client`, from this process, beside wrk's rate of
 * plain puts at as many in flight.
 */
import {must} from '../../src/base/assert.ts';
import {connect} from '../../src/client/node-client.ts';
import {median} from '../load/load-figures.ts';
import {defaultWorkload, keyName} from '../load/wrk-script.ts';
import {runWrk} from '../load/wrk.ts';
import type {ClientFigures} from '../report/results.ts';
import type {BenchContext} from './bench-context.ts';
import {valueSizeBytes} from './workload-plan.ts';

const inFlight = 64;
const warmUpSeconds = 6;

export async function measureClient(context: BenchContext): Promise<ClientFigures> {
  const {roundCount, secondsPerRound} = context.options;
  const cluster = await context.rosetta();
  await cluster.start();
  const port = must(cluster.clientPorts[await cluster.leader()], 'a port');
  const wrk = async (durationSeconds: number): Promise<number> => {
    const shape = {port, connectionCount: inFlight, durationSeconds};
    const load = await runWrk(shape, defaultWorkload, context.scratchDirectory);
    return load.requestsPerSecond;
  };
  const client = connect({
    endpoints: `http://127.0.0.1:${port}`,
    connectionCountMax: inFlight,
  });
  const value = 'v'.repeat(valueSizeBytes);
  const own = async (durationSeconds: number): Promise<number> => {
    const endsAtMs = performance.now() + durationSeconds * 1000;
    const startedAtMs = performance.now();
    let count = 0;
    const write = async (): Promise<void> => {
      while (performance.now() < endsAtMs) {
        await client.put(keyName(0), value);
        count += 1;
      }
    };
    await Promise.all(Array.from({length: inFlight}, write));
    return (count * 1000) / (performance.now() - startedAtMs);
  };
  await wrk(warmUpSeconds);
  await own(warmUpSeconds);
  const wrkRates: number[] = [];
  const rates: number[] = [];
  let cpuMicros = 0;
  let putCount = 0;
  for (let round = 0; round < roundCount; round++) {
    wrkRates.push(await wrk(secondsPerRound));
    const before = process.cpuUsage();
    const rate = await own(secondsPerRound);
    const used = process.cpuUsage(before);
    cpuMicros += used.user + used.system;
    putCount += rate * secondsPerRound;
    rates.push(rate);
  }
  await client.close();
  await cluster.stop();
  const figures: ClientFigures = {
    inFlight,
    putsPerSecond: median(rates),
    wrkPutsPerSecond: median(wrkRates),
    clientCpuUsPerPut: cpuMicros / putCount,
  };
  context.say(
    `client: ${Math.round(figures.putsPerSecond)} puts/s, wrk ` +
      `${Math.round(figures.wrkPutsPerSecond)}/s`,
  );
  return figures;
}
