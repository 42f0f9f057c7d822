/**
 * What `npm start` brings up: the nodes of one cluster on this machine, their ports, directories
 * and command lines, and the words for them. No I/O.
 */
import {limits} from '../base/limits.ts';
import {quoteForShell} from './shell-words.ts';
import {UsageError} from './usage-error.ts';

export interface LauncherOptions {
  readonly nodeCount: number;
  /** node1 gets this port, node2 the next, … */
  readonly listenPort: number;
  readonly httpPort: number;
  /** Relative to the working directory, or absolute. */
  readonly data: string;
}

export interface PlannedNode {
  readonly id: string;
  readonly listen: string;
  readonly http: string;
  readonly data: string;
  readonly logFile: string;
  /** The words after `./rosetta`. */
  readonly args: readonly string[];
}

export interface TableRow {
  readonly node: PlannedNode;
  readonly pid: number | null;
  readonly state: string;
}

const defaultOptions: LauncherOptions = {
  nodeCount: 3,
  listenPort: 8080,
  httpPort: 9080,
  data: './rosetta-data/cluster',
};

/** `-nodes=3 -listen-port=8080 -http-port=9080 -data=DIR`. Throws UsageError. */
export function parseLauncherOptions(args: readonly string[]): LauncherOptions {
  let options = defaultOptions;
  for (const word of args) {
    const match = /^--?(nodes|listen-port|http-port|data)=(.+)$/.exec(word);
    if (match === null) {
      throw new UsageError(
        `${JSON.stringify(word)} is unknown; npm start takes -nodes=3 -listen-port=8080 ` +
          '-http-port=9080 -data=./rosetta-data/cluster, after a --',
      );
    }
    const value = match[2] ?? '';
    if (match[1] === 'data') options = {...options, data: value};
    else if (match[1] === 'nodes') {
      options = {...options, nodeCount: toNumber(word, value, limits.memberCountMax)};
    } else if (match[1] === 'listen-port') {
      options = {...options, listenPort: toNumber(word, value, 65_000)};
    } else options = {...options, httpPort: toNumber(word, value, 65_000)};
  }
  return options;
}

function toNumber(word: string, text: string, max: number): number {
  const value = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > max) throw new UsageError(`${word}: a number from 1 to ${max}`);
  return value;
}

export function planNodes(options: LauncherOptions): readonly PlannedNode[] {
  const {nodeCount, listenPort, httpPort, data} = options;
  const ids = Array.from({length: nodeCount}, (_, i) => `node${i + 1}`);
  const listens = ids.map((_, i) => `localhost:${listenPort + i}`);
  return ids.map((id, i) => {
    const peers = ids.map((peer, j) => `${peer}:${listens[j] ?? ''}`).filter((_, j) => j !== i);
    const listen = listens[i] ?? '';
    const http = `localhost:${httpPort + i}`;
    const directory = `${data}/${id}`;
    const args = [`-id=${id}`, `-listen=${listen}`, `-http=${http}`];
    if (peers.length > 0) args.push(`-peers=${peers.join(',')}`);
    args.push(`-data=${directory}`);
    return {id, listen, http, data: directory, logFile: `${data}/${id}.log`, args};
  });
}

/** For a shell: starts the node alone, in the foreground. */
export function commandLine(node: PlannedNode): string {
  return ['./rosetta', ...node.args.map(quoteForShell)].join(' ');
}

export function nodeTable(rows: readonly TableRow[]): string {
  const cells = [
    ['node', 'API', 'Raft', 'pid', 'state'],
    ...rows.map(({node, pid, state}) => [
      node.id,
      `http://${node.http}`,
      node.listen,
      pid === null ? '-' : String(pid),
      state,
    ]),
  ];
  const widths = [0, 1, 2, 3, 4].map(i => Math.max(...cells.map(line => (line[i] ?? '').length)));
  return cells
    .map(line => `  ${line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('   ')}`.trimEnd())
    .join('\n');
}

/** Commands worth copying; each goes to another node, to show that any will do. */
export function thingsToTry(rows: readonly TableRow[]): string {
  const hosts = rows.map(row => row.node.http);
  const host = (i: number): string => hosts[i % hosts.length] ?? '';
  const lines = [
    `curl -X PUT http://${host(0)}/kv -d '{"key":"hello","value":"world"}'`,
    `curl http://${host(1)}/kv/hello`,
    `curl -X DELETE http://${host(2)}/kv/hello`,
    `curl http://${host(0)}/status`,
    `curl http://${host(1)}/leader`,
  ];
  const leader = rows.find(row => row.state === 'leader');
  const pid = leader?.pid ?? null;
  if (leader !== undefined && pid !== null && rows.length >= 3) {
    lines.push(`kill -9 ${pid}   # ${leader.node.id}, the leader: the others go on without it`);
  }
  return lines.map(line => `  ${line}`).join('\n');
}
