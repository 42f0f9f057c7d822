/** The hot parts one by one, in this process. Compare runs on one machine, not machines. */
import {measureHttpDoor} from '../micro/http-door.ts';
import {measureRaft} from '../micro/raft-round.ts';
import {measureStateMachine} from '../micro/state-machine-parts.ts';
import {Stopwatch} from '../micro/stopwatch.ts';
import {measureStorage} from '../micro/storage-parts.ts';
import {measureTransport} from '../micro/transport-parts.ts';
import type {MicroRow} from '../report/results.ts';
import type {BenchContext} from './bench-context.ts';

export async function measureMicro(context: BenchContext): Promise<readonly MicroRow[]> {
  const passMs = context.options.isQuick ? 100 : 500;
  const stopwatch = new Stopwatch({passMs, say: line => context.say(line)});
  measureRaft(stopwatch);
  measureStateMachine(stopwatch);
  await measureStorage(stopwatch, context.directory('micro'));
  await measureTransport(stopwatch);
  await measureHttpDoor(stopwatch);
  return stopwatch.rows;
}
