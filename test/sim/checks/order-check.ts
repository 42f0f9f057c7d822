/**
 * The clients' view, judged with knowledge of the log: every acknowledged write is in it, once,
 * with the answer that a plain model gives there; nothing that was definitely refused is in it;
 * reads see the state at one position; and positions respect real time (strict serializability).
 * Linear in the number of operations, so it runs as they happen. The search of test/checker, which
 * knows no log, judges the same history again at the end.
 */
import type {CommandResult} from '../../../src/kv/result.ts';
import type {KvStateMachine} from '../../../src/kv/state-machine.ts';
import {text} from '../../contract/commands.ts';
import type {StoreOutput, StoreRecord} from '../../checker/store-operation.ts';
import type {ClientOperation} from '../client-operation.ts';
import {deletedKeysOf, isRead, outputOf} from '../client-operation.ts';
import type {Coverage} from '../coverage.ts';
import {CommandCheck} from './command-check.ts';
import {StoreModel} from './store-model.ts';
import {demand} from './violation.ts';

export class OrderCheck {
  readonly #coverage: Coverage;
  /** Of transactions, leases and sessions. */
  readonly commands: CommandCheck;
  readonly model = new StoreModel();
  /** A leader's own revocation of leases; false: it is unknown. */
  onRevocation: ((command: Uint8Array, result: CommandResult) => boolean) | null = null;
  readonly #byCommand = new Map<string, ClientOperation>();
  /** By log position: the revision of the store there. */
  readonly #revisions: number[] = [1];
  /** The largest position that a finished operation tells of. */
  #floor = 0;

  constructor(coverage: Coverage) {
    this.#coverage = coverage;
    this.commands = new CommandCheck({
      model: this.model,
      coverage,
      raiseFloor: position => {
        this.#floor = Math.max(this.#floor, position);
      },
    });
  }

  /** Where an operation that is called now must take effect behind. */
  get floor(): number {
    return this.#floor;
  }

  /** Of the store as far as it was applied anywhere. */
  get revision(): number {
    return this.model.revision;
  }

  recordAt(key: string, revision: number): ReturnType<StoreModel['recordAt']> {
    return this.model.recordAt(key, revision);
  }

  eventsAt(revision: number): ReturnType<StoreModel['eventsAt']> {
    return this.model.eventsAt(revision);
  }

  register(operation: ClientOperation): void {
    if (operation.command !== null) this.#byCommand.set(text(operation.command), operation);
  }

  /** An entry was applied for the first time anywhere. */
  onFirstApply(
    {index, data, proposedAtMs}: Parameters<KvStateMachine['begin']>[0],
    result: CommandResult,
  ): void {
    this.#fillRevisions(index - 1);
    const command = text(data);
    const operation = this.#byCommand.get(command);
    if (operation !== undefined) this.#perform(index, operation, result);
    else if (!this.commands.onFirstApply({index, command, nowMs: proposedAtMs}, result)) {
      this.#onForeign(index, data, result);
    }
    this.#revisions[index] = this.model.revision;
  }

  onReturned(operation: ClientOperation, output: StoreOutput): void {
    const {position, expected} = operation;
    const name = (): string => describe(operation);
    demand(position !== null && expected !== null, 'acknowledged writes are applied', name);
    demand(isSame(output, expected), 'answers are those of the log', () => {
      return `${name()} was told ${JSON.stringify(output)}, the log says ${JSON.stringify(expected)}`;
    });
    this.#floor = Math.max(this.#floor, position);
  }

  onRefused(operation: ClientOperation): void {
    demand(operation.position === null, 'refused writes have no effect', () => {
      return `${describe(operation)} was definitely refused, but is in the log at ${operation.position ?? 0}`;
    });
  }

  onRead(operation: ClientOperation, output: StoreOutput, position: number): void {
    const {input, floor, isLocal} = operation;
    if (!isRead(input)) return;
    const name = (): string => describe(operation);
    demand(isLocal || position >= floor, 'reads are linearizable', () => {
      return `${name()} saw position ${position}, ${floor} was known before it began`;
    });
    this.#fillRevisions(position);
    const revision = this.#revisions[position] ?? 0;
    const expected = this.model.read(input, revision);
    demand(isSame(output, expected), 'reads see the state of one position', () => {
      return `${name()} saw ${JSON.stringify(output)} at ${position}, there was ${JSON.stringify(expected)}`;
    });
    operation.position = position;
    if (!isLocal) this.#floor = Math.max(this.#floor, position);
  }

  /** Entries that are no commands change nothing. */
  #fillRevisions(to: number): void {
    for (let i = this.#revisions.length; i <= to; i++) this.#revisions[i] = this.model.revision;
  }

  #perform(index: number, operation: ClientOperation, result: CommandResult): void {
    const name = (): string => describe(operation);
    const {input, position, isKeyed, floor, outcome} = operation;
    demand(outcome !== 'definite', 'refused writes have no effect', () => {
      return `${name()} was definitely refused, and is applied at ${index}`;
    });
    demand(position === null || isKeyed, 'a write is applied once', () => {
      return `${name()} is applied at ${position ?? 0} and at ${index}`;
    });
    if (position === null) {
      demand(index > floor, 'writes respect real time', () => {
        return `${name()} takes effect at ${index}, ${floor} was known before it began`;
      });
      operation.position = index;
      operation.expected = this.model.perform(input);
      operation.deletedKeys = deletedKeysOf(result);
      if (operation.expected.type === 'refused') this.#coverage.count('condition not met');
    } else {
      this.#coverage.count('idempotent retry answered from the table');
    }
    const output = outputOf(result);
    demand(
      output !== null && operation.expected !== null && isSame(output, operation.expected),
      'the state machine does what the model does',
      () => {
        return `${name()} at ${index}: ${JSON.stringify(result)}, the model says ${JSON.stringify(operation.expected)}`;
      },
    );
  }

  #onForeign(index: number, command: Uint8Array, result: CommandResult): void {
    if (this.onRevocation?.(command, result) === true) return;
    demand(result.type === 'compact', 'nothing comes from nowhere', () => {
      return `nobody sent the command at ${index}: ${JSON.stringify(result)}`;
    });
    this.#coverage.count('history compacted');
  }
}

export function describe({id, client, input}: ClientOperation): string {
  const {type} = input;
  const on = 'key' in input ? input.key : `${input.prefix}*`;
  return `operation ${id} of client ${client} (${type} ${on})`;
}

function isSame(a: StoreOutput, b: StoreOutput): boolean {
  if (a.revision !== b.revision || a.type !== b.type) return false;
  if (a.type === 'record' && b.type === 'record') return areSameRecords(a.record, b.record);
  if (a.type === 'records' && b.type === 'records') {
    const {records} = b;
    const isSameAt = (record: StoreRecord, i: number): boolean =>
      areSameRecords(record, records[i] as StoreRecord);
    return a.records.length === records.length && a.records.every(isSameAt);
  }
  if (a.type === 'written' && b.type === 'written') return a.version === b.version;
  if (a.type === 'deleted' && b.type === 'deleted') return a.count === b.count;
  return true;
}

/** The model keeps more of a record than clients are told. */
function areSameRecords(a: StoreRecord, b: StoreRecord): boolean {
  return (
    a.key === b.key &&
    a.value === b.value &&
    a.modRevision === b.modRevision &&
    a.version === b.version
  );
}
