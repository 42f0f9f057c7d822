/** Commands, their results, and the rows of the state machine. */
import fc from 'fast-check';
import {AssertionError, assert, must} from '../../src/base/assert.ts';
import {MalformedBytesError} from '../../src/base/bytes.ts';
import {limits} from '../../src/base/limits.ts';
import {decodeCommand, decodePlainPut, encodeCommand} from '../../src/kv/command-codec.ts';
import type {Command, Compare, KeyRange, Operation, Transaction} from '../../src/kv/command.ts';
import {decodeEventRow, encodeEventRowView} from '../../src/kv/event-row.ts';
import type {BeforeImage, EventRow} from '../../src/kv/event-row.ts';
import type {Anchor, RecordRow} from '../../src/kv/record-row.ts';
import {decodeRecordRow, encodeRecordRowView, noAnchor} from '../../src/kv/record-row.ts';
import {decodeResult, encodeResult} from '../../src/kv/result-codec.ts';
import type {CommandResult, KeyRecord, OperationResult} from '../../src/kv/result.ts';
import {StateMeta} from '../../src/kv/state-meta.ts';
import type {HistoryCursor} from '../../src/kv/state-meta.ts';
import {metaKey} from '../../src/kv/tables.ts';
import {FakeRows} from '../contract/fake-rows.ts';
import {errorTable, isErrorCode} from '../../src/base/errors.ts';
import {codecTarget} from './codec-target.ts';
import type {FuzzTarget} from './fuzz-target.ts';
import {mustBeSame} from './same-value.ts';

export const keys = fc.uint8Array({minLength: 1, maxLength: 40});
export const values = fc.uint8Array({maxLength: 60});
const numbers = fc.maxSafeNat();
const words = fc.nat(0xffff_ffff);
const flags = fc.boolean();

export const keyRanges: fc.Arbitrary<KeyRange> = fc.record({
  start: fc.uint8Array({maxLength: 40}),
  end: fc.option(keys),
});

const compares: fc.Arbitrary<Compare> = fc.record({
  keys: fc.oneof(fc.record({key: keys}), fc.record({range: keyRanges})),
  operator: fc.constantFrom('=', '!=', '<', '>'),
  target: fc.oneof(
    fc.record({type: fc.constant('value'), value: values}),
    fc.record({
      type: fc.constantFrom('version', 'createRevision', 'modRevision', 'lease'),
      value: numbers,
    }),
  ),
});

const plainOperations: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({
    type: fc.constant('put'),
    key: keys,
    value: values,
    leaseId: numbers,
    ttlMs: numbers,
    ignoreValue: flags,
    ignoreLease: flags,
    wantsPrevious: flags,
  }),
  fc.record({
    type: fc.constant('put'),
    key: keys,
    value: values,
    leaseId: fc.constant(0),
    ttlMs: fc.constant(0),
    ignoreValue: fc.constant(false),
    ignoreLease: fc.constant(false),
    wantsPrevious: fc.constant(false),
  }),
  fc.record({type: fc.constant('get'), key: keys}),
  fc.record({
    type: fc.constant('range'),
    range: keyRanges,
    limit: numbers,
    isReverse: flags,
    keysOnly: flags,
    countOnly: flags,
  }),
  fc.record({type: fc.constant('delete'), key: keys, wantsPrevious: flags}),
  fc.record({type: fc.constant('delete-range'), range: keyRanges, wantsPrevious: flags}),
);

function operations(depth: number): fc.Arbitrary<readonly Operation[]> {
  const operation =
    depth === limits.transactionDepthMax
      ? plainOperations
      : fc.oneof(
          {weight: 4, arbitrary: plainOperations},
          {weight: 1, arbitrary: transactions(depth + 1)},
        );
  return fc.array(operation, {maxLength: 3});
}

function transactions(depth: number): fc.Arbitrary<Transaction> {
  return fc.record({
    type: fc.constant('transaction'),
    compare: fc.array(compares, {maxLength: 2}),
    success: operations(depth),
    failure: operations(depth),
  });
}

const singleOperations: fc.Arbitrary<Transaction> = plainOperations.map(operation => ({
  type: 'transaction',
  compare: [],
  success: [operation],
  failure: [],
}));

const positive = numbers.map(number => Math.max(1, number));

const leaseCommands = fc.oneof(
  fc.record({type: fc.constant('lease-grant' as const), id: numbers, ttlMs: positive}),
  fc.record({
    type: fc.constant('lease-revoke' as const),
    leases: fc.array(fc.record({id: positive, grant: numbers}), {minLength: 1, maxLength: 5}),
  }),
  fc.record({type: fc.constant('lease-query' as const), id: positive, isKeepalive: flags}),
);

export const commands: fc.Arbitrary<Command> = fc.record({
  idempotency: fc.option(
    fc.record({
      key: fc.string({minLength: 1, maxLength: 20}),
      fingerprint: fc.uint8Array({minLength: 16, maxLength: 16}),
      acknowledged: fc.oneof(fc.constant(0), numbers),
    }),
  ),
  body: fc.oneof(
    transactions(1),
    singleOperations,
    fc.record({type: fc.constant('compact'), revision: numbers}),
    leaseCommands,
    fc.record({
      type: fc.constant('session'),
      action: fc.constantFrom('open', 'close'),
      id: fc.stringMatching(/^[ -.0-~]{1,64}$/),
    }),
  ),
});

/** The short way to a plain put and the long way agree. */
function plainPutAgrees(command: Command, bytes: Buffer): void {
  const plainPut = decodePlainPut(bytes);
  const {idempotency, body} = command;
  const only =
    body.type === 'transaction' && body.compare.length + body.failure.length === 0
      ? body.success
      : [];
  const [operation] = only;
  if (plainPut === null || operation?.type !== 'put') {
    assert(plainPut === null, 'a plain put that is none');
    return;
  }
  assert(idempotency === null && only.length === 1, 'a plain put is alone');
  mustBeSame(
    {...operation, ...plainPut},
    {
      ...plainPut,
      type: 'put',
      leaseId: 0,
      ttlMs: 0,
      ignoreValue: false,
      ignoreLease: false,
      wantsPrevious: false,
    },
    'the plain put',
  );
  mustBeSame(plainPut, {key: operation.key, value: operation.value}, 'the plain put');
}

const records: fc.Arbitrary<KeyRecord> = fc.record({
  key: keys,
  value: values,
  createRevision: numbers,
  modRevision: numbers,
  version: numbers,
  leaseId: numbers,
});
const recordLists = fc.array(records, {maxLength: 3});

function operationResults(depth: number): fc.Arbitrary<readonly OperationResult[]> {
  const plain: fc.Arbitrary<OperationResult> = fc.oneof(
    fc.record({type: fc.constant('put'), version: numbers, previous: fc.option(records)}),
    fc.record({type: fc.constant('get'), record: fc.option(records)}),
    fc.record({
      type: fc.constant('range'),
      records: recordLists,
      count: numbers,
      hasMore: flags,
    }),
    fc.record({type: fc.constant('delete'), deletedCount: numbers, previous: recordLists}),
  );
  if (depth === limits.transactionDepthMax) return fc.array(plain, {maxLength: 3});
  const nested: fc.Arbitrary<OperationResult> = fc.record({
    type: fc.constant('transaction'),
    succeeded: flags,
    results: operationResults(depth + 1),
  });
  return fc.array(fc.oneof({weight: 4, arbitrary: plain}, {weight: 1, arbitrary: nested}), {
    maxLength: 3,
  });
}

const results: fc.Arbitrary<CommandResult> = fc.oneof(
  fc.record({
    type: fc.constant('transaction'),
    revision: numbers,
    succeeded: flags,
    results: operationResults(1),
  }),
  fc.record({type: fc.constant('compact'), revision: numbers, compactedRevision: numbers}),
  fc.record({type: fc.constant('session'), revision: numbers}),
  fc.record({
    type: fc.constant('lease'),
    revision: numbers,
    id: numbers,
    ttlMs: numbers,
    remainingMs: numbers,
  }),
  fc.record({type: fc.constant('lease-revoke'), revision: numbers, deletedCount: numbers}),
  fc.record({
    type: fc.constant('refused'),
    revision: numbers,
    code: fc.constantFrom(...Object.keys(errorTable).filter(isErrorCode)),
    detail: fc.string({unit: 'grapheme'}),
  }),
);

const anchors: fc.Arbitrary<Anchor> = fc.oneof(
  fc.constant(noAnchor),
  fc.record({revision: fc.integer({min: 1, max: 2 ** 40}), sub: words, depth: words}),
);

const recordRows: fc.Arbitrary<RecordRow> = fc
  .record({
    isTombstone: flags,
    isLarge: flags,
    createRevision: numbers,
    modRevision: numbers,
    sub: words,
    version: numbers,
    leaseId: numbers,
    depth: words,
    hashLow: words,
    hashHigh: words,
    previous: anchors,
    jump: anchors,
    secondJump: anchors,
    value: values,
  })
  .map(({previous, ...row}) => ({
    ...row,
    previousRevision: previous.revision,
    previousSub: previous.sub,
  }));

const beforeImages: fc.Arbitrary<BeforeImage> = fc.record({
  createRevision: numbers,
  version: numbers,
  leaseId: numbers,
  value: values,
});

/** What of a record row and its key the row of the event repeats. */
function eventOf(
  key: Uint8Array,
  row: RecordRow,
  replaced: Pick<EventRow, 'beforeImage' | 'replacesOlder'>,
): EventRow {
  const {isTombstone, isLarge, createRevision, version, leaseId, jump, value} = row;
  const {previousRevision, previousSub} = row;
  return {
    isTombstone,
    isLarge,
    createRevision,
    version,
    leaseId,
    previousRevision,
    previousSub,
    jump,
    key,
    value,
    ...replaced,
  };
}

function encodeEvent(event: EventRow): Uint8Array {
  const {key, beforeImage, replacesOlder, ...row} = event;
  const absent = {modRevision: 0, sub: 0, depth: 0, hashLow: 0, hashHigh: 0};
  return encodeEventRowView(
    key,
    {...row, ...absent, secondJump: noAnchor},
    {beforeImage, replacesOlder},
  );
}

const cursors: fc.Arbitrary<HistoryCursor> = fc.record({revision: numbers, sub: words});

const metas: fc.Arbitrary<StateMeta> = fc
  .record({
    revision: numbers,
    compactedRevision: numbers,
    keyCount: numbers,
    hashLow: words,
    hashHigh: words,
    historySizeBytes: numbers,
    sampleMs: numbers,
    idempotencyFirst: numbers,
    scrubbed: cursors,
    pruned: cursors,
    imagesFromRevision: numbers,
  })
  .map(fields => {
    const compactedRevision = Math.min(fields.revision, fields.compactedRevision);
    return Object.assign(new StateMeta(), {...fields, compactedRevision});
  });

/** Fields that contradict each other behind a valid checksum are a programmer's error. */
function isImpossibleMeta(error: unknown): boolean {
  return error instanceof AssertionError && error.message.startsWith('compacted beyond');
}

function encodeMeta(meta: StateMeta): Uint8Array {
  const rows = new FakeRows();
  meta.save(rows);
  return Uint8Array.from(must(rows.get(metaKey), 'the meta row'));
}

function decodeMeta(bytes: Buffer): StateMeta {
  const rows = new FakeRows();
  rows.put(metaKey, bytes);
  const meta = new StateMeta();
  meta.load(rows);
  return meta;
}

export const kvTargets: readonly FuzzTarget[] = [
  codecTarget({
    name: 'command',
    share: 10,
    values: commands,
    encode: encodeCommand,
    decode: decodeCommand,
    alsoHolds: plainPutAgrees,
  }),
  codecTarget({
    name: 'result',
    share: 10,
    values: results,
    encode: encodeResult,
    decode: decodeResult,
  }),
  codecTarget({
    name: 'record-row',
    share: 5,
    values: recordRows,
    encode: encodeRecordRowView,
    decode: decodeRecordRow,
    mayBeLoose: true,
  }),
  codecTarget({
    name: 'event-row',
    share: 5,
    values: fc
      .tuple(
        keys,
        recordRows,
        fc.record({beforeImage: fc.option(beforeImages), replacesOlder: flags}),
      )
      .map(([key, row, replaced]) => eventOf(key, row, replaced)),
    encode: encodeEvent,
    decode: decodeEventRow,
    mayBeLoose: true,
  }),
  codecTarget({
    name: 'meta-row',
    share: 3,
    values: metas,
    encode: encodeMeta,
    decode: decodeMeta,
    isRefusal: error => error instanceof MalformedBytesError || isImpossibleMeta(error),
  }),
];
