/** `watch`: changes as they happen, through failovers, until Ctrl-C. */
import {isClientError} from '../../client/client-error.ts';
import type {Watch, WatchRange} from '../../client/watch.ts';
import type {WatchEvent} from '../../client/watch-event.ts';
import {UsageError} from '../usage-error.ts';
import {clientFlags, withClient} from './cluster-client.ts';
import {coloursFor} from './colours.ts';
import {revisionRange} from './get-verb.ts';
import {keyFlags, keyOperand} from './key-operand.ts';
import {eventFields} from './record-json.ts';
import {clipped, shownText} from './shown-text.ts';
import {Table} from './tables.ts';
import type {Verb, VerbInput} from './verb.ts';
import {isOn, jsonFlag, optionalInteger, text} from './verb.ts';

export const watchVerb: Verb = {
  name: 'watch',
  operands: ['[KEY]'],
  summary: 'follow the changes of a key or prefix until Ctrl-C',
  flags: {
    prefix: text('PREFIX', 'all keys that begin so; -prefix= is every key'),
    from: text('N', 'begin with revision N instead of now'),
    prev: {kind: 'switch', value: '', help: 'show what each key was before'},
    ...keyFlags,
    ...clientFlags,
    ...jsonFlag,
  },
  run: follow,
};

async function follow(input: VerbInput): Promise<number> {
  const range = rangeOf(input);
  const from = optionalInteger(input, 'from', revisionRange);
  const ended = new AbortController();
  input.onSignal(() => ended.abort());
  const {signal} = ended;
  return withClient(input, async client => {
    try {
      // A watch waits for the nodes without limit; whoever mistyped an endpoint hears of it here.
      await client.status({signal});
      await tell(input, client.watch(range, {from, previous: isOn(input, 'prev'), signal}));
    } catch (error) {
      if (!signal.aborted || !isClientError(error, 'ABORTED')) throw error;
    }
    return 0;
  });
}

/** Throws UsageError. */
function rangeOf(input: VerbInput): WatchRange {
  const prefix = input.flags.get('prefix');
  if ((input.operands[0] === undefined) === (prefix === undefined)) {
    throw new UsageError('watch needs KEY or -prefix=PREFIX; -prefix= is every key');
  }
  return prefix === undefined ? {key: keyOperand(input)} : {prefix};
}

async function tell(input: VerbInput, watch: Watch): Promise<void> {
  const {output} = input;
  const told = await watch.start();
  if (output.isNoteTerminal) {
    output.note(`watching from revision ${told + 1} on; Ctrl-C ends it\n`);
  }
  const show = isOn(input, 'json') ? jsonWriter(input) : lineWriter(input);
  for await (const event of watch) {
    output.print(show(event));
    await output.drained();
  }
}

function jsonWriter(input: VerbInput): (event: WatchEvent) => string {
  const hasPrevious = isOn(input, 'prev');
  return event => `${JSON.stringify(eventFields(event, {hasPrevious}))}\n`;
}

function lineWriter(input: VerbInput): (event: WatchEvent) => string {
  const {dim, green, red} = coloursFor(input);
  const table = new Table([
    {title: '', align: 'right', paint: dim},
    {title: '', paint: type => (type === 'put' ? green(type) : red(type))},
    {title: ''},
    {title: ''},
  ]);
  table.measure([['', 'delete', '', '']]);
  return ({revision, type, keyBytes, record, previous}) => {
    const front = [String(revision), type, shownText(keyBytes)];
    table.measure([front]);
    const value = record === null ? '' : shownText(record.valueBytes);
    const before = previous === null ? '' : `  (was ${shownText(previous.valueBytes)})`;
    const width = table.restWidth(input.output.columnCount);
    return table.rows([[...front, clipped(value + before, width)]]);
  };
}
