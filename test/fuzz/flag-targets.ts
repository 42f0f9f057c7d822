/** Command lines, environments, configuration files and addresses. */
import fc from 'fast-check';
import {assert} from '../../src/base/assert.ts';
import {formatAddress, parseAddress} from '../../src/base/address.ts';
import type {FlagSources, ParsedFlags} from '../../src/cli/flags.ts';
import {parseFlags} from '../../src/cli/flags.ts';
import {parseLauncherOptions, planNodes} from '../../src/cli/launcher-plan.ts';
import {UsageError} from '../../src/cli/usage-error.ts';
import {mustBeRefusal} from './codec-target.ts';
import type {FuzzTarget, Verdict} from './fuzz-target.ts';
import {pureTarget} from './fuzz-target.ts';
import {mustBeSame, textOf} from './same-value.ts';
import {characterOf} from './text-values.ts';

interface FlagInput {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Text of the file of `-config`; null: it cannot be read. */
  readonly config: string | null;
}

const names = fc.constantFrom(
  'id',
  'listen',
  'http',
  'peers',
  'data',
  'join',
  'rejoin',
  'advertise-listen',
  'advertise-http',
  'election-timeout',
  'heartbeat',
  'history-age',
  'history-size',
  'cors-origin',
  'log-level',
  'config',
  'test-wal-segment-size',
  'help',
  'version',
  'nodes',
  'listen-port',
  '__proto__',
);
const values = fc.oneof(
  fc.constantFrom(
    'node1',
    'localhost:8080',
    ':9080',
    '[::1]:1',
    'node2:localhost:8081,node3:[::1]:8082',
    'true',
    '0',
    '150',
    '65536',
    'https://example.org',
    'debug',
    'file.json',
    '',
    '999999999999999999',
    '1e3',
    'two\nlines',
  ),
  fc.string({maxLength: 12}),
);

const words = fc.oneof(
  {weight: 4, arbitrary: fc.tuple(names, values).map(([name, value]) => [`-${name}=${value}`])},
  {weight: 1, arbitrary: fc.tuple(names, values).map(([name, value]) => [`--${name}`, value])},
  {
    weight: 1,
    arbitrary: fc
      .oneof(
        values,
        names.map(name => `-${name}`),
      )
      .map(word => [word]),
  },
);
const valid: readonly string[] = ['-id=node1', '-listen=localhost:8080', '-http=localhost:9080'];

const flagInputs: fc.Arbitrary<FlagInput> = fc.record({
  args: fc
    .tuple(fc.boolean(), fc.array(words, {maxLength: 4}))
    .map(([isComplete, list]) => [...(isComplete ? valid : []), ...list.flat()]),
  env: fc.dictionary(
    names.map(name => `ROSETTA_${name.toUpperCase().replaceAll('-', '_')}`),
    values,
    {maxKeys: 2},
  ),
  config: fc.option(
    fc.oneof(
      fc
        .dictionary(names, fc.oneof(values, fc.nat(), fc.boolean(), fc.array(values)), {maxKeys: 3})
        .map(settings => JSON.stringify(settings)),
      fc.json({maxDepth: 2}),
      fc.string(),
    ),
  ),
});

/** A refusal is one line: it is what the operator sees. */
function isUsageLine(error: unknown): boolean {
  return error instanceof UsageError && error.message !== '' && !/[\r\n]/.test(error.message);
}

function sourcesOf(input: FlagInput): FlagSources {
  return {
    args: input.args,
    env: input.env,
    readFile: () => {
      if (input.config === null) throw new Error('ENOENT: no such file');
      return input.config;
    },
  };
}

function checkFlags(input: FlagInput): Verdict {
  let launched: Verdict = 'accepted';
  try {
    const nodes = planNodes(parseLauncherOptions(input.args));
    for (const node of nodes) {
      parseFlags({args: node.args, env: {}, readFile: () => ''});
    }
  } catch (error) {
    mustBeRefusal(error, isUsageLine);
    launched = 'refused';
  }
  let parsed: ParsedFlags;
  try {
    parsed = parseFlags(sourcesOf(input));
  } catch (error) {
    mustBeRefusal(error, isUsageLine);
    return launched;
  }
  if (parsed.type !== 'server') return 'accepted';
  const {flags} = parsed;
  assert(/^[A-Za-z0-9_-]{1,64}$/.test(flags.id), `id ${flags.id}`);
  for (const address of [flags.listen, flags.http, flags.advertiseListen, flags.advertiseHttp]) {
    assert(parseAddress(address) !== null, `address ${address}`);
  }
  assert(flags.heartbeatMs * 2 <= flags.electionTimeoutMs, 'a heartbeat within the timeout');
  // What was understood, written out as arguments, is understood alike.
  const args = [
    `-id=${flags.id}`,
    `-listen=${flags.listen}`,
    `-http=${flags.http}`,
    ...(flags.peers.length === 0
      ? []
      : [`-peers=${flags.peers.map(({id, address}) => `${id}:${address}`).join(',')}`]),
    `-data=${flags.data}`,
    ...(flags.join === null ? [] : [`-join=${flags.join}`]),
    `-rejoin=${flags.rejoin}`,
    `-advertise-listen=${flags.advertiseListen}`,
    `-advertise-http=${flags.advertiseHttp}`,
    `-election-timeout=${flags.electionTimeoutMs}`,
    `-heartbeat=${flags.heartbeatMs}`,
    `-history-age=${flags.historyAgeMs / 1000}`,
    `-history-size=${flags.historySizeBytesMax / 1024 / 1024}`,
    `-cors-origin=${flags.corsOrigins.join(',')}`,
    `-log-level=${flags.logLevel}`,
    `-test-wal-segment-size=${flags.walSegmentSizeBytes}`,
    `-test-log-retention-size=${flags.logRetentionSizeBytesMax}`,
  ];
  const again = parseFlags({args, env: {}, readFile: () => ''});
  mustBeSame(again, parsed, 'the flags once more');
  return 'accepted';
}

function checkAddress(text: string): Verdict {
  const address = parseAddress(text);
  if (address === null) return 'refused';
  assert(address.port >= 0 && address.port <= 65_535, `port ${address.port}`);
  mustBeSame(parseAddress(formatAddress(address)), address, 'the address once more');
  return 'accepted';
}

export const flagTargets: readonly FuzzTarget[] = [
  pureTarget<FlagInput>(
    {name: 'flags', share: 5},
    {inputs: flagInputs, bytesOf: input => Buffer.from(textOf(input)), check: checkFlags},
  ),
  pureTarget<string>(
    {name: 'address', share: 3},
    {
      inputs: fc.oneof(
        fc.string({unit: characterOf('[]:.-_aF09%'), maxLength: 20}),
        fc
          .tuple(
            fc.oneof(
              fc.domain(),
              fc.ipV4(),
              fc.ipV6().map(literal => `[${literal}]`),
            ),
            fc.nat(70_000),
          )
          .map(([host, port]) => `${host}:${port}`),
      ),
      bytesOf: text => Buffer.from(text),
      check: checkAddress,
    },
  ),
];
