/**
 * Clients under which faults are made. Half of the writes go to keys of their own, to be looked
 * for afterwards; the other half, and all reads, meet on a few registers whose history is checked
 * for linearizability. Each client talks to one node after the other, or stays with one.
 */
import assert from 'node:assert/strict';
import type {Operation} from '../checker/linearizability.ts';
import {describeViolation, findViolation} from '../checker/linearizability.ts';
import {Client, valueOf} from './client.ts';
import type {Outcome} from './client.ts';
import type {NodeProcess} from './node-process.ts';
import {eventually} from './eventually.ts';

export interface WorkloadOptions {
  readonly nodes: readonly NodeProcess[];
  readonly writerCount?: number;
  readonly readerCount?: number;
  /** Clients stay with the node they began with. */
  readonly isSticky?: boolean;
  readonly name?: string;
}

/** A register is left for a fresh one after this many operations: short histories check fast. */
const operationsPerRegister = 400;
const registersAtOnce = 3;
/** After a refusal; a real client would wait as well. */
const backOffMs = 5;

export class Workload {
  /** Acknowledged writes to keys of their own. */
  readonly acknowledged = new Map<string, string>();
  readonly history: Operation[] = [];
  /** Answers by code, `ok` among them. */
  readonly outcomes = new Map<string, number>();
  readonly #options: WorkloadOptions;
  readonly #clients: Client[] = [];
  readonly #running: Promise<void>[] = [];
  #clock = 0;
  #operationCount = 0;
  #isStopping = false;

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  get writeCount(): number {
    return this.acknowledged.size;
  }

  start(): this {
    const {writerCount = 6, readerCount = 3} = this.#options;
    for (let i = 0; i < writerCount; i++) this.#running.push(this.#write(i));
    for (let i = 0; i < readerCount; i++) this.#running.push(this.#read(i));
    return this;
  }

  /** Waits until `count` more writes are acknowledged: the load is real, if slow. */
  async progress(count: number, deadlineMs = 60_000): Promise<void> {
    const goal = this.acknowledged.size + count;
    await eventually(`${count} more writes, ${this.#describe()}`, deadlineMs, () =>
      this.acknowledged.size >= goal ? true : null,
    );
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const wait = setInterval(() => undefined, 1_000);
    await Promise.all(this.#running);
    clearInterval(wait);
    for (const client of this.#clients) client.close();
  }

  assertLinearizable(): void {
    const violation = findViolation(this.history);
    assert.equal(violation, null, violation === null ? '' : describeViolation(violation));
  }

  /** Every acknowledged write, on every one of `nodes`, by its own state and by the cluster's. */
  async assertAllPresent(nodes: readonly NodeProcess[]): Promise<void> {
    const name = this.#options.name ?? 'w';
    for (const node of nodes) {
      for (const query of ['', '&consistency=local']) {
        const records = await node.client.list(`${name}-own-`, query);
        const missing = [...this.acknowledged].filter(([key, value]) => records.get(key) !== value);
        assert.deepEqual(missing.slice(0, 5), [], `${missing.length} lost on ${node.id}${query}`);
      }
    }
  }

  async #write(writer: number): Promise<void> {
    const {name = 'w'} = this.#options;
    const pick = this.#picker(writer);
    for (let i = 0; !this.#isStopping; i++) {
      const client = pick(i);
      const value = `${writer}.${i}`;
      if (i % 2 === 0) {
        const key = `${name}-own-${writer}-${i}`;
        const outcome = await client.put(key, value);
        if (outcome.type === 'ok') this.acknowledged.set(key, value);
        await this.#settle(outcome);
        continue;
      }
      const key = this.#register(i);
      const calledAt = this.#clock++;
      const outcome = await client.put(key, value);
      const returnedAt = outcome.type === 'ok' ? this.#clock++ : Infinity;
      if (outcome.type !== 'definite') {
        this.history.push({
          key,
          type: 'write',
          value,
          calledAt,
          returnedAt,
          label: `${client.port}`,
        });
      }
      await this.#settle(outcome);
    }
  }

  async #read(reader: number): Promise<void> {
    const pick = this.#picker(reader);
    for (let i = 0; !this.#isStopping; i++) {
      const client = pick(i);
      const key = this.#register(i);
      const calledAt = this.#clock++;
      const outcome = await client.get(key);
      if (outcome.type === 'ok') {
        const value = valueOf(outcome);
        const returnedAt = this.#clock++;
        this.history.push({
          key,
          type: 'read',
          value,
          calledAt,
          returnedAt,
          label: `${client.port}`,
        });
      }
      await this.#settle(outcome);
    }
  }

  #picker(first: number): (i: number) => Client {
    const {nodes, isSticky = false} = this.#options;
    const clients = nodes.map(node => new Client(node.httpPort));
    this.#clients.push(...clients);
    return i => {
      const client = clients[(isSticky ? first : first + i) % clients.length];
      assert.ok(client !== undefined);
      return client;
    };
  }

  #register(i: number): string {
    const generation = Math.floor(
      this.#operationCount++ / (operationsPerRegister * registersAtOnce),
    );
    return `${this.#options.name ?? 'w'}-register-${generation}-${i % registersAtOnce}`;
  }

  async #settle(outcome: Outcome): Promise<void> {
    const code = outcome.type === 'ok' ? 'ok' : `${outcome.type} ${outcome.code}`;
    this.outcomes.set(code, (this.outcomes.get(code) ?? 0) + 1);
    // Keeps no process alive: a test that has failed stops its nodes, and then nobody answers.
    if (outcome.type !== 'ok') {
      await new Promise<void>(resolve => setTimeout(resolve, backOffMs).unref());
    }
  }

  #describe(): string {
    return JSON.stringify(Object.fromEntries(this.outcomes));
  }
}
