/**
 * Transactions that append unique elements to lists and read whole lists, checked for strict
 * serializability in time linear in the history, as Elle does: what a list holds tells the order of
 * its appends, so every dependency is known, and a cycle of dependencies is a contradiction.
 *
 *   ww  this append came right before that one      wr  that transaction read this append
 *   rw  that append came right after what this transaction read      rt  real time
 *
 * A list that was read tells its prefix. Acknowledged appends that no read saw come after the
 * longest list that was read. Knows nothing of the program under test.
 */

export type ListOperation =
  | {readonly type: 'append'; readonly key: string; readonly element: string}
  /** Reads of a transaction see the state before its own appends. */
  | {readonly type: 'read'; readonly key: string; readonly elements: readonly string[]};

export interface ListTransaction {
  readonly operations: readonly ListOperation[];
  /** Positions in one total order of all calls and returns. */
  readonly calledAt: number;
  /** Infinity: the outcome is unknown. Reads of such a transaction are not known, so left out. */
  readonly returnedAt: number;
  readonly label?: string;
}

type Dependency = 'ww' | 'wr' | 'rw' | 'rt';

/** Null when the history is strictly serializable; otherwise what contradicts it, to be read. */
export function findAppendAnomaly(transactions: readonly ListTransaction[]): string | null {
  const lists = new Map<string, List>();
  const problem = readLists(transactions, lists);
  if (problem !== null) return problem;
  const graph = new Graph(transactions.length);
  for (const list of lists.values()) addListEdges(list, graph);
  addRealTimeEdges(transactions, graph);
  const component = graph.findCycle();
  return component === null ? null : describeCycle(component, transactions);
}

interface List {
  readonly key: string;
  /** Index of the transaction that appends an element. */
  readonly appenders: Map<string, number>;
  /** The longest one read. */
  longest: readonly string[];
  readonly reads: {readonly transaction: number; readonly elements: readonly string[]}[];
  /** Elements whose append was acknowledged. */
  readonly acknowledged: string[];
}

function readLists(
  transactions: readonly ListTransaction[],
  lists: Map<string, List>,
): string | null {
  for (const [i, {operations, returnedAt}] of transactions.entries()) {
    for (const operation of operations) {
      const list = listOf(lists, operation.key);
      if (operation.type === 'read') {
        list.reads.push({transaction: i, elements: operation.elements});
        if (operation.elements.length > list.longest.length) list.longest = operation.elements;
        continue;
      }
      const {element} = operation;
      if (list.appenders.has(element)) throw new Error(`${element} is appended twice by clients`);
      list.appenders.set(element, i);
      if (returnedAt !== Infinity) list.acknowledged.push(element);
    }
  }
  for (const list of lists.values()) {
    const problem = checkReads(list, transactions);
    if (problem !== null) return problem;
  }
  return null;
}

function listOf(lists: Map<string, List>, key: string): List {
  const known = lists.get(key);
  if (known !== undefined) return known;
  const list = {key, appenders: new Map(), longest: [], reads: [], acknowledged: []};
  lists.set(key, list);
  return list;
}

function checkReads(list: List, transactions: readonly ListTransaction[]): string | null {
  const {key, longest, appenders} = list;
  if (new Set(longest).size < longest.length) {
    return `list ${key} holds an element twice: ${shortened(longest)}`;
  }
  const stranger = longest.find(element => !appenders.has(element));
  if (stranger !== undefined) {
    return `list ${key} holds ${stranger}, which nobody may have appended: ${shortened(longest)}`;
  }
  for (const {elements, transaction} of list.reads) {
    const at = elements.findIndex((element, i) => element !== longest[i]);
    if (at < 0) continue;
    return (
      `two reads of list ${key} disagree at position ${at}: ` +
      `${shortened(elements)} and ${shortened(longest)}\n  ${describe(transactions, transaction)}`
    );
  }
  return null;
}

function addListEdges(list: List, graph: Graph): void {
  const {longest} = list;
  const order = longest.map(element => list.appenders.get(element) ?? 0);
  order.forEach((appender, i) => {
    const previous = order[i - 1];
    if (previous !== undefined) graph.add(previous, appender, 'ww');
  });
  const present = new Set(longest);
  const unseen = list.acknowledged
    .filter(element => !present.has(element))
    .map(element => list.appenders.get(element) ?? 0);
  // One node stands between the longest list and all that came after it: edges stay few.
  const after = unseen.length > 0 ? graph.addNode() : null;
  if (after !== null) {
    const last = order.at(-1);
    if (last !== undefined) graph.add(last, after, 'ww');
    for (const appender of unseen) graph.add(after, appender, 'ww');
  }
  for (const {transaction, elements} of list.reads) {
    const last = order[elements.length - 1];
    if (last !== undefined) graph.add(last, transaction, 'wr');
    const next = order[elements.length] ?? after;
    // A transaction may append right behind what it read itself.
    const isOnlyOwn = next === after && unseen.length === 1 && unseen[0] === transaction;
    if (next !== null && !isOnlyOwn) addReadWrite(graph, transaction, next, {after, unseen});
  }
}

/** A transaction never depends on itself, so the shared node is by-passed for its own append. */
function addReadWrite(
  graph: Graph,
  transaction: number,
  next: number,
  rest: {readonly after: number | null; readonly unseen: readonly number[]},
): void {
  if (next !== rest.after || !rest.unseen.includes(transaction)) {
    graph.add(transaction, next, 'rw');
    return;
  }
  for (const appender of rest.unseen) graph.add(transaction, appender, 'rw');
}

/**
 * A chain of instants instead of an edge for every pair: each return leads to the next instant, and
 * each call is reached from the instant before it.
 */
function addRealTimeEdges(transactions: readonly ListTransaction[], graph: Graph): void {
  const events: {readonly at: number; readonly transaction: number; readonly isCall: boolean}[] =
    [];
  for (const [transaction, {calledAt, returnedAt}] of transactions.entries()) {
    events.push({at: calledAt, transaction, isCall: true});
    if (returnedAt !== Infinity) events.push({at: returnedAt, transaction, isCall: false});
  }
  events.sort((a, b) => a.at - b.at);
  let instant: number | null = null;
  for (const {transaction, isCall} of events) {
    if (isCall) {
      if (instant !== null) graph.add(instant, transaction, 'rt');
      continue;
    }
    const next = graph.addNode();
    if (instant !== null) graph.add(instant, next, 'rt');
    graph.add(transaction, next, 'rt');
    instant = next;
  }
}

interface Step {
  readonly node: number;
  /** How the node before depends on this one. */
  readonly by: Dependency;
}

function describeCycle(cycle: readonly Step[], transactions: readonly ListTransaction[]): string {
  const lines = ['these transactions have no order; each comes before the next one:'];
  let by: Dependency[] = [];
  // Begin at a transaction: nodes that only stand between others are not shown.
  const start = cycle.findIndex(({node}) => node < transactions.length);
  for (const step of [...cycle.slice(start), ...cycle.slice(0, start + 1)]) {
    by.push(step.by);
    if (step.node >= transactions.length) continue;
    const names = [...new Set(by)].join('+');
    const arrow = lines.length === 1 ? '  ' : `  -${names}-> `;
    lines.push(`${arrow.padEnd(10)}${describe(transactions, step.node)}`);
    by = [];
  }
  return lines.join('\n');
}

function describe(transactions: readonly ListTransaction[], i: number): string {
  const transaction = transactions[i];
  if (transaction === undefined) return `(${i})`;
  const {operations, calledAt, returnedAt, label} = transaction;
  const shown = operations.map(operation =>
    operation.type === 'append'
      ? `append ${operation.key} ${operation.element}`
      : `read ${operation.key} ${shortened(operation.elements)}`,
  );
  return `${calledAt}..${returnedAt} ${shown.join('; ')} ${label ?? ''}`.trimEnd();
}

function shortened(elements: readonly string[]): string {
  const last = elements.slice(-6);
  return `[${last.length < elements.length ? `…${elements.length - 6}, ` : ''}${last.join(', ')}]`;
}

/** Edges in linked lists over flat arrays: a million transactions fit. */
class Graph {
  #nodeCount: number;
  readonly #first = new Map<number, number>();
  readonly #next: number[] = [];
  readonly #target: number[] = [];
  readonly #kind: Dependency[] = [];

  constructor(nodeCount: number) {
    this.#nodeCount = nodeCount;
  }

  addNode(): number {
    return this.#nodeCount++;
  }

  add(from: number, to: number, kind: Dependency): void {
    if (from === to) return;
    const edge = this.#target.push(to) - 1;
    this.#kind.push(kind);
    this.#next.push(this.#first.get(from) ?? -1);
    this.#first.set(from, edge);
  }

  /** A short cycle of the first component that has one. */
  findCycle(): Step[] | null {
    const component = this.#findComponent();
    if (component === null) return null;
    const members = new Set(component);
    let best: Step[] | null = null;
    // As many attempts as stay cheap, spread over the component.
    const attempts = Math.max(1, Math.min(200, Math.floor(2_000_000 / component.length)));
    const stride = Math.ceil(component.length / attempts);
    for (let i = 0; i < component.length; i += stride) {
      const start = component[i] ?? 0;
      const cycle = this.#shortestCycle(start, members);
      if (cycle !== null && (best === null || cycle.length < best.length)) best = cycle;
    }
    return best;
  }

  /** Tarjan's strongly connected components, without recursion; the first of more than one node. */
  #findComponent(): number[] | null {
    const order = new Int32Array(this.#nodeCount).fill(-1);
    const low = new Int32Array(this.#nodeCount);
    const isOpen = new Uint8Array(this.#nodeCount);
    const open: number[] = [];
    let visitedCount = 0;
    for (let root = 0; root < this.#nodeCount; root++) {
      if (order[root] !== -1) continue;
      const path: {readonly node: number; edge: number}[] = [];
      const enter = (node: number): void => {
        order[node] = low[node] = visitedCount++;
        isOpen[node] = 1;
        open.push(node);
        path.push({node, edge: this.#first.get(node) ?? -1});
      };
      enter(root);
      for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
        const {node, edge} = top;
        if (edge >= 0) {
          const to = this.#target[edge] ?? 0;
          top.edge = this.#next[edge] ?? -1;
          if (order[to] === -1) enter(to);
          else if (isOpen[to] === 1) low[node] = Math.min(low[node] ?? 0, order[to] ?? 0);
          continue;
        }
        path.pop();
        const parent = path.at(-1);
        if (parent !== undefined) {
          low[parent.node] = Math.min(low[parent.node] ?? 0, low[node] ?? 0);
        }
        if (low[node] !== order[node]) continue;
        const component = open.splice(open.lastIndexOf(node));
        for (const member of component) isOpen[member] = 0;
        if (component.length > 1) return component;
      }
    }
    return null;
  }

  #shortestCycle(start: number, members: ReadonlySet<number>): Step[] | null {
    const from = new Map<number, {readonly node: number; readonly by: Dependency}>();
    const queue = [start];
    for (const node of queue) {
      for (let edge = this.#first.get(node) ?? -1; edge >= 0; edge = this.#next[edge] ?? -1) {
        const to = this.#target[edge] ?? 0;
        const by = this.#kind[edge] ?? 'rt';
        if (to === start) {
          const cycle: Step[] = [{node: start, by}];
          for (let at = node; at !== start;) {
            const step = from.get(at);
            if (step === undefined) return null;
            cycle.push({node: at, by: step.by});
            at = step.node;
          }
          return cycle.reverse();
        }
        if (!members.has(to) || from.has(to)) continue;
        from.set(to, {node, by});
        queue.push(to);
      }
    }
    return null;
  }
}
