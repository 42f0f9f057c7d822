/**
 * Verbs for the data directory of a node that does not run: `restore`, `recover`, `verify`. Storage
 * is loaded when one of them runs: the other verbs start without it.
 */
import path from 'node:path';
import {formatAddress, parseAddress} from '../../base/address.ts';
import {revisionBumpDefault, revisionBumpMax} from '../../server/backup-file.ts';
import type {DirectorySummary, ForcedRecovery} from '../../server/recover-directory.ts';
import type {PartReport} from '../../server/verify-directory.ts';
import {quoteForShell} from '../shell-words.ts';
import {UsageError} from '../usage-error.ts';
import type {Pair} from './tables.ts';
import {countText, pairsText} from './tables.ts';
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

export const recoverVerb: Verb = {
  name: 'recover',
  operands: [],
  summary: 'show what a stopped node has; with -force make a cluster of it alone',
  flags: {
    data: text('DIR', 'data directory of the stopped node'),
    force: {kind: 'switch', value: '', help: 'make a new cluster of this node alone'},
    'accept-diverged': {
      kind: 'switch',
      value: '',
      help: 'with -force: even if its state is known to be wrong',
    },
    'accept-stale': {
      kind: 'switch',
      value: '',
      help: 'with -force: even if it is known to be an older copy',
    },
    ...revisionBumpFlag,
    ...jsonFlag,
  },
  run: recover,
};

export const verifyVerb: Verb = {
  name: 'verify',
  operands: [],
  summary: 'check every record of a stopped node',
  flags: {data: text('DIR', 'data directory of the stopped node'), ...jsonFlag},
  run: verify,
};

async function restore(input: VerbInput): Promise<number> {
  const id = requiredFlag(input, 'id', 'node1');
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) {
    throw new UsageError(`-id=${id} must be 1 to 64 letters, digits, "_" or "-"`);
  }
  const listen = addressFlag(input, 'listen', 'localhost:8080');
  const http = addressFlag(input, 'http', 'localhost:9080');
  const data = requiredFlag(input, 'data', './rosetta-data/node1');
  const {restoreBackup} = await import('../../server/restore-backup.ts');
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
      `  ./rosetta -id=${id} -listen=${listen} -http=${http} -data=${quoteForShell(data)}\n`,
  );
  return 0;
}

async function recover(input: VerbInput): Promise<number> {
  const data = requiredFlag(input, 'data', './rosetta-data/node1');
  const {forceRecovery, inspectDirectory} = await import('../../server/recover-directory.ts');
  if (!isOn(input, 'force')) {
    const summary = await inspectDirectory(data);
    const shown = isOn(input, 'json')
      ? `${JSON.stringify(summaryFields(summary))}\n`
      : pairsText(summaryPairs(summary)) + recoverAdvice(data);
    input.output.print(shown);
    return 0;
  }
  const forced = await forceRecovery(data, {
    revisionBump: revisionBump(input),
    acceptDiverged: isOn(input, 'accept-diverged'),
    acceptStale: isOn(input, 'accept-stale'),
  });
  const {before, clusterId, revision, keyCount: keys, saved} = forced;
  if (isOn(input, 'json')) {
    const fields = before === null ? null : summaryFields(before);
    const shown = {clusterId, revision, keys, saved, before: fields};
    input.output.print(`${JSON.stringify(shown)}\n`);
  } else {
    input.output.print(forcedText(data, forced));
  }
  return 0;
}

function summaryFields(summary: DirectorySummary): Record<string, unknown> {
  const {logStart, last, checkpoint, membership, keyCount, ...rest} = summary;
  const {voters, votersOutgoing, learners, members} = membership;
  return {
    ...rest,
    firstIndex: logStart.index + 1,
    lastIndex: last.index,
    lastTerm: last.term,
    checkpointIndex: checkpoint.index,
    checkpointTerm: checkpoint.term,
    keys: keyCount,
    voters,
    votersOutgoing,
    learners,
    members,
  };
}

function summaryPairs(summary: DirectorySummary): readonly Pair[] {
  const {last, checkpoint, membership} = summary;
  const members = membership.members.map(({id, listen}) => {
    return `${id} (${membership.learners.includes(id) ? 'learner, ' : ''}${listen})`;
  });
  const behind = last.index - checkpoint.index;
  return [
    ['cluster id', summary.clusterId ?? 'none yet'],
    ['node id', summary.nodeId],
    ['incarnation', summary.incarnation],
    ...(summary.divergence === null ? [] : [['DIVERGED', summary.divergence] as const]),
    ...(summary.stale === null ? [] : [['OLDER COPY', summary.stale] as const]),
    ['starts', summary.startCount],
    ['term', summary.term],
    ['vote', summary.vote ?? 'none'],
    ['last entry', `${last.index} of term ${last.term}`],
    ['committed', `${summary.commit}, as far as this node knew`],
    ['checkpoint', `${checkpoint.index} of term ${checkpoint.term}, ${behind} entries behind it`],
    ['revision', `${summary.revision} at the checkpoint, ${countText(summary.keyCount)} keys`],
    ['members', members.length === 0 ? 'none yet' : members.join(', ')],
    ...summary.warnings.map((warning): Pair => ['next start', warning]),
  ];
}

function recoverAdvice(data: string): string {
  return `
Nothing was changed. Only when the majority of the members is lost for good, look at every
directory that is left like this. The one whose last entry has the highest term, and of these the
highest index, holds the most. Make a new cluster of it alone with:
  ./rosetta recover -data=${quoteForShell(data)} -force
`;
}

function forcedText(data: string, forced: ForcedRecovery): string {
  const {before, clusterId, revision, keyCount, first, saved} = forced;
  const {id, listen, http} = first;
  const lines = [`${id} is a new cluster of one node, ${clusterId}`];
  if (before === null || revision === null) {
    lines.push('an earlier recovery or restore was interrupted; it is complete now');
  } else {
    const {last, commit} = before;
    lines.push(
      `it has ${countText(keyCount ?? 0)} keys and goes on at revision ${revision}`,
      '',
      `kept: all that its log holds, up to entry ${last.index} of term ${last.term}`,
      `lost: every write acknowledged after that by the members that are gone`,
    );
    if (last.index > commit) {
      lines.push(
        `open: entries ${commit + 1} to ${last.index} were not known to be committed here; they`,
        '      count from now on, also where their clients were told that nobody knows',
      );
    }
  }
  if (saved !== null) {
    lines.push(`What was there before is in ${saved}; remove it when you are sure.`);
  }
  lines.push(
    '',
    'Never start the old members again with their old directories. Start this one, alone or with',
    '-peers as in the README, the others with empty directories:',
    `  ./rosetta -id=${id} -listen=${listen} -http=${http} -data=${quoteForShell(data)}`,
  );
  return `${lines.join('\n')}\n`;
}

async function verify(input: VerbInput): Promise<number> {
  const data = requiredFlag(input, 'data', './rosetta-data/node1');
  const {verifyDirectory} = await import('../../server/verify-directory.ts');
  const reports = await verifyDirectory(data);
  const damageCount = reports.reduce((sum, report) => sum + report.damageCount, 0);
  const shown = isOn(input, 'json')
    ? `${JSON.stringify({data: path.resolve(data), ok: damageCount === 0, parts: reports})}\n`
    : reports.map(reportText).join('') + verdict(reports);
  input.output.print(shown);
  return damageCount === 0 ? 0 : 1;
}

function reportText({part, findings, damages, damageCount}: PartReport): string {
  const told = damages.map(({path: file, offset, problem}) => {
    return `DAMAGED   ${offset === null ? file : `${file} at byte ${offset}`}: ${problem}`;
  });
  const untold = damageCount - damages.length;
  const lines = [...(damageCount === 0 ? findings.map(finding => `ok   ${finding}`) : told)];
  if (untold > 0) lines.push(`DAMAGED   and ${untold} more places`);
  return lines.map(line => `${part.padEnd(18)}   ${line}\n`).join('');
}

function verdict(reports: readonly PartReport[]): string {
  const damaged = reports.filter(report => report.damageCount > 0).map(({part}) => part);
  if (damaged.length === 0) return '\nNo damage found.\n';
  // Everything in it is in the log too, or with the other members.
  if (damaged.every(part => part === 'checkpoint' || part === 'state hash')) {
    return (
      '\nDamage found, in the checkpoint only. Move checkpoint/ away and start the node as usual: ' +
      'a member gets it\nfrom the others, a single node rebuilds it from a log that begins at entry ' +
      '1; otherwise restore a backup.\n'
    );
  }
  return (
    '\nDamage found. In a cluster, move the directory away and start the node with -rejoin; of a ' +
    'single node, restore a backup.\n'
  );
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
