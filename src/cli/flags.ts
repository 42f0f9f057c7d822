/**
 * The server's flags: `-id=node1`, `--id node1`, `ROSETTA_ID=node1`, `{"id": "node1"}` in the file
 * of `-config`. The first of these that is given counts; then the default. The table below is the
 * one list of flags; the help text is made from it. Bad input throws UsageError with one line.
 */
import {formatAddress, parseAddress} from '../base/address.ts';
import {limits} from '../base/limits.ts';
import {peersProblem} from '../server/peers-check.ts';
import {optionRanges} from '../server/server-options.ts';
import {refuseEveryInterface, toAddress, toAdvertised} from './address-flags.ts';
import {UsageError} from './usage-error.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface PeerFlag {
  readonly id: string;
  /** Raft address, `host:port`. */
  readonly address: string;
}

/** Addresses are `host:port` as written, with a valid port. Times in ms, sizes in bytes. */
export interface ServerFlags {
  readonly id: string;
  readonly listen: string;
  readonly http: string;
  readonly peers: readonly PeerFlag[];
  readonly data: string;
  readonly join: string | null;
  readonly rejoin: boolean;
  readonly advertiseListen: string;
  readonly advertiseHttp: string;
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly corsOrigins: readonly string[];
  readonly historyAgeMs: number;
  readonly historySizeBytesMax: number;
  readonly walSegmentSizeBytes: number;
  readonly logRetentionSizeBytesMax: number;
  readonly logLevel: LogLevel;
}

export type ParsedFlags =
  | {readonly type: 'help'}
  | {readonly type: 'version'}
  | {readonly type: 'server'; readonly flags: ServerFlags};

interface FlagRow {
  readonly kind: 'text' | 'switch';
  /** Shown after the name in the help; null: the flag is not listed. */
  readonly value: string | null;
  readonly help: string;
}

const mib = 1024 * 1024;

const flagTable = {
  id: row('NAME', 'name of this node: 1 to 64 of A-Z a-z 0-9 _ -'),
  listen: row('HOST:PORT', 'address for the other nodes (Raft)'),
  http: row('HOST:PORT', 'address of the HTTP API'),
  peers: row('ID:HOST:PORT,…', 'the other first members and their -listen addresses'),
  data: row('DIR', 'data directory (default ./rosetta-data/<id>)'),
  join: row('HOST:PORT', '-listen address of any member of the cluster to come into'),
  rejoin: {kind: 'switch', value: '', help: 'replace the lost or former data of this id'},
  'advertise-listen': row('HOST:PORT', 'what the other nodes are told (default: -listen)'),
  'advertise-http': row('HOST:PORT', 'what clients are told (default: -http)'),
  'election-timeout': row('MS', 'silence before an election, drawn from 1 to 2 times it (150)'),
  heartbeat: row('MS', 'interval of heartbeats (50)'),
  'history-age': row('SECONDS', 'compact history older than this, 0 never (3600)'),
  'history-size': row('MIB', 'compact history larger than this, 0 never (1024)'),
  'cors-origin': row('ORIGIN,…', 'origins whose pages may write'),
  'log-level': row('LEVEL', 'debug, info, warn, error or silent (info)'),
  config: row('FILE', 'the same names and values as JSON'),
  'test-wal-segment-size': {kind: 'text', value: null, help: ''},
  'test-log-retention-size': {kind: 'text', value: null, help: ''},
  help: {kind: 'switch', value: '', help: 'this text'},
  version: {kind: 'switch', value: '', help: 'the version'},
} as const satisfies Record<string, FlagRow>;

type FlagName = keyof typeof flagTable;

const flagNames = Object.keys(flagTable) as FlagName[];
const logLevels: readonly string[] = ['debug', 'info', 'warn', 'error', 'silent'];

export interface FlagSources {
  /** The words after the program's name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads the file of `-config`; may throw. */
  readonly readFile: (path: string) => string;
}

/** Throws UsageError. */
export function parseFlags(sources: FlagSources): ParsedFlags {
  const given = readArguments(sources.args);
  if (given.get('help') === 'true') return {type: 'help'};
  if (given.get('version') === 'true') return {type: 'version'};
  const fromEnvironment = readEnvironment(sources.env);
  const config = given.get('config') ?? fromEnvironment.get('config');
  const fromFile = config === undefined ? new Map() : readConfig(config, sources.readFile);
  const values = new Map<FlagName, string>([...fromFile, ...fromEnvironment, ...given]);
  return {type: 'server', flags: toServerFlags(values)};
}

export function helpText(): string {
  const lines = [
    'Usage: ./rosetta -id=node1 -listen=localhost:8080 -http=localhost:9080 [flags]',
    '',
  ];
  for (const name of flagNames) {
    const {value, help}: FlagRow = flagTable[name];
    if (value === null) continue;
    const left = value === '' ? `-${name}` : `-${name}=${value}`;
    lines.push(`  ${left.padEnd(32)} ${help}`);
  }
  lines.push(
    '',
    'Flags take one dash or two, "=" or a space. Each is also an environment variable',
    '(ROSETTA_ID, ROSETTA_ELECTION_TIMEOUT, …) and a key of the -config file; a flag comes before',
    'the environment, the environment before the file.',
    'Addresses: localhost:9080, :9080 (every interface), [::1]:9080.',
  );
  return lines.join('\n') + '\n';
}

function row(value: string, help: string): FlagRow {
  return {kind: 'text', value, help};
}

function readArguments(args: readonly string[]): Map<FlagName, string> {
  const values = new Map<FlagName, string>();
  for (let i = 0; i < args.length; i++) {
    const word = args[i] ?? '';
    const match = /^--?([A-Za-z][A-Za-z0-9-]*)(?:=(.*))?$/s.exec(word);
    if (match === null) {
      throw new UsageError(`${quote(word)} is not a flag; ./rosetta -help lists them`);
    }
    const name = match[1] ?? '';
    if (!isFlagName(name)) {
      throw new UsageError(`there is no flag -${name}; ./rosetta -help lists them`);
    }
    if (values.has(name)) throw new UsageError(`-${name} is given twice`);
    let value = match[2];
    if (flagTable[name].kind === 'switch') {
      value = toSwitch(`-${name}`, value ?? 'true');
    } else if (value === undefined) {
      value = args[i + 1];
      i += 1;
      if (value === undefined || isFlagWord(value)) {
        throw new UsageError(
          `-${name} needs a value: -${name}=${flagTable[name].value ?? 'VALUE'}`,
        );
      }
    }
    values.set(name, value);
  }
  return values;
}

/** Whether the word after a flag is the next flag rather than a value that begins with a dash. */
function isFlagWord(word: string): boolean {
  const match = /^--?([A-Za-z][A-Za-z0-9-]*)(?:=.*)?$/s.exec(word);
  return match !== null && isFlagName(match[1] ?? '');
}

function readEnvironment(env: FlagSources['env']): Map<FlagName, string> {
  const values = new Map<FlagName, string>();
  for (const name of flagNames) {
    const variable = `ROSETTA_${name.toUpperCase().replaceAll('-', '_')}`;
    const value = env[variable];
    if (value === undefined || value === '' || name === 'help' || name === 'version') continue;
    values.set(name, flagTable[name].kind === 'switch' ? toSwitch(variable, value) : value);
  }
  return values;
}

function readConfig(path: string, readFile: FlagSources['readFile']): Map<FlagName, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFile(path));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`-config=${path} cannot be read: ${reason}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new UsageError(`-config=${path} must hold a JSON object`);
  }
  const values = new Map<FlagName, string>();
  for (const [name, value] of Object.entries(parsed)) {
    if (!isFlagName(name) || name === 'config' || name === 'help' || name === 'version') {
      throw new UsageError(`-config=${path}: there is no setting ${quote(name)}`);
    }
    // A list that names nobody says what its absence says.
    if (Array.isArray(value) && value.length === 0) continue;
    values.set(name, toConfigText(`-config=${path}: ${quote(name)}`, value));
  }
  return values;
}

/** Lists may be arrays of strings; numbers and booleans may be themselves. */
function toConfigText(place: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value) && value.every(item => typeof item === 'string')) return value.join(',');
  throw new UsageError(`${place} must be a string, a number, a boolean or a list of strings`);
}

function toServerFlags(values: ReadonlyMap<FlagName, string>): ServerFlags {
  const id = toId('-id', required(values, 'id'));
  const listen = toAddress('-listen', required(values, 'listen'));
  const http = toAddress('-http', required(values, 'http'));
  if (listen === http && !listen.endsWith(':0')) {
    throw new UsageError(`-listen and -http are both ${listen}; they need two ports`);
  }
  const peersText = values.get('peers');
  const peers = toPeers(peersText ?? '', {id, listen});
  if (peersText !== undefined && peers.length === 0) {
    // An unset variable of a script must not found a cluster of one.
    throw new UsageError('-peers names nobody; leave it out for a node that is alone');
  }
  const join = values.get('join');
  if (join !== undefined && peers.length > 0) {
    throw new UsageError('-join and -peers exclude each other: -peers forms a new cluster');
  }
  const rejoin = toSwitch('-rejoin', values.get('rejoin') ?? 'false') === 'true';
  if (rejoin && join === undefined && peers.length === 0) {
    throw new UsageError('-rejoin needs -join or -peers: the members that are to let it in');
  }
  if (join !== undefined && toAddress('-join', join) === listen) {
    throw new UsageError(`-join=${join} is the -listen address of this node itself`);
  }
  if (peers.length > 0 || join !== undefined) {
    refuseEveryInterface(listen, values.get('advertise-listen'));
  }
  const ranges = optionRanges;
  const electionTimeoutMs = integer(values, 'election-timeout', ranges.electionTimeoutMs, 150);
  const heartbeatMs = integer(values, 'heartbeat', ranges.heartbeatMs, 50);
  if (heartbeatMs * 2 > electionTimeoutMs) {
    throw new UsageError(
      `-heartbeat=${heartbeatMs} must be at most half of -election-timeout=${electionTimeoutMs}`,
    );
  }
  const historyAge = {min: 0, max: ranges.historyAgeMs.max / 1000};
  const historySize = {min: 0, max: ranges.historySizeBytesMax.max / mib};
  return {
    id,
    listen,
    http,
    peers,
    data: toData(values.get('data') ?? `./rosetta-data/${id}`),
    join: join === undefined ? null : toAddress('-join', join),
    rejoin,
    advertiseListen: toAdvertised('-advertise-listen', values.get('advertise-listen'), listen),
    advertiseHttp: toAdvertised('-advertise-http', values.get('advertise-http'), http),
    electionTimeoutMs,
    heartbeatMs,
    corsOrigins: splitList(values.get('cors-origin') ?? '').map(toOrigin),
    historyAgeMs: integer(values, 'history-age', historyAge, limits.historyAgeMs / 1000) * 1000,
    historySizeBytesMax:
      integer(values, 'history-size', historySize, limits.historySizeBytesMax / mib) * mib,
    walSegmentSizeBytes: size(values, 'test-wal-segment-size', limits.walSegmentSizeBytes),
    logRetentionSizeBytesMax: size(
      values,
      'test-log-retention-size',
      limits.logRetentionSizeBytesMax,
    ),
    logLevel: toLogLevel(values.get('log-level') ?? 'info'),
  };
}

function required(values: ReadonlyMap<FlagName, string>, name: FlagName): string {
  const value = values.get(name);
  if (value === undefined || value === '') {
    throw new UsageError(
      `-${name} is missing; for example ./rosetta -id=node1 -listen=localhost:8080 -http=localhost:9080`,
    );
  }
  return value;
}

function toId(place: string, text: string): string {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(text)) {
    throw new UsageError(`${place}=${text} must be 1 to 64 letters, digits, "_" or "-"`);
  }
  return text;
}

/** An unset variable of a script would make it the directory of the shell. */
function toData(text: string): string {
  if (text === '') throw new UsageError('-data needs a value: the directory for the data');
  return text;
}

function toPeers(
  text: string,
  own: {readonly id: string; readonly listen: string},
): readonly PeerFlag[] {
  const peers: PeerFlag[] = [];
  for (const item of splitList(text)) {
    const colon = item.indexOf(':');
    if (colon < 1) throw new UsageError(`-peers: ${quote(item)} is not id:host:port`);
    const id = toId('-peers: id', item.slice(0, colon));
    const address = parseAddress(item.slice(colon + 1));
    if (address === null || address.port === 0) {
      throw new UsageError(`-peers: ${quote(item)} is not id:host:port`);
    }
    peers.push({id, address: formatAddress(address)});
  }
  const problem = peersProblem(peers, own);
  if (problem !== null) throw new UsageError(`-peers ${problem}`);
  return peers;
}

function toOrigin(text: string): string {
  if (!/^https?:\/\/[^/\s?#]+$/.test(text)) {
    throw new UsageError(`-cors-origin: ${quote(text)} is not an origin like https://example.org`);
  }
  return text;
}

function toLogLevel(text: string): LogLevel {
  if (!isLogLevel(text)) {
    throw new UsageError(`-log-level=${text} must be one of ${logLevels.join(', ')}`);
  }
  return text;
}

function isLogLevel(text: string): text is LogLevel {
  return logLevels.includes(text);
}

function integer(
  values: ReadonlyMap<FlagName, string>,
  name: FlagName,
  range: {readonly min: number; readonly max: number},
  fallback: number,
): number {
  const text = values.get(name);
  if (text === undefined) return fallback;
  const value = /^[0-9]{1,15}$/.test(text) ? Number(text) : NaN;
  if (!(value >= range.min && value <= range.max)) {
    throw new UsageError(
      `-${name}=${text} must be a whole number from ${range.min} to ${range.max}`,
    );
  }
  return value;
}

function size(values: ReadonlyMap<FlagName, string>, name: FlagName, fallback: number): number {
  return integer(values, name, {min: 64 * 1024, max: 1024 * mib}, fallback);
}

function toSwitch(name: string, text: string): 'true' | 'false' {
  if (text === 'true' || text === '1') return 'true';
  if (text === 'false' || text === '0') return 'false';
  throw new UsageError(`${name}=${text} must be true or false`);
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== '');
}

function isFlagName(name: string): name is FlagName {
  return Object.hasOwn(flagTable, name);
}

function quote(text: string): string {
  return JSON.stringify(text);
}
