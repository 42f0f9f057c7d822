/**
 * A failed run as a person reads it: what the seed was like, what happened last, how the members
 * stand, what was violated, and how to see it again. The run is repeated for it with a listener.
 */
import type {Logger, LogFields} from '../../src/base/logger.ts';
import {Simulation} from './simulation.ts';
import type {Outcome} from './simulation.ts';
import type {Overrides, SwarmConfig} from './swarm.ts';
import {drawSwarm} from './swarm.ts';

const lineCountMax = 200;

export function tellStory(seed: number, overrides: Overrides): string {
  const config = drawSwarm(seed, overrides);
  const lines: string[] = [];
  let count = 0;
  const add = (line: string): void => {
    count++;
    lines.push(line);
    if (lines.length > 2 * lineCountMax) lines.splice(0, lineCountMax);
  };
  const log = (fields: LogFields, message: string): void =>
    add(`${' '.repeat(12)}log    ${message} ${JSON.stringify(fields, textOf)}`);
  const logger: Logger = {debug: () => undefined, info: log, warn: log, error: log};
  const simulation = new Simulation(config, {
    logger,
    teller: {
      tell: (nowMs, owner, text) => {
        const who = owner < 0 ? 'all' : `node${owner + 1}`;
        add(`${nowMs.toFixed(2).padStart(11)} ${who.padEnd(6)} ${text}`);
      },
    },
  });
  const outcome = simulation.run();
  return [
    `seed ${seed}: ${outcome.violation?.message ?? 'nothing is wrong'}`,
    '',
    ...describeConfig(config),
    '',
    `the last ${Math.min(lineCountMax, lines.length)} of ${count} lines:`,
    ...lines.slice(-lineCountMax),
    '',
    `members at ${outcome.simulatedMs.toFixed(2)} ms, event ${outcome.eventCount}, trace ${outcome.traceHash}:`,
    ...simulation.table(),
    '',
    `violated: ${outcome.violation?.message ?? 'nothing'}`,
    stackOf(outcome),
    '',
    `replay: ${replayCommand(seed, overrides)}`,
  ].join('\n');
}

export function replayCommand(seed: number, overrides: Overrides): string {
  const {without = [], chaosMs, size, clientCount} = overrides;
  const flags = [
    ...(without.length > 0 ? [`--without ${without.join(',')}`] : []),
    ...(chaosMs !== undefined ? [`--chaos-ms ${chaosMs}`] : []),
    ...(size !== undefined ? [`--size ${size}`] : []),
    ...(clientCount !== undefined ? [`--clients ${clientCount}`] : []),
  ];
  return ['npm run simulate -- --seed', seed, ...flags].join(' ');
}

function describeConfig(config: SwarmConfig): string[] {
  const {faults, clientKinds, weather, limits, ...rest} = config;
  const rows = [
    ['faults', [...faults].join(', ') || 'none'],
    ['clients beside', [...clientKinds].join(', ') || 'none'],
    ['weather', JSON.stringify(weather)],
    ['limits', JSON.stringify(limits)],
    ...Object.entries(rest).map(([name, value]) => [name, String(value)]),
  ];
  return rows.map(([name, value]) => `  ${(name ?? '').padEnd(22)} ${value ?? ''}`);
}

function stackOf({violation}: Outcome): string {
  if (violation === null) return '';
  const cause = violation.cause instanceof Error ? `\n${violation.cause.stack ?? ''}` : '';
  return `${violation.stack ?? ''}${cause}`;
}

function textOf(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
