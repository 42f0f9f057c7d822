/**
 * What the clients saw: one JSON line per event, told before a request is sent and after its answer
 * has come, by one clock of one process. The index is the total order that the checkers use.
 */
import {closeSync, openSync, readFileSync, writeSync} from 'node:fs';

export type EventType = 'invoke' | 'ok' | 'fail' | 'info';

/** One part of an append-list transaction, as Elle writes them. */
export type ListPart =
  readonly ['r', string, readonly string[]] | readonly ['append', string, string];

export type EventValue = string | number | null | readonly string[] | readonly ListPart[];

/** `fail`: it certainly did not happen. `info`: nobody knows; the process does nothing any more. */
export interface HistoryEvent {
  readonly index: number;
  readonly process: number;
  readonly type: EventType;
  readonly f: string;
  readonly key: string;
  readonly value: EventValue;
  /** Revision in the answer; of an invocation: the one it is conditional on, or `*` or `none`. */
  readonly rev: number | string | null;
  /** Nanoseconds since the start. */
  readonly time: number;
  readonly node: string;
  readonly error: string | null;
  readonly version?: number;
  /** Revision of the store in the answer. */
  readonly store?: number;
}

export type EventFields = Pick<HistoryEvent, 'process' | 'f' | 'key' | 'node'> &
  Partial<Pick<HistoryEvent, 'value' | 'rev' | 'error' | 'version' | 'store'>>;

const flushSizeBytes = 64 * 1024;

export class History {
  readonly events: HistoryEvent[] = [];
  readonly path: string;
  readonly #file: number;
  readonly #startedAt = process.hrtime.bigint();
  #pending = '';

  constructor(path: string) {
    this.path = path;
    this.#file = openSync(path, 'w');
  }

  add(type: EventType, fields: EventFields): HistoryEvent {
    const {process: by, f, key, node, value = null, rev = null, error = null} = fields;
    const event: HistoryEvent = {
      index: this.events.length,
      process: by,
      type,
      f,
      key,
      value,
      rev,
      time: Number(process.hrtime.bigint() - this.#startedAt),
      node,
      error,
      ...(fields.version === undefined ? {} : {version: fields.version}),
      ...(fields.store === undefined ? {} : {store: fields.store}),
    };
    this.events.push(event);
    this.#pending += `${JSON.stringify(event)}\n`;
    if (this.#pending.length > flushSizeBytes) this.#flush();
    return event;
  }

  close(): void {
    this.#flush();
    closeSync(this.#file);
  }

  #flush(): void {
    writeSync(this.#file, this.#pending);
    this.#pending = '';
  }
}

export function readHistory(path: string): HistoryEvent[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter(line => line !== '').map(line => JSON.parse(line) as HistoryEvent);
}
