/**
 * A counter on three replicas: a state machine of one's own on `rosetta/raft`. Log and network are
 * in memory here; docs/raft-library.md says what real ones owe. Run: `node
 * dist/examples/replicated-counter.js`.
 */
import {
  indexAfter,
  initialHardState,
  logIndex,
  nodeId,
  noIndex,
  noTerm,
  Prng,
  Raft,
  raftDefaults,
  type Entry,
  type LogIndex,
  type LogReader,
  type Membership,
  type Message,
  type NodeId,
  type Ready,
  type Term,
} from 'rosetta/raft';

/** What survives a replica. Writing here is durable at once; a real log calls back later. */
class MemoryLog implements LogReader {
  hardState = initialHardState;
  #entries: readonly Entry[] = [];

  firstIndex = (): LogIndex => indexAfter(noIndex);
  lastIndex = (): LogIndex => logIndex(this.#entries.length);
  term(index: LogIndex): Term | undefined {
    return index === noIndex ? noTerm : this.#entries[index - 1]?.term;
  }
  entries({from, to}: {readonly from: LogIndex; readonly to: LogIndex}): readonly Entry[] {
    return this.#entries.slice(from - 1, to);
  }
  /** An entry supersedes the one at its index, and all after it. */
  write({hardState, entries}: Ready): void {
    this.hardState = hardState ?? this.hardState;
    const [first] = entries;
    if (first !== undefined) {
      this.#entries = [...this.#entries.slice(0, first.index - 1), ...entries];
    }
  }
}

interface Waiter {
  readonly term: Term;
  readonly resolve: (value: number) => void;
  readonly reject: (error: Error) => void;
}

class Replica {
  /** The state machine: all of it. */
  value = 0;
  readonly raft: Raft;
  readonly #log: MemoryLog;
  readonly #send: (message: Message) => void;
  readonly #waiters = new Map<LogIndex, Waiter>();
  readonly #timer = setInterval(() => {
    this.raft.tick();
    this.#work();
  }, 10);

  constructor(
    id: NodeId,
    parts: {
      readonly membership: Membership;
      readonly log: MemoryLog;
      readonly seed: number;
      readonly send: (message: Message) => void;
    },
  ) {
    this.#log = parts.log;
    this.#send = parts.send;
    this.raft = new Raft({
      ...raftDefaults,
      id,
      prng: new Prng(parts.seed),
      log: parts.log,
      hardState: parts.log.hardState,
      memberships: [{index: noIndex, membership: parts.membership}],
      appliedIndex: noIndex,
    });
  }

  /** Resolves with the counter after it; rejects when this replica does not lead, or is deposed. */
  add(amount: number): Promise<number> {
    const result = this.raft.propose(new TextEncoder().encode(String(amount)), Date.now());
    if (result.type === 'dropped') return Promise.reject(new Error(result.reason));
    const {index, term} = result.id;
    const added = new Promise<number>((resolve, reject) => {
      this.#waiters.set(index, {term, resolve, reject});
    });
    this.#work();
    return added;
  }

  receive(message: Message): void {
    this.raft.step(message);
    this.#work();
  }

  /** As a process that is killed: what is not in the log is gone. */
  kill(): void {
    clearInterval(this.#timer);
  }

  /** The order of docs/raft-library.md: send, persist, send the rest, apply. */
  #work(): void {
    while (this.raft.hasReady()) {
      const ready = this.raft.ready();
      for (const message of ready.messages) this.#send(message);
      if (ready.mustPersist) this.#log.write(ready);
      for (const message of ready.messagesAfterPersist) this.#send(message);
      this.raft.persisted(ready.sequence);
      for (const entry of ready.committed) this.#apply(entry);
      const last = ready.committed.at(-1);
      if (last !== undefined) this.raft.applied(last.index);
    }
  }

  #apply(entry: Entry): void {
    if (entry.type === 'command') this.value += Number(new TextDecoder().decode(entry.data));
    const waiter = this.#waiters.get(entry.index);
    this.#waiters.delete(entry.index);
    if (waiter?.term === entry.term) waiter.resolve(this.value);
    else waiter?.reject(new Error('another leader has put something else in its place'));
  }
}

const ids = ['a', 'b', 'c'].map(nodeId);
const membership: Membership = {
  voters: ids,
  votersOutgoing: [],
  learners: [],
  members: ids.map(id => ({id, incarnation: '0'.repeat(16), listen: id, http: id})),
};
const logs = new Map(ids.map(id => [id, new MemoryLog()]));
const replicas = new Map<NodeId, Replica>();

/** Delivers later, to whoever lives then. */
function send(message: Message): void {
  setImmediate(() => replicas.get(message.to)?.receive(message));
}

function start(id: NodeId, seed: number): void {
  const log = logs.get(id) ?? new MemoryLog();
  replicas.set(id, new Replica(id, {membership, log, seed, send}));
}

function kill(id: NodeId): void {
  replicas.get(id)?.kill();
  replicas.delete(id);
}

async function until<T>(look: () => T | undefined): Promise<T> {
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

/** The replica that leads and has applied all that it knows. */
function leader(): Promise<Replica> {
  return until(() => {
    const leading = [...replicas.values()].find(({raft}) => raft.role === 'leader');
    return leading?.raft.appliedIndex === leading?.raft.lastIndex ? leading : undefined;
  });
}

for (const [i, id] of ids.entries()) start(id, i);
let current = await leader();
for (let i = 0; i < 100; i++) await current.add(1);
console.log(`${current.raft.id} leads, the counter is ${current.value}`);

const killed = current.raft.id;
kill(killed);
current = await leader();
for (let i = 0; i < 100; i++) await current.add(2);
console.log(`${killed} was killed, ${current.raft.id} leads, the counter is ${current.value}`);

start(killed, 3);
const {value} = current;
await until(() => ([...replicas.values()].every(each => each.value === value) ? true : undefined));
console.log(`${killed} is back, and all three say ${value}`);
for (const id of ids) kill(id);
