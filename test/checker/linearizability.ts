/**
 * Is a history of one register per key linearizable? The search is Wing and Gong's with Lowe's
 * memory of visited configurations; keys are independent of each other and are searched apart.
 *
 * A history is what clients saw: an operation takes effect at one instant between its call and its
 * return. Values of writes are unique within their key (null: the key is absent). A write whose
 * outcome is unknown has no return and may have taken effect at any time after its call, or never.
 * Knows nothing of the program under test.
 */

export interface Operation {
  readonly key: string;
  readonly type: 'read' | 'write';
  /** What was written or read; null: absent. */
  readonly value: string | null;
  /** Positions in one total order of all calls and returns; every number occurs once. */
  readonly calledAt: number;
  /** Infinity: the outcome is unknown. Reads without a return are left out of a history. */
  readonly returnedAt: number;
  /** Where it came from, for the report only. */
  readonly label?: string;
}

export interface Violation {
  readonly key: string;
  /** The operations of the shortest prefix that has no legal order, by call. */
  readonly prefix: readonly Operation[];
}

/** Null when every key's history is linearizable; otherwise the first key that is not. */
export function findViolation(history: readonly Operation[]): Violation | null {
  const byKey = new Map<string, Operation[]>();
  for (const operation of history) {
    const operations = byKey.get(operation.key);
    if (operations === undefined) byKey.set(operation.key, [operation]);
    else operations.push(operation);
  }
  for (const [key, operations] of byKey) {
    if (!isRegisterLinearizable(operations)) return {key, prefix: shortestPrefix(operations)};
  }
  return null;
}

/** A table of the last operations of a violation, for a person to read. */
export function describeViolation(violation: Violation): string {
  const lines = violation.prefix.slice(-24).map(operation => {
    const span = `${operation.calledAt}..${operation.returnedAt}`.padEnd(20);
    return `  ${span} ${operation.type} ${operation.value ?? '(absent)'} ${operation.label ?? ''}`;
  });
  const count = violation.prefix.length;
  return `key ${violation.key} is not linearizable, ${count} operations:\n${lines.join('\n')}`;
}

/** One key, starting absent. */
export function isRegisterLinearizable(operations: readonly Operation[]): boolean {
  return new Search(boundUnknownWrites(operations)).run();
}

/**
 * Keeps the search small without changing its verdict: a write of unknown outcome that nobody read
 * can be left out, and one that was read took effect before the first such read returned.
 */
function boundUnknownWrites(operations: readonly Operation[]): Operation[] {
  const firstReadOf = new Map<string, number>();
  for (const {type, value, returnedAt} of operations) {
    if (type !== 'read' || value === null) continue;
    firstReadOf.set(value, Math.min(firstReadOf.get(value) ?? Infinity, returnedAt));
  }
  const bounded: Operation[] = [];
  for (const operation of operations) {
    const isUnknownWrite = operation.type === 'write' && operation.returnedAt === Infinity;
    if (!isUnknownWrite || operation.value === null) {
      bounded.push(operation);
      continue;
    }
    const readAt = firstReadOf.get(operation.value);
    // The same instant as the read's return, just before it.
    if (readAt !== undefined) bounded.push({...operation, returnedAt: readAt - 0.5});
  }
  return bounded;
}

/** One call or return in the doubly linked list of those not yet placed. */
interface Event {
  readonly ordinal: number;
  readonly operation: Operation;
  readonly isCall: boolean;
  /** Of a call: its return, null when there is none. */
  returnEvent: Event | null;
  previous: Event | null;
  next: Event | null;
}

class Search {
  readonly #head: Event;
  readonly #isPlaced: boolean[];
  /** All calls below it are placed. */
  #firstOpen = 0;
  #lastPlaced = -1;
  readonly #mustPlaceCount: number;
  readonly #seen = new Set<string>();

  constructor(operations: readonly Operation[]) {
    const ordered = [...operations].sort((a, b) => a.calledAt - b.calledAt);
    this.#isPlaced = ordered.map(() => false);
    this.#mustPlaceCount = ordered.filter(operation => operation.returnedAt !== Infinity).length;
    const events: {readonly at: number; readonly event: Event}[] = [];
    ordered.forEach((operation, ordinal) => {
      const links = {ordinal, operation, returnEvent: null, previous: null, next: null};
      const call: Event = {...links, isCall: true};
      events.push({at: operation.calledAt, event: call});
      if (operation.returnedAt === Infinity) return;
      call.returnEvent = {...links, isCall: false};
      events.push({at: operation.returnedAt, event: call.returnEvent});
    });
    events.sort((a, b) => a.at - b.at);
    this.#head = headOf(events.map(({event}) => event));
  }

  run(): boolean {
    const stack: {readonly call: Event; readonly before: string | null}[] = [];
    let value: string | null = null;
    let placedCount = 0;
    let event = this.#head.next;
    while (placedCount < this.#mustPlaceCount) {
      if (event?.isCall === true) {
        const {operation} = event;
        const isLegal = operation.type === 'write' || operation.value === value;
        if (isLegal && this.#place(event, operation.value)) {
          stack.push({call: event, before: value});
          value = operation.value;
          if (event.returnEvent !== null) placedCount++;
          event = this.#head.next;
        } else {
          event = event.next;
        }
        continue;
      }
      // An operation returned before anything that could explain it: undo the last choice.
      const last = stack.pop();
      if (last === undefined) return false;
      this.#unplace(last.call);
      value = last.before;
      if (last.call.returnEvent !== null) placedCount--;
      event = last.call.next;
    }
    return true;
  }

  /** False, and nothing changed, when this set of operations with this value was seen before. */
  #place(call: Event, value: string | null): boolean {
    const {ordinal} = call;
    this.#isPlaced[ordinal] = true;
    const lastBefore = this.#lastPlaced;
    this.#lastPlaced = Math.max(lastBefore, ordinal);
    while (this.#isPlaced[this.#firstOpen] === true) this.#firstOpen++;
    const configuration = this.#describe(value);
    if (this.#seen.has(configuration)) {
      this.#isPlaced[ordinal] = false;
      this.#lastPlaced = lastBefore;
      this.#firstOpen = Math.min(this.#firstOpen, ordinal);
      return false;
    }
    this.#seen.add(configuration);
    unlink(call);
    if (call.returnEvent !== null) unlink(call.returnEvent);
    return true;
  }

  #unplace(call: Event): void {
    this.#isPlaced[call.ordinal] = false;
    this.#firstOpen = Math.min(this.#firstOpen, call.ordinal);
    while (this.#lastPlaced >= 0 && this.#isPlaced[this.#lastPlaced] !== true) this.#lastPlaced--;
    if (call.returnEvent !== null) relink(call.returnEvent);
    relink(call);
  }

  /** Exact, and short: calls overlap with few others. */
  #describe(value: string | null): string {
    let text = value === null ? `${this.#firstOpen}` : `${this.#firstOpen}=${value}`;
    for (let i = this.#firstOpen + 1; i <= this.#lastPlaced; i++) {
      if (this.#isPlaced[i] === true) text += `|${i}`;
    }
    return text;
  }
}

function headOf(events: readonly Event[]): Event {
  const operation: Operation = {key: '', type: 'read', value: null, calledAt: -1, returnedAt: -1};
  const head: Event = {
    ordinal: -1,
    operation,
    isCall: false,
    returnEvent: null,
    previous: null,
    next: null,
  };
  let last = head;
  for (const event of events) {
    last.next = event;
    event.previous = last;
    last = event;
  }
  return head;
}

function unlink(event: Event): void {
  if (event.previous !== null) event.previous.next = event.next;
  if (event.next !== null) event.next.previous = event.previous;
}

/** Only in the reverse order of the unlinks. */
function relink(event: Event): void {
  if (event.previous !== null) event.previous.next = event;
  if (event.next !== null) event.next.previous = event;
}

/** Cuts the history after the n-th return; operations that had not returned by then are open. */
function shortestPrefix(operations: readonly Operation[]): readonly Operation[] {
  const returns = operations
    .map(operation => operation.returnedAt)
    .filter(at => at !== Infinity)
    .sort((a, b) => a - b);
  let legal = 0;
  let illegal = returns.length;
  while (illegal - legal > 1) {
    const middle = Math.floor((legal + illegal) / 2);
    if (isRegisterLinearizable(cut(operations, returns[middle - 1] ?? 0))) legal = middle;
    else illegal = middle;
  }
  return cut(operations, returns[illegal - 1] ?? Infinity);
}

function cut(operations: readonly Operation[], until: number): Operation[] {
  const prefix: Operation[] = [];
  for (const operation of operations) {
    if (operation.calledAt > until) continue;
    if (operation.returnedAt <= until) prefix.push(operation);
    else if (operation.type === 'write') prefix.push({...operation, returnedAt: Infinity});
  }
  return prefix.sort((a, b) => a.calledAt - b.calledAt);
}
