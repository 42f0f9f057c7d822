/** `ls`: the records of a range at one moment, page by page as long as somebody reads them. */
import type {KeyRange} from '../../client/kv-requests.ts';
import type {RangeListing} from '../../client/range-listing.ts';
import type {KvRecord} from '../../client/record.ts';
import {UsageError} from '../usage-error.ts';
import {clientFlags, withClient} from './cluster-client.ts';
import {coloursFor} from './colours.ts';
import {consistencyFlag, consistencyOf} from './consistency.ts';
import {revisionRange} from './get-verb.ts';
import {recordFields} from './record-json.ts';
import {clipped, shownText} from './shown-text.ts';
import {keysText, Table} from './tables.ts';
import type {Verb, VerbInput} from './verb.ts';
import {integerFlag, isOn, jsonFlag, optionalInteger, text} from './verb.ts';

export const lsVerb: Verb = {
  name: 'ls',
  operands: ['[PREFIX]'],
  summary: 'list the keys that begin with a prefix, or all',
  flags: {
    start: text('KEY', 'from this key on, instead of a prefix'),
    end: text('KEY', 'up to this key, without it'),
    keys: {kind: 'switch', value: '', help: 'keys alone, one a line'},
    count: {kind: 'switch', value: '', help: 'only their number'},
    limit: text('N', 'at most N'),
    reverse: {kind: 'switch', value: '', help: 'from the last to the first'},
    revision: text('N', 'as it was at revision N'),
    ...consistencyFlag,
    ...clientFlags,
    ...jsonFlag,
  },
  run: ls,
};

const pageSizeMax = 1_000;

async function ls(input: VerbInput): Promise<number> {
  const range = rangeOf(input);
  const revision = optionalInteger(input, 'revision', revisionRange);
  const consistency = consistencyOf(input);
  const limit = integerFlag(input, 'limit', {min: 1, max: 1e12, fallback: Infinity});
  return withClient(input, async client => {
    if (isOn(input, 'count')) {
      const counted = await client.count(range, {revision, consistency});
      const {output} = input;
      output.print(`${isOn(input, 'json') ? JSON.stringify(counted) : counted.count}\n`);
      return 0;
    }
    const listing = client.list(range, {
      revision,
      consistency,
      pageSize: Math.min(limit, pageSizeMax),
      reverse: isOn(input, 'reverse'),
      keysOnly: isOn(input, 'keys'),
    });
    await printPages(input, listing, limit);
    return 0;
  });
}

/** Throws UsageError. */
function rangeOf(input: VerbInput): KeyRange {
  const [prefix] = input.operands;
  const start = input.flags.get('start');
  const end = input.flags.get('end');
  if (prefix === undefined) return {start, end};
  if (start === undefined && end === undefined) return {prefix};
  throw new UsageError('a range is a PREFIX, or -start and -end');
}

async function printPages(input: VerbInput, listing: RangeListing, limit: number): Promise<void> {
  const {output} = input;
  const show = writerOf(input);
  let count = 0;
  for await (const {records, revision, more} of listing.pages()) {
    const shown = records.slice(0, limit - count);
    const isFirst = count === 0;
    count += shown.length;
    output.print(show(shown, {isFirst}));
    await output.drained();
    const isCut = count >= limit && (more || shown.length < records.length);
    if (more && !isCut) continue;
    if (output.isTerminal && !isOn(input, 'json')) {
      const rest = isCut ? '; there are more' : '';
      const {dim} = coloursFor(input);
      output.print(`${dim(`${keysText(count)} at revision ${revision}${rest}`)}\n`);
    }
    return;
  }
}

type Writer = (records: readonly KvRecord[], page: {readonly isFirst: boolean}) => string;

function writerOf(input: VerbInput): Writer {
  const hasValue = !isOn(input, 'keys');
  if (isOn(input, 'json')) {
    return records => {
      return records.map(row => `${JSON.stringify(recordFields(row, {hasValue}))}\n`).join('');
    };
  }
  if (!hasValue) return records => records.map(row => `${shownText(row.keyBytes)}\n`).join('');
  return tableWriter(input);
}

function tableWriter(input: VerbInput): Writer {
  const {bold, dim} = coloursFor(input);
  const table = new Table([
    {title: 'KEY'},
    {title: 'REVISION', align: 'right', paint: dim},
    {title: 'VERSION', align: 'right', paint: dim},
    {title: 'VALUE'},
  ]);
  return (records, {isFirst}) => {
    const front = records.map(({keyBytes, modRevision, version}) => {
      return [shownText(keyBytes), String(modRevision), String(version)];
    });
    table.measure(front);
    const width = table.restWidth(input.output.columnCount);
    const rows = records.map(({valueBytes}, i) => {
      return [...(front[i] ?? []), clipped(shownText(valueBytes), width)];
    });
    return (isFirst && rows.length > 0 ? table.head(bold) : '') + table.rows(rows);
  };
}
