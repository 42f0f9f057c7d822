/**
 * Where requests go. The endpoint that works is kept; one that fails is left for the next in turn
 * and rests for a while, longer with every failure. Nothing here waits: `pick` says how long to.
 */
import {assert, must} from '../base/assert.ts';
import {invalidArgument} from './client-error.ts';

export interface Endpoint {
  /** Such as `http://localhost:9080`. */
  readonly origin: string;
  /** Failures since the last success. */
  failureCount: number;
  /** Not to be asked before, of the monotonic clock. */
  restsUntilMs: number;
  /** Grows with each failure counted: requests that fail together count once. */
  epoch: number;
}

const restMsMin = 50;
const restMsMax = 1_000;

export class Endpoints {
  readonly #list: readonly Endpoint[];
  readonly #nowMs: () => number;
  readonly #random: () => number;
  #preferred = 0;

  /** `random` in [0, 1). Throws INVALID_ARGUMENT. */
  constructor(
    endpoints: string | readonly string[],
    clock: {readonly nowMs: () => number; readonly random: () => number},
  ) {
    const texts = typeof endpoints === 'string' ? endpoints.split(',') : endpoints;
    checkAddresses(texts);
    const origins = new Set(texts.map(text => originOf(text.trim())));
    if (origins.size === 0) throw invalidArgument('endpoints must name at least one node');
    this.#list = [...origins].map(origin => {
      return {origin, failureCount: 0, restsUntilMs: 0, epoch: 0};
    });
    this.#nowMs = clock.nowMs;
    this.#random = clock.random;
  }

  get origins(): readonly string[] {
    return this.#list.map(endpoint => endpoint.origin);
  }

  /** The preferred endpoint, or the next that does not rest, or the one that rests shortest. */
  pick(): {readonly endpoint: Endpoint; readonly waitMs: number} {
    const now = this.#nowMs();
    let best: Endpoint | null = null;
    for (let i = 0; i < this.#list.length; i++) {
      const endpoint = this.#list[(this.#preferred + i) % this.#list.length];
      assert(endpoint !== undefined, 'no endpoint %', i);
      if (endpoint.restsUntilMs <= now) return {endpoint, waitMs: 0};
      if (best === null || endpoint.restsUntilMs < best.restsUntilMs) best = endpoint;
    }
    const endpoint = must(best, 'there is at least one endpoint');
    return {endpoint, waitMs: endpoint.restsUntilMs - now};
  }

  /** `endpoint` may be one that only a single call goes to: that is no place for the others. */
  succeeded(endpoint: Endpoint): void {
    if (endpoint.failureCount !== 0) {
      endpoint.failureCount = 0;
      endpoint.restsUntilMs = 0;
    }
    const preferred = this.#list[this.#preferred];
    // A late answer of another endpoint is no reason to move.
    if (preferred !== endpoint && preferred !== undefined && preferred.failureCount > 0) {
      const place = this.#list.indexOf(endpoint);
      if (place >= 0) this.#preferred = place;
    }
  }

  /** `epoch` as it was when the attempt began. */
  failed(endpoint: Endpoint, epoch: number): void {
    if (endpoint.epoch !== epoch) return;
    endpoint.epoch += 1;
    endpoint.failureCount += 1;
    const fullMs = Math.min(restMsMax, restMsMin * 2 ** Math.min(endpoint.failureCount - 1, 10));
    endpoint.restsUntilMs = this.#nowMs() + fullMs * (0.5 + this.#random() / 2);
    // However soon it has rested, the others come first.
    const isPreferred = this.#list[this.#preferred] === endpoint;
    if (isPreferred) this.#preferred = (this.#preferred + 1) % this.#list.length;
  }
}

/** Whatever the types say: a program without types may pass anything. */
function checkAddresses(texts: unknown): void {
  const isGood = Array.isArray(texts) && texts.every(text => typeof text === 'string');
  if (!isGood) throw invalidArgument('endpoints must be addresses, in a list or with commas');
}

/** `localhost:9080` means `http://localhost:9080`. Throws INVALID_ARGUMENT. */
export function originOf(text: string): string {
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const parsed = URL.canParse(address) ? new URL(address) : null;
  const isOrigin =
    parsed !== null &&
    (parsed.protocol === 'http:' || parsed.protocol === 'https:') &&
    parsed.pathname === '/' &&
    parsed.search === '' &&
    parsed.hash === '' &&
    parsed.username === '' &&
    parsed.password === '';
  if (!isOrigin || text === '') {
    throw invalidArgument(`"${text}" is not an endpoint; write http://host:port`);
  }
  return parsed.origin;
}
