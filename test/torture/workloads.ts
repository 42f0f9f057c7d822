/**
 * What the clients do, in the shapes of Jepsen's etcd tests. Each workload has keys of its own, so
 * all of them can run at once. Names of operations begin with the name of the workload.
 */
import {must} from '../../src/base/assert.ts';
import type {ClientProcess, Completion} from './client-process.ts';
import {KeyRing} from './client-process.ts';
import type {ListPart} from './history.ts';
import type {Answer, Precondition, Requests} from './requests.ts';

export interface Workload {
  readonly name: string;
  /** One thing that a client does. */
  turn(client: ClientProcess): Promise<void>;
  /** All that was ever written to. */
  keys(): string[];
  /** Through one node, on the record. */
  read(client: ClientProcess, node: Requests, key: string): Promise<Completion>;
}

export const workloadNames = ['register', 'set', 'append', 'counter'] as const;
export type WorkloadName = (typeof workloadNames)[number];

/** `mayRepeatKeyless`: repeats go without their idempotency key, as if a client forgot it. */
export function createWorkload(
  name: WorkloadName,
  {mayRepeatKeyless}: {readonly mayRepeatKeyless: boolean},
): Workload {
  switch (name) {
    case 'register':
      return new RegisterWorkload();
    case 'set':
      return new SetWorkload();
    case 'append':
      return new AppendWorkload();
    case 'counter':
      return new CounterWorkload(mayRepeatKeyless);
  }
}

function failed(answer: Exclude<Answer<unknown>, {type: 'ok'}>): Completion {
  const {type, error} = answer;
  return {type, fields: {error, ...(type === 'fail' ? {store: answer.store} : {})}};
}

/** Puts, conditional puts and deletes, and reads of a few keys with their revisions. */
class RegisterWorkload implements Workload {
  readonly name = 'register';
  readonly #rings = [0, 1, 2].map(
    i => new KeyRing(`register-${i}`, {operationCountMax: 200, unknownCountMax: 2}),
  );
  /** The last revision seen of each key in use. */
  readonly #revisions = new Map<string, number>();

  async turn(client: ClientProcess): Promise<void> {
    const {prng} = client;
    const ring = must(this.#rings[prng.integer({min: 0, max: 2})], 'a ring');
    const key = ring.use();
    const node = client.pickNode();
    const kind = prng.float();
    const completion = await (kind < 0.5
      ? this.read(client, node, key)
      : kind < 0.9
        ? this.#write(client, node, key)
        : this.#delete(client, node, key));
    ring.note(key, completion);
  }

  keys(): string[] {
    return this.#rings.flatMap(ring => ring.all());
  }

  read(client: ClientProcess, node: Requests, key: string): Promise<Completion> {
    return client.run(node, {f: 'register-read', key}, async () => {
      const answer = await node.get(key);
      if (answer.type !== 'ok') return failed(answer);
      const {value, modRevision, version, store} = answer;
      if (modRevision !== null) this.#revisions.set(key, modRevision);
      return {type: 'ok', fields: {value, rev: modRevision, version, store}};
    });
  }

  #write(client: ClientProcess, node: Requests, key: string): Promise<Completion> {
    const value = client.uniqueValue();
    const rev = this.#condition(client, key);
    return client.run(node, {f: 'register-write', key, value, rev}, async () => {
      const answer = await node.put(key, value, rev);
      if (answer.type !== 'ok') return failed(answer);
      const {revision, version, store} = answer;
      this.#revisions.set(key, revision);
      return {type: 'ok', fields: {rev: revision, version, store}};
    });
  }

  #delete(client: ClientProcess, node: Requests, key: string): Promise<Completion> {
    const rev = this.#condition(client, key);
    return client.run(node, {f: 'register-delete', key, rev}, async () => {
      const answer = await node.delete(key, rev);
      if (answer.type !== 'ok') return failed(answer);
      const {deleted, revision} = answer;
      return {type: 'ok', fields: {value: deleted, rev: revision, store: revision}};
    });
  }

  #condition({prng}: ClientProcess, key: string): Precondition {
    const kind = prng.float();
    if (kind < 0.4) return null;
    if (kind < 0.5) return 'none';
    if (kind < 0.6) return '*';
    return this.#revisions.get(key) ?? null;
  }
}

/** Every element is a key of its own; the set is what one range read sees. */
class SetWorkload implements Workload {
  readonly name = 'set';
  readonly #ring = new KeyRing('set', {operationCountMax: 200, unknownCountMax: 50});

  async turn(client: ClientProcess): Promise<void> {
    const key = this.#ring.use();
    const node = client.pickNode();
    if (client.prng.float() < 0.35) {
      this.#ring.note(key, await this.read(client, node, key));
      return;
    }
    const value = client.uniqueValue();
    const completion = await client.run(node, {f: 'set-add', key, value}, async () => {
      const answer = await node.put(`${key}/${value}`, value);
      if (answer.type !== 'ok') return failed(answer);
      return {type: 'ok', fields: {rev: answer.revision}};
    });
    this.#ring.note(key, completion);
  }

  keys(): string[] {
    return this.#ring.all();
  }

  read(client: ClientProcess, node: Requests, key: string): Promise<Completion> {
    return client.run(node, {f: 'set-read', key}, async () => {
      const answer = await node.range(`${key}/`);
      if (answer.type !== 'ok') return failed(answer);
      const value = answer.records.map(record => shared(record.key.slice(key.length + 1)));
      return {type: 'ok', fields: {value, store: answer.store}};
    });
  }
}

/**
 * Lists in single keys, appended to by a put that is conditional on what was read. Reads see both
 * lists of a group at one moment.
 */
class AppendWorkload implements Workload {
  readonly name = 'append';
  readonly #ring = new KeyRing('list', {operationCountMax: 150, unknownCountMax: 50});

  async turn(client: ClientProcess): Promise<void> {
    const group = this.#ring.use();
    const node = client.pickNode();
    if (client.prng.float() < 0.3) {
      this.#ring.note(group, await this.read(client, node, group));
      return;
    }
    const key = `${group}/${client.prng.integer({min: 0, max: 1})}`;
    // Not on the record: whether it is stale shows in the outcome of the append.
    const before = await node.get(key);
    if (before.type !== 'ok') {
      await client.rest();
      return;
    }
    const elements = listOf(before.value);
    const element = client.uniqueValue();
    const own: ListPart = ['append', key, element];
    const asked = {f: 'append-append', key: group, value: [own], rev: before.modRevision ?? 'none'};
    const completion = await client.run(node, asked, async () => {
      const text = [...elements, element].join(' ');
      const answer = await node.put(key, text, before.modRevision ?? 'none');
      if (answer.type !== 'ok') return failed(answer);
      const value: readonly ListPart[] = [['r', key, elements], own];
      return {type: 'ok', fields: {value, rev: answer.revision}};
    });
    this.#ring.note(group, completion);
  }

  keys(): string[] {
    return this.#ring.all();
  }

  read(client: ClientProcess, node: Requests, group: string): Promise<Completion> {
    return client.run(node, {f: 'append-read', key: group}, async () => {
      const answer = await node.range(`${group}/`);
      if (answer.type !== 'ok') return failed(answer);
      const lists = new Map(answer.records.map(({key, value}) => [key, listOf(value)]));
      const value = ['0', '1'].map((name): ListPart => {
        const key = `${group}/${name}`;
        return ['r', key, lists.get(key) ?? []];
      });
      return {type: 'ok', fields: {value, store: answer.store}};
    });
  }
}

function listOf(value: string | null): string[] {
  return value === null || value === '' ? [] : value.split(' ').map(shared);
}

const sharedElements = new Map<string, string>();

/** The same string for equal texts: a history holds each element many times. */
function shared(text: string): string {
  const known = sharedElements.get(text);
  if (known !== undefined) return known;
  sharedElements.set(text, text);
  return text;
}

/**
 * Increments that are repeated under one idempotency key, at any node, until it is known what
 * happened. A repeat that ran twice, or that hides that the first attempt ran, shows in the count.
 */
class CounterWorkload implements Workload {
  readonly name = 'counter';
  readonly #ring = new KeyRing('counter', {operationCountMax: 500, unknownCountMax: 20});
  readonly #mayRepeatKeyless: boolean;

  constructor(mayRepeatKeyless: boolean) {
    this.#mayRepeatKeyless = mayRepeatKeyless;
  }

  async turn(client: ClientProcess): Promise<void> {
    const key = this.#ring.use();
    const node = client.pickNode();
    if (client.prng.float() < 0.3) {
      this.#ring.note(key, await this.read(client, node, key));
      return;
    }
    const before = await node.get(key);
    if (before.type !== 'ok') {
      await client.rest();
      return;
    }
    const next = Number(before.value ?? 0) + 1;
    const rev = before.modRevision ?? 'none';
    const asked = {f: 'counter-increment', key, value: next, rev};
    const completion = await client.run(node, asked, async () => {
      const answer = await this.#repeat(client, node, {key, next, rev});
      if (answer.type !== 'ok') return failed(answer);
      return {type: 'ok', fields: {value: next, rev: answer.revision}};
    });
    this.#ring.note(key, completion);
  }

  keys(): string[] {
    return this.#ring.all();
  }

  /** Until it is known what happened, within bounds. */
  async #repeat(
    client: ClientProcess,
    first: Requests,
    put: {readonly key: string; readonly next: number; readonly rev: number | 'none'},
  ): Promise<Answer<{readonly revision: number}>> {
    const {key, next, rev} = put;
    const idempotencyKey = `${key}-${client.uniqueValue()}`;
    let answer = await first.put(key, `${next}`, rev, idempotencyKey);
    const isLost = answer.type === 'ok' && client.prng.float() < lostAnswerShare;
    if (answer.type !== 'info' && !isLost) return answer;
    let error = '';
    for (let attempt = 1; attempt <= attemptCountMax; attempt++) {
      const token = this.#mayRepeatKeyless ? null : idempotencyKey;
      answer = await client.pickNode().put(key, `${next}`, rev, token);
      if (answer.type === 'ok') return answer;
      // The first committed answer. Other errors speak of this attempt alone.
      if (answer.type === 'fail' && answer.error === 'PRECONDITION_FAILED') return answer;
      ({error} = answer);
    }
    return {type: 'info', error};
  }

  read(client: ClientProcess, node: Requests, key: string): Promise<Completion> {
    return client.run(node, {f: 'counter-read', key}, async () => {
      const answer = await node.get(key);
      if (answer.type !== 'ok') return failed(answer);
      const {value, modRevision, store} = answer;
      return {type: 'ok', fields: {value: Number(value ?? 0), rev: modRevision, store}};
    });
  }
}

const attemptCountMax = 8;
/** Answers to increments that the client acts on as if they had not come. */
const lostAnswerShare = 0.05;
