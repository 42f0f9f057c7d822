/** `snapshot save FILE` and `snapshot status FILE`: backups of a running cluster. */
import type {Buffer} from 'node:buffer';
import {randomBytes} from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import {BackupChecker, openDirectFileWriter, readBackup} from '../../server/backup-file.ts';
import type {BackupHead, BackupSummary} from '../../server/backup-file.ts';
import {MalformedBytesError} from '../../base/bytes.ts';
import {apiClient, chunksOf} from './api-client.ts';
import type {ApiAnswer} from './api-client.ts';
import {consistencyFlag, consistencyOf} from './consistency.ts';
import {endpointsFlag} from './endpoints.ts';
import {ProgressBar} from './progress-bar.ts';
import type {Pair} from './tables.ts';
import {countText, pairsText, sizeText} from './tables.ts';
import {exitCodeOf} from './signal-exit.ts';
import type {StopSignal, Verb, VerbInput} from './verb.ts';
import {isOn, jsonFlag, VerbError} from './verb.ts';

export const snapshotSaveVerb: Verb = {
  name: 'snapshot save',
  operands: ['FILE'],
  summary: 'save a backup of the cluster to a file',
  flags: {
    ...endpointsFlag,
    ...consistencyFlag,
    ...jsonFlag,
  },
  run: save,
};

export const snapshotStatusVerb: Verb = {
  name: 'snapshot status',
  operands: ['FILE'],
  summary: 'check a backup file and say what is in it',
  flags: jsonFlag,
  run: status,
};

async function save(input: VerbInput): Promise<number> {
  const file = path.resolve(input.operands[0] ?? '');
  const consistency = consistencyOf(input);
  const answer = await apiClient(input).request({
    method: 'GET',
    path: `/cluster/snapshot?consistency=${consistency}`,
    timeoutMs: copyTimeoutMs,
  });
  // Until here there is no file that a signal could leave behind.
  const stop: {signal: StopSignal | null} = {signal: null};
  input.onSignal(signal => {
    stop.signal ??= signal;
    answer.stream.destroy();
  });
  const startedAtMs = performance.now();
  let summary: BackupSummary;
  try {
    summary = await receive(answer, file, input);
  } catch (error) {
    if (stop.signal !== null) return exitCodeOf(stop.signal);
    throw error;
  }
  if (isOn(input, 'json')) {
    input.output.print(`${JSON.stringify({file, ...summaryFields(summary)})}\n`);
    return 0;
  }
  const seconds = (performance.now() - startedAtMs) / 1000;
  const {head, sizeBytes} = summary;
  const rate = sizeText(sizeBytes / Math.max(seconds, 0.001));
  input.output.print(
    `saved ${file}: ${sizeText(sizeBytes)} in ${seconds.toFixed(1)} s (${rate}/s), ` +
      `${countText(head.keyCount)} keys at revision ${head.revision}, from ${head.nodeId}\n`,
  );
  return 0;
}

/** The node copies its whole checkpoint before it answers. */
const copyTimeoutMs = 10 * 60_000;

/** Writes beside the file and renames when everything is there, checked and on the disk. */
async function receive(answer: ApiAnswer, file: string, input: VerbInput): Promise<BackupSummary> {
  // Two that save to one name must not write into one file.
  const part = `${file}.${randomBytes(4).toString('hex')}.part`;
  const bar = new ProgressBar(input.output);
  try {
    const summary = await receivePart(answer, part, bar);
    await fs.rename(part, file);
    await syncDirectory(path.dirname(file));
    return summary;
  } catch (error) {
    answer.stream.destroy();
    await fs.rm(part, {force: true});
    const reason = error instanceof Error ? error.message : String(error);
    throw new VerbError(`${file} is not saved: ${reason}`);
  } finally {
    bar.end();
  }
}

async function receivePart(
  answer: ApiAnswer,
  part: string,
  bar: ProgressBar,
): Promise<BackupSummary> {
  const checker = new BackupChecker();
  const writer = await openDirectFileWriter(part, 0o600);
  try {
    for await (const chunk of piecesOf(answer)) {
      checker.push(chunk);
      await writer.write(chunk);
      bar.show(checker.sizeBytes, checker.head?.estimatedSizeBytes ?? 0);
    }
    const end = checker.finish();
    await writer.finish();
    if (checker.head === null) throw new MalformedBytesError('it has no head');
    return {head: checker.head, sizeBytes: checker.sizeBytes, checksum: end.checksum};
  } finally {
    await writer.close();
  }
}

/** A connection that breaks shows as an error of its own, which says little. */
async function* piecesOf(answer: ApiAnswer): AsyncGenerator<Buffer> {
  try {
    yield* chunksOf(answer);
  } catch {
    throw new VerbError(`${answer.endpoint} did not send all of it`);
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await fs.open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function status(input: VerbInput): Promise<number> {
  const summary = readBackup(path.resolve(input.operands[0] ?? ''));
  const text = isOn(input, 'json')
    ? `${JSON.stringify(summaryFields(summary))}\n`
    : pairsText(summaryPairs(summary));
  input.output.print(text);
  return Promise.resolve(0);
}

function summaryFields({head, sizeBytes, checksum}: BackupSummary): Record<string, unknown> {
  return {
    index: head.index,
    term: head.term,
    revision: head.revision,
    compactedRevision: head.compactedRevision,
    keys: head.keyCount,
    bytes: sizeBytes,
    clusterId: head.clusterId,
    nodeId: head.nodeId,
    version: head.version,
    createdAt: new Date(head.createdAtMs).toISOString(),
    stateHash: head.stateHash,
    members: membersOf(head),
    checksum: checksumText(checksum),
    checksumOk: true,
  };
}

function summaryPairs({head, sizeBytes, checksum}: BackupSummary): readonly Pair[] {
  return [
    ['index', head.index],
    ['term', head.term],
    ['revision', head.revision],
    ['keys', countText(head.keyCount)],
    ['size', `${countText(sizeBytes)} bytes`],
    ['cluster id', head.clusterId],
    ['members', membersOf(head).join(', ')],
    ['saved from', `${head.nodeId}, version ${head.version}`],
    ['saved at', new Date(head.createdAtMs).toISOString()],
    ['checksum', `${checksumText(checksum)}, ok`],
  ];
}

function membersOf(head: BackupHead): readonly string[] {
  return head.membership.members.map(member => `${member.id} (${member.listen})`);
}

function checksumText(checksum: number): string {
  return checksum.toString(16).padStart(8, '0');
}
