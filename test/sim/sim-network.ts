/**
 * The network of a simulated cluster. Each directed pair of machines has a path with its own
 * weather: delay, loss, duplication, disorder, a clog, a cut that may go one way only. The
 * machines' transports (sim-transport.ts) hand it encoded messages; it decides whether and when
 * each arrives.
 */
import {must} from '../../src/base/assert.ts';
import type {Prng} from '../../src/base/prng.ts';
import type {PeerMessage} from '../../src/transport/transport.ts';
import type {Coverage} from './coverage.ts';
import type {EventQueue} from './event-queue.ts';
import type {MemberTime} from './member-time.ts';
import {SimTransport} from './sim-transport.ts';

export interface Weather {
  readonly delayMinMs: number;
  readonly delayMeanMs: number;
  /** Of each message, 0 to 1. */
  readonly lossRate: number;
  readonly duplicateRate: number;
  /** Of messages that may arrive before earlier ones. */
  readonly reorderRate: number;
  /** Messages on their way from one machine to another at most. */
  readonly capacity: number;
}

export const fairWeather: Weather = {
  delayMinMs: 0.5,
  delayMeanMs: 1,
  lossRate: 0,
  duplicateRate: 0,
  reorderRate: 0,
  capacity: 10_000,
};

/** What leads from one machine to another, in one direction. */
export interface Path {
  readonly from: number;
  readonly to: number;
  isCut: boolean;
  /** Rises with each cut and each heal. */
  epoch: number;
  cloggedUntilMs: number;
  inFlightCount: number;
  /** When the last message in order arrives, per channel. */
  readonly lastArrivalMs: [number, number];
}

export interface Envelope {
  readonly fromAddress: string;
  readonly toAddress: string;
  readonly type: PeerMessage['type'];
  readonly bytes: Uint8Array;
}

/** A connection that nothing comes through is given up after this (peerAckTimeoutMs). */
const silenceMs = 2_000;
const keptCountMax = 400;

export class SimNetwork {
  readonly queue: EventQueue;
  readonly prng: Prng;
  readonly coverage: Coverage;
  weather: Weather = fairWeather;
  /** Every so many messages one is remembered, to be sent again much later. 0: none. */
  keepOneIn = 0;
  /** Of the blocks of snapshots, those that find their own connection broken. */
  streamBreakRate = 0;
  /** Looks at every message before it leaves. */
  onSend: (from: number, message: PeerMessage) => void = () => undefined;
  readonly #times = new Map<string, MemberTime>();
  readonly #listening = new Map<string, SimTransport>();
  readonly #paths: Path[] = [];
  readonly #machineCount: number;
  readonly #kept: Envelope[] = [];
  #season = 0;

  constructor(parts: {
    readonly queue: EventQueue;
    readonly prng: Prng;
    readonly coverage: Coverage;
    /** The machines by address; their owners are 0, 1, … */
    readonly machines: ReadonlyMap<string, MemberTime>;
  }) {
    this.queue = parts.queue;
    this.prng = parts.prng;
    this.coverage = parts.coverage;
    this.#machineCount = parts.machines.size;
    for (const [address, time] of parts.machines) this.#times.set(address, time);
    for (let from = 0; from < this.#machineCount; from++) {
      for (let to = 0; to < this.#machineCount; to++) {
        this.#paths.push({
          from,
          to,
          isCut: false,
          epoch: 0,
          cloggedUntilMs: 0,
          inFlightCount: 0,
          lastArrivalMs: [0, 0],
        });
      }
    }
  }

  /** Of one life of the machine with this address. */
  transport(address: string): SimTransport {
    return new SimTransport(this, address, this.timeOf(address));
  }

  isMachine(address: string): boolean {
    return this.#times.has(address);
  }

  timeOf(address: string): MemberTime {
    return must(this.#times.get(address), 'no machine at %', address);
  }

  path(from: number, to: number): Path {
    return must(this.#paths[from * this.#machineCount + to], 'no path % %', from, to);
  }

  /** Nothing arrives any more; `isReset`: connections break at once instead of falling silent. */
  cut(from: number, to: number, options: {readonly isReset: boolean}): void {
    if (from === to) return;
    const path = this.path(from, to);
    path.isCut = true;
    const epoch = ++path.epoch;
    const give = (): void => {
      if (path.isCut && path.epoch === epoch) this.#breakBetween(from, to);
    };
    this.queue.add(options.isReset ? 0 : silenceMs, -1, 'link', give);
  }

  heal(from: number, to: number): void {
    const path = this.path(from, to);
    if (!path.isCut) return;
    path.isCut = false;
    path.epoch++;
  }

  /** Everything is open again, and what was on its way is lost. */
  healAll(): void {
    this.#season++;
    for (const path of this.#paths) {
      this.heal(path.from, path.to);
      path.cloggedUntilMs = 0;
    }
  }

  /** What is sent meanwhile arrives when the clog dissolves. */
  clog(from: number, to: number, durationMs: number): void {
    this.path(from, to).cloggedUntilMs = this.queue.nowMs + durationMs;
  }

  /** Both directions work: a handshake would succeed. */
  isOpen(a: number, b: number): boolean {
    return !this.path(a, b).isCut && !this.path(b, a).isCut;
  }

  listen(address: string, transport: SimTransport): boolean {
    if (this.#listening.has(address)) return false;
    this.#listening.set(address, transport);
    return true;
  }

  /** The process is gone. `isSilent`: the machine too, so that nobody is told. */
  unlisten(address: string, options: {readonly isSilent: boolean}): void {
    this.#listening.delete(address);
    const owner = this.timeOf(address).owner;
    for (const other of this.#listening.values()) {
      const delayMs = options.isSilent || !this.isOpen(owner, other.owner) ? silenceMs : 0;
      other.scheduleBreak(address, delayMs + this.delayMs());
    }
  }

  at(address: string): SimTransport | null {
    return this.#listening.get(address) ?? null;
  }

  delayMs(): number {
    const {delayMinMs, delayMeanMs} = this.weather;
    return delayMinMs + exponential(this.prng, delayMeanMs);
  }

  /** False: the path is full. `isInOrder`: behind what left before on the same channel. */
  carry(envelope: Envelope, channel: 0 | 1, isCurrent: () => boolean): boolean {
    const from = this.timeOf(envelope.fromAddress).owner;
    const path = this.path(from, this.timeOf(envelope.toAddress).owner);
    const {lossRate, duplicateRate, reorderRate, capacity} = this.weather;
    if (path.inFlightCount >= capacity) {
      this.coverage.count('message refused by a full path');
      return false;
    }
    if (this.keepOneIn > 0 && this.prng.integer({min: 1, max: this.keepOneIn}) === 1) {
      this.#keep(envelope);
    }
    if (lossRate > 0 && this.prng.float() < lossRate) {
      this.coverage.count('message lost');
      return true;
    }
    const isReordered = reorderRate > 0 && this.prng.float() < reorderRate;
    const own = this.queue.nowMs + this.delayMs();
    const atMs = isReordered ? own : Math.max(own, path.lastArrivalMs[channel]);
    if (!isReordered) path.lastArrivalMs[channel] = atMs;
    this.#arriveAt(Math.max(atMs, path.cloggedUntilMs), path, envelope, isCurrent);
    // A forward is a request of its own: the transport promises to deliver it at most once.
    const mayRepeat = duplicateRate > 0 && envelope.type !== 'forward';
    if (mayRepeat && this.prng.float() < duplicateRate) {
      this.coverage.count('message duplicated');
      this.#arriveAt(atMs + this.delayMs() * 4, path, envelope, isCurrent);
    }
    return true;
  }

  breaksStream(): boolean {
    return this.streamBreakRate > 0 && this.prng.float() < this.streamBreakRate;
  }

  /** Sends an old message once more to whoever is there now. */
  replayOld(): void {
    if (this.#kept.length === 0) return;
    const envelope = must(
      this.#kept[this.prng.integer({min: 0, max: this.#kept.length - 1})],
      'a kept message',
    );
    const from = this.timeOf(envelope.fromAddress).owner;
    const path = this.path(from, this.timeOf(envelope.toAddress).owner);
    if (path.isCut) return;
    this.coverage.count('old message replayed');
    this.#arriveAt(this.queue.nowMs, path, envelope, () => true);
  }

  /** A machine has another disk: what its former one sent or was sent is gone with it. */
  forgetOld(address: string): void {
    const kept = this.#kept.filter(
      ({fromAddress, toAddress}) => fromAddress !== address && toAddress !== address,
    );
    this.#kept.splice(0, this.#kept.length, ...kept);
  }

  #arriveAt(atMs: number, path: Path, envelope: Envelope, isCurrent: () => boolean): void {
    path.inFlightCount++;
    const time = this.timeOf(envelope.toAddress);
    const delayMs = Math.max(0, atMs - this.queue.nowMs);
    const season = this.#season;
    this.queue.add(delayMs, time.owner, 'message', () => {
      path.inFlightCount--;
      if (path.isCut || season !== this.#season || !isCurrent()) return;
      time.wake('message', () => {
        if (isCurrent()) this.at(envelope.toAddress)?.receive(envelope);
      });
    });
  }

  #keep(envelope: Envelope): void {
    if (envelope.type === 'forward') return;
    if (this.#kept.length < keptCountMax) this.#kept.push(envelope);
    else this.#kept[this.prng.integer({min: 0, max: keptCountMax - 1})] = envelope;
  }

  /** Acknowledgements travel the other way, so both machines' connections are of no use. */
  #breakBetween(a: number, b: number): void {
    for (const [address, transport] of this.#listening) {
      if (transport.owner !== a && transport.owner !== b) continue;
      const other = transport.owner === a ? b : a;
      for (const [otherAddress, time] of this.#times) {
        if (time.owner === other && otherAddress !== address) {
          transport.scheduleBreak(otherAddress, 0);
        }
      }
    }
  }
}

export function exponential(prng: Prng, mean: number): number {
  return mean === 0 ? 0 : -Math.log(1 - prng.float()) * mean;
}
