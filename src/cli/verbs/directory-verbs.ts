/** Verbs for the data directory of a node that does not run: `restore`. */
import path from 'node:path';
import {formatAddress, parseAddress} from '../../base/address.ts';
import {revisionBumpDefault, revisionBumpMax} from '../../server/backup-file.ts';
import {restoreBackup} from '../../server/restore-backup.ts';
import {UsageError} from '../flags.ts';
import {countText} from './tables.ts';
import type {Verb, VerbInput} from './verb.ts';
import {integerFlag, isOn, jsonFlag, requiredFlag, text} from './verb.ts';

const revisionBumpFlag = {
  'revision-bump': text('N', `move revisions forward by so many (${revisionBumpDefault})`),
} as const;

export const restoreVerb: Verb = {
  name: 'restore',
  operands: ['FILE'],
  summary: 'make a new cluster of one node from a backup file',
  flags: {
    data: text('DIR', 'data directory of the new node, empty or not there yet'),
    id: text('NAME', 'its name'),
    listen: text('HOST:PORT', 'its address for other nodes'),
    http: text('HOST:PORT', 'address of its HTTP API'),
    ...revisionBumpFlag,
    ...jsonFlag,
  },
  run: restore,
};

async function restore(input: VerbInput): Promise<number> {
  const id = requiredFlag(input, 'id', 'node1');
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) {
    throw new UsageError(`-id=${id} must be 1 to 64 letters, digits, "_" or "-"`);
  }
  const listen = addressFlag(input, 'listen', 'localhost:8080');
  const http = addressFlag(input, 'http', 'localhost:9080');
  const data = requiredFlag(input, 'data', './rosetta-data/node1');
  const result = await restoreBackup({
    file: path.resolve(input.operands[0] ?? ''),
    data,
    first: {id, listen, http},
    revisionBump: revisionBump(input),
  });
  const {head, clusterId, revision} = result;
  if (isOn(input, 'json')) {
    const fields = {data: result.data, id, clusterId, revision, keys: head.keyCount};
    input.output.print(`${JSON.stringify({...fields, backupRevision: head.revision})}\n`);
    return 0;
  }
  input.output.print(
    `restored ${countText(head.keyCount)} keys into ${result.data}, a new cluster ${clusterId}\n` +
      `the backup was of revision ${head.revision}; the new cluster goes on at ${revision}\n\n` +
      `start it, alone or with -peers as in the README, the others with empty directories:\n` +
      `  ./rosetta -id=${id} -listen=${listen} -http=${http} -data=${data}\n`,
  );
  return 0;
}

function revisionBump(input: VerbInput): number {
  const range = {min: 1, max: revisionBumpMax, fallback: revisionBumpDefault};
  return integerFlag(input, 'revision-bump', range);
}

function addressFlag(input: VerbInput, name: string, example: string): string {
  const given = requiredFlag(input, name, example);
  const address = parseAddress(given);
  if (address === null) throw new UsageError(`-${name}=${given} is not host:port`);
  return formatAddress(address);
}
