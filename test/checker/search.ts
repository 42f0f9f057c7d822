/**
 * Is there an order of these calls that respects real time and that the model allows? Wing and
 * Gong's search with Lowe's memory of visited configurations, for any model. Iterative, bounded in
 * steps and time; what was not decided within the bounds is `unknown`, never `ok`.
 *
 * A call takes effect at one instant between its call and its return. A call without a return may
 * have taken effect at any time after its call, or never. Knows nothing of the program under test.
 */

export type Verdict = 'ok' | 'illegal' | 'unknown';

export interface Call<Input, Output> {
  readonly input: Input;
  /** Undefined: nobody saw the answer. */
  readonly output: Output | undefined;
  /** Positions in one total order of all calls and returns; every number occurs once. */
  readonly calledAt: number;
  /** Infinity: the outcome is unknown. */
  readonly returnedAt: number;
  /** Where it came from, for the report only. */
  readonly label?: string | undefined;
}

export interface Model<State extends object, Input, Output> {
  readonly initial: State;
  /** The state after the call; null: not possible here. Without an output: it took effect. */
  step(state: State, input: Input, output: Output | undefined): State | null;
  /** Equal texts for equal states and for no others. */
  describe(state: State): string;
  /** Changes nothing: without an answer it can be left out of a history. */
  isRead(input: Input): boolean;
  /**
   * May bound or leave out calls, or give inputs whose difference nobody saw the same one, if that
   * never changes the verdict. Inputs with equal texts in JSON are the same.
   */
  prepare?(calls: readonly Call<Input, Output>[]): readonly Call<Input, Output>[];
}

export interface SearchLimits {
  readonly stepCountMax: number;
  readonly timeMsMax: number;
}

export interface Finding<Input, Output> {
  readonly verdict: Verdict;
  /** Illegal: the shortest prefix found that has no legal order, by call. Otherwise empty. */
  readonly prefix: readonly Call<Input, Output>[];
  /** Illegal: the state in which the longest order ended that could be found for the prefix. */
  readonly reached: string;
}

/** Each step may remember a configuration: this is a bound of memory as well. */
export const searchLimitsDefault: SearchLimits = {stepCountMax: 4_000_000, timeMsMax: 60_000};

export function judge<State extends object, Input, Output>(
  model: Model<State, Input, Output>,
  calls: readonly Call<Input, Output>[],
  limits: SearchLimits = searchLimitsDefault,
): Verdict {
  return search(model, calls, limits).verdict;
}

/** The verdict, and if it is illegal the shortest prefix that shows it. */
export function explain<State extends object, Input, Output>(
  model: Model<State, Input, Output>,
  calls: readonly Call<Input, Output>[],
  limits: SearchLimits = searchLimitsDefault,
): Finding<Input, Output> {
  const {verdict} = search(model, calls, limits);
  if (verdict !== 'illegal') return {verdict, prefix: [], reached: ''};
  const returns = calls
    .map(call => call.returnedAt)
    .filter(at => at !== Infinity)
    .sort((a, b) => a - b);
  // A prefix of a legal history is legal, so the first illegal one can be bisected.
  let legal = 0;
  let illegal = returns.length;
  while (illegal - legal > 1) {
    const middle = Math.floor((legal + illegal) / 2);
    const prefix = cut(model, calls, returns[middle - 1] ?? 0);
    if (search(model, prefix, limits).verdict === 'illegal') illegal = middle;
    else legal = middle;
  }
  const prefix = cut(model, calls, returns[illegal - 1] ?? Infinity);
  return {verdict, prefix, reached: search(model, prefix, limits).reached};
}

function search<State extends object, Input, Output>(
  model: Model<State, Input, Output>,
  calls: readonly Call<Input, Output>[],
  limits: SearchLimits,
): {readonly verdict: Verdict; readonly reached: string} {
  const prepared = model.prepare?.(calls) ?? calls;
  const run = new Search(model, prepared, limits);
  return {verdict: run.run(), reached: run.reached};
}

/** The history until an instant; calls that had not returned by then are open. */
function cut<State extends object, Input, Output>(
  model: Model<State, Input, Output>,
  calls: readonly Call<Input, Output>[],
  until: number,
): Call<Input, Output>[] {
  const prefix: Call<Input, Output>[] = [];
  for (const call of calls) {
    if (call.calledAt > until) continue;
    if (call.returnedAt <= until) prefix.push(call);
    else if (!model.isRead(call.input)) {
      prefix.push({...call, output: undefined, returnedAt: Infinity});
    }
  }
  return prefix.sort((a, b) => a.calledAt - b.calledAt);
}

/** One call or return in the doubly linked list of those not yet placed. */
interface Event<Input, Output> {
  /** Among the calls of its kind, with or without a return, by call. */
  readonly ordinal: number;
  readonly at: number;
  /** Null only for the head of the list. */
  readonly call: Call<Input, Output> | null;
  readonly isCall: boolean;
  /** Of a call: its return, null when there is none. */
  returnEvent: Event<Input, Output> | null;
  /** Of a call without a return: the ordinal of the one before with the same input; -1: none. */
  twin: number;
  previous: Event<Input, Output> | null;
  next: Event<Input, Output> | null;
}

/** Between two looks at the clock. */
const stepsPerLook = 4_096;

/**
 * Depth first. Calls with a return are tried first, in the order of the linked list, up to the
 * first return that is not placed. Calls without one, which seldom explain anything, come last; of
 * those with the same input the one called first: it may stand wherever a later one could.
 */
class Search<State extends object, Input, Output> {
  readonly #model: Model<State, Input, Output>;
  readonly #limits: SearchLimits;
  readonly #head: Event<Input, Output>;
  /** Calls with a return, all of which must be placed. */
  readonly #isPlaced: boolean[] = [];
  /** All of them below it are placed. */
  #firstOpen = 0;
  #lastPlaced = -1;
  /** Calls without a return, by call. */
  readonly #unknown: Event<Input, Output>[] = [];
  /** Ordinals of those that were placed, ascending. */
  readonly #placedUnknown: number[] = [];
  #placedUnknownText = '';
  readonly #stack: {readonly event: Event<Input, Output>; readonly before: State}[] = [];
  readonly #seen = new Set<string>();
  #state: State;
  #placedCount = 0;
  #mostPlaced = -1;
  /** The state after the longest order so far. */
  reached = '';

  constructor(
    model: Model<State, Input, Output>,
    calls: readonly Call<Input, Output>[],
    limits: SearchLimits,
  ) {
    this.#model = model;
    this.#limits = limits;
    this.#state = model.initial;
    const events: Event<Input, Output>[] = [];
    const twins = new Map<string, number>();
    for (const call of [...calls].sort((a, b) => a.calledAt - b.calledAt)) {
      if (call.returnedAt === Infinity) {
        const event = newEvent(this.#unknown.length, call.calledAt, call, true);
        const kind = JSON.stringify(call.input);
        event.twin = twins.get(kind) ?? -1;
        twins.set(kind, event.ordinal);
        this.#unknown.push(event);
        continue;
      }
      const ordinal = this.#isPlaced.push(false) - 1;
      const event = newEvent(ordinal, call.calledAt, call, true);
      event.returnEvent = newEvent(ordinal, call.returnedAt, call, false);
      events.push(event, event.returnEvent);
    }
    events.sort((a, b) => a.at - b.at);
    this.#head = newEvent<Input, Output>(-1, -Infinity, null, false);
    let last = this.#head;
    for (const event of events) {
      last.next = event;
      event.previous = last;
      last = event;
    }
  }

  run(): Verdict {
    const deadline = performance.now() + this.#limits.timeMsMax;
    let stepCount = 0;
    let event = this.#head.next;
    /** Where to go on among the calls without a return. */
    let unknown = 0;
    while (this.#placedCount < this.#isPlaced.length) {
      if (++stepCount > this.#limits.stepCountMax) return 'unknown';
      if (stepCount % stepsPerLook === 0 && performance.now() > deadline) return 'unknown';
      const candidate = event?.isCall === true ? event : this.#unknownBefore(event, unknown);
      if (candidate !== null) {
        if (this.#place(candidate)) {
          event = this.#head.next;
          unknown = 0;
        } else if (candidate === event) event = event.next;
        else unknown = candidate.ordinal + 1;
        continue;
      }
      // A call returned before anything that could explain it: undo the last choice.
      const last = this.#undo();
      if (last === null) return 'illegal';
      const wasUnknown = last.returnEvent === null;
      event = wasUnknown ? this.#firstReturn() : last.next;
      unknown = wasUnknown ? last.ordinal + 1 : 0;
    }
    return 'ok';
  }

  /** The next one that is not placed and was called before `limit`. */
  #unknownBefore(limit: Event<Input, Output> | null, from: number): Event<Input, Output> | null {
    for (let i = from; ; i++) {
      const event = this.#unknown[i];
      if (event === undefined || event.at > (limit?.at ?? Infinity)) return null;
      const isTwinFree = event.twin >= 0 && !this.#placedUnknown.includes(event.twin);
      if (!isTwinFree && !this.#placedUnknown.includes(i)) return event;
    }
  }

  #firstReturn(): Event<Input, Output> | null {
    let event = this.#head.next;
    while (event?.isCall === true) event = event.next;
    return event;
  }

  /** False, and nothing changed, when it is not possible here or was tried before. */
  #place(event: Event<Input, Output>): boolean {
    if (event.call === null) return false;
    const after = this.#model.step(this.#state, event.call.input, event.call.output);
    if (after === null) return false;
    const lastBefore = this.#lastPlaced;
    this.#mark(event);
    const stateText = this.#model.describe(after);
    const configuration = this.#configuration(stateText);
    if (this.#seen.has(configuration)) {
      this.#unmark(event);
      this.#lastPlaced = lastBefore;
      return false;
    }
    this.#seen.add(configuration);
    this.#stack.push({event, before: this.#state});
    this.#state = after;
    if (event.returnEvent === null) return true;
    unlink(event);
    unlink(event.returnEvent);
    this.#placedCount++;
    if (this.#placedCount > this.#mostPlaced) {
      this.#mostPlaced = this.#placedCount;
      this.reached = stateText;
    }
    return true;
  }

  /** Takes back the last call that was placed; null when none is. */
  #undo(): Event<Input, Output> | null {
    const last = this.#stack.pop();
    if (last === undefined) return null;
    const {event} = last;
    this.#state = last.before;
    this.#unmark(event);
    if (event.returnEvent === null) return event;
    this.#placedCount--;
    while (this.#lastPlaced >= 0 && this.#isPlaced[this.#lastPlaced] !== true) this.#lastPlaced--;
    relink(event.returnEvent);
    relink(event);
    return event;
  }

  #mark({ordinal, returnEvent}: Event<Input, Output>): void {
    if (returnEvent === null) {
      const at = this.#placedUnknown.findIndex(other => other > ordinal);
      this.#placedUnknown.splice(at < 0 ? this.#placedUnknown.length : at, 0, ordinal);
      this.#placedUnknownText = this.#placedUnknown.join();
      return;
    }
    this.#isPlaced[ordinal] = true;
    this.#lastPlaced = Math.max(this.#lastPlaced, ordinal);
    while (this.#isPlaced[this.#firstOpen] === true) this.#firstOpen++;
  }

  #unmark({ordinal, returnEvent}: Event<Input, Output>): void {
    if (returnEvent === null) {
      this.#placedUnknown.splice(this.#placedUnknown.indexOf(ordinal), 1);
      this.#placedUnknownText = this.#placedUnknown.join();
      return;
    }
    this.#isPlaced[ordinal] = false;
    this.#firstOpen = Math.min(this.#firstOpen, ordinal);
  }

  /** Exact, and short: calls overlap with few others. */
  #configuration(stateText: string): string {
    let text = `${this.#firstOpen}`;
    for (let i = this.#firstOpen + 1; i <= this.#lastPlaced; i++) {
      if (this.#isPlaced[i] === true) text += `|${i}`;
    }
    return `${text}?${this.#placedUnknownText}=${stateText}`;
  }
}

function newEvent<Input, Output>(
  ordinal: number,
  at: number,
  call: Call<Input, Output> | null,
  isCall: boolean,
): Event<Input, Output> {
  return {ordinal, at, call, isCall, returnEvent: null, twin: -1, previous: null, next: null};
}

function unlink<Input, Output>(event: Event<Input, Output>): void {
  if (event.previous !== null) event.previous.next = event.next;
  if (event.next !== null) event.next.previous = event.previous;
}

/** Only in the reverse order of the unlinks. */
function relink<Input, Output>(event: Event<Input, Output>): void {
  if (event.previous !== null) event.previous.next = event;
  if (event.next !== null) event.next.previous = event;
}
