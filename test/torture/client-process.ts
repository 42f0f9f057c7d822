/**
 * One logical client: it does one thing after the other, and every request and answer goes into the
 * history. When an outcome stays unknown the process is retired and goes on under a new number,
 * because what it asked for may still happen.
 */
import type {Prng} from '../../src/base/prng.ts';
import {must} from '../../src/base/assert.ts';
import {pause} from '../cluster/eventually.ts';
import type {EventFields, History} from './history.ts';
import type {Requests} from './requests.ts';

/** What became of an operation; the fields go into the event. */
export interface Completion {
  readonly type: 'ok' | 'fail' | 'info';
  readonly fields: Partial<EventFields>;
}

/** After a refusal; a real client would wait as well. */
const backOffMs = 50;

let nextProcess = 0;

export class ClientProcess {
  readonly prng: Prng;
  okCount = 0;
  /** The answers by code, `ok` among them. */
  readonly outcomes = new Map<string, number>();
  readonly #history: History;
  readonly #nodes: readonly Requests[];
  #process = nextProcess++;
  #operationCount = 0;

  constructor(history: History, nodes: readonly Requests[], prng: Prng) {
    this.#history = history;
    this.#nodes = nodes;
    this.prng = prng;
  }

  /** Unique in the run. */
  uniqueValue(): string {
    return `${this.#process}.${this.#operationCount}`;
  }

  pickNode(): Requests {
    const i = this.prng.integer({min: 0, max: this.#nodes.length - 1});
    return must(this.#nodes[i], 'a node');
  }

  rest(): Promise<void> {
    return pause(backOffMs);
  }

  /** Performs one operation through one node, on the record. */
  async run(
    node: Requests,
    fields: Pick<EventFields, 'f' | 'key'> & Partial<EventFields>,
    perform: () => Promise<Completion>,
  ): Promise<Completion> {
    this.#operationCount++;
    const asked = {...fields, process: this.#process, node: node.node};
    this.#history.add('invoke', asked);
    const completion = await perform();
    this.#history.add(completion.type, {...asked, ...completion.fields});
    const code = completion.type === 'ok' ? 'ok' : (completion.fields.error ?? '');
    this.outcomes.set(code, (this.outcomes.get(code) ?? 0) + 1);
    if (completion.type === 'ok') this.okCount++;
    if (completion.type === 'info') this.#process = nextProcess++;
    if (completion.type !== 'ok' && code !== 'PRECONDITION_FAILED') await this.rest();
    return completion;
  }
}

/**
 * Names of keys in use. A name is left for a fresh one after some operations or some unknown
 * outcomes: short histories with few open ends are checked fast.
 */
export class KeyRing {
  readonly #prefix: string;
  readonly #operationCountMax: number;
  readonly #unknownCountMax: number;
  #generation = 0;
  #operationCount = 0;
  #unknownCount = 0;

  constructor(
    prefix: string,
    bounds: {readonly operationCountMax: number; readonly unknownCountMax: number},
  ) {
    this.#prefix = prefix;
    this.#operationCountMax = bounds.operationCountMax;
    this.#unknownCountMax = bounds.unknownCountMax;
  }

  get current(): string {
    return `${this.#prefix}-${this.#generation}`;
  }

  /** Every name used so far. */
  all(): string[] {
    return Array.from({length: this.#generation + 1}, (_, i) => `${this.#prefix}-${i}`);
  }

  use(): string {
    if (
      ++this.#operationCount > this.#operationCountMax ||
      this.#unknownCount > this.#unknownCountMax
    ) {
      this.#generation++;
      this.#operationCount = 0;
      this.#unknownCount = 0;
    }
    return this.current;
  }

  /** An operation on the key ended. What never reached a node leaves nothing to judge. */
  note(key: string, {type, fields}: Completion): void {
    if (key !== this.current) return;
    if (type === 'info') this.#unknownCount++;
    if (type === 'fail' && fields.error !== 'PRECONDITION_FAILED') this.#operationCount--;
  }
}
