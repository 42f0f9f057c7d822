/**
 * The first start (docs/guarantees.md, "First start"). A cluster of static `-peers` forms once,
 * when all of them have met: everybody is asked for its incarnation, the lowest id draws the
 * cluster id, and the first log entry, the membership with all incarnations, is durable everywhere
 * before anybody may vote. An empty directory therefore never becomes a second cluster, and never
 * passes for a member that has lost its disk.
 */
import type {Clock, Timer} from '../base/clock.ts';
import {RosettaError} from '../base/errors.ts';
import type {Logger} from '../base/logger.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import type {FormationAnswer, Transport} from '../transport/transport.ts';
import type {
  Adopt,
  FormationPeer,
  FormationRequest,
  Found,
  Hello,
  HelloAnswer,
} from './formation-messages.ts';
import {detailOf, readHelloAnswer} from './formation-messages.ts';
import type {IdentityRecord} from './identity-record.ts';

const pollIntervalMs = 100;

export interface FormationParts {
  readonly self: Member;
  readonly peers: readonly FormationPeer[];
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 32 random hex digits. */
  readonly drawClusterId: () => string;
  /** Durable when it returns. */
  readonly save: (record: IdentityRecord) => void;
  /** Opens the log of a founded record and makes its first entry durable. */
  readonly writeFirstEntry: (record: IdentityRecord, callback: () => void) => void;
  /** The record is 'founded' everywhere, or 'adopted': the member may run. Called once. */
  readonly onFormed: (record: IdentityRecord) => void;
  readonly onFatal: (error: Error) => void;
}

export class Formation {
  readonly aim = 'formation';
  readonly #parts: FormationParts;
  #record: IdentityRecord;
  /** The first entry of a founded record is durable here. */
  #hasFirstEntry = false;
  #isWritingFirstEntry = false;
  #isDone = false;
  #timer: Timer | null = null;
  readonly #answers = new Map<string, HelloAnswer>();
  readonly #refusing = new Set<string>();
  /** Peers that do not answer, and why. */
  readonly #silent = new Map<string, string>();
  #lastWaitingFor = '';

  constructor(parts: FormationParts, record: IdentityRecord) {
    this.#parts = parts;
    this.#record = record;
  }

  get record(): IdentityRecord {
    return this.#record;
  }

  start(): void {
    if (this.#record.stage === 'founded') this.#writeFirstEntry();
    this.#poll();
  }

  stop(): void {
    this.#isDone = true;
    this.#timer?.cancel();
  }

  hello(): Hello {
    const {self} = this.#parts;
    return {
      type: 'hello',
      id: self.id,
      incarnation: self.incarnation,
      clusterId: this.#record.clusterId,
      listen: self.listen,
      http: self.http,
      ids: this.#ids(),
    };
  }

  /** Answers while this node is not a member yet. */
  answer(request: FormationRequest): FormationAnswer {
    switch (request.type) {
      case 'hello':
        return {status: 200, body: {...this.hello(), stage: this.#stage(), isExpected: false}};
      case 'found':
        return this.#onFound(request);
      case 'adopt':
        return this.#onAdopt(request);
      case 'send-snapshot':
      case 'join':
      case 'replace':
      case 'change':
      case 'removed':
      case 'last-start':
        return {status: 503, body: {code: 'STARTING', detail: 'the cluster is not formed yet'}};
    }
  }

  #stage(): 'fresh' | 'founded' {
    return this.#record.stage === 'founded' && this.#hasFirstEntry ? 'founded' : 'fresh';
  }

  #ids(): string[] {
    return [this.#parts.self.id, ...this.#parts.peers.map(peer => peer.id)].sort();
  }

  #onFound(request: Found): FormationAnswer {
    const {self, logger} = this.#parts;
    const own = request.members.find(member => member.id === self.id);
    if (own?.incarnation !== self.incarnation) {
      return refusal(
        'WRONG_INCARNATION',
        `the data directory of ${self.id} was replaced during the first start; ` +
          'stop all nodes, delete their data directories and start again',
      );
    }
    const {clusterId} = this.#record;
    if (clusterId !== null && clusterId !== request.clusterId) {
      return refusal('WRONG_CLUSTER', `${self.id} was founded into cluster ${clusterId}`);
    }
    const named = request.members.map(member => member.id).sort();
    if (named.join() !== this.#ids().join()) {
      return refusal(
        'OTHER_PEERS',
        `${self.id} was started with other -peers: ${this.#ids().join(', ')}`,
      );
    }
    if (clusterId === null) {
      logger.info({clusterId: request.clusterId}, 'the cluster is founded');
      this.#found(request.clusterId, request.members);
    }
    return {status: 200, body: {clusterId: request.clusterId, stage: this.#stage()}};
  }

  #onAdopt(request: Adopt): FormationAnswer {
    const {self} = this.#parts;
    if (this.#record.stage !== 'fresh' || this.#isDone) {
      return refusal('WRONG_CLUSTER', `${self.id} belongs to a cluster already`);
    }
    const own = request.members.find(member => member.id === self.id);
    if (own?.incarnation !== self.incarnation) {
      return refusal('WRONG_INCARNATION', `${self.id} has another data directory than expected`);
    }
    this.#record = {
      ...this.#record,
      clusterId: request.clusterId,
      stage: 'adopted',
      members: request.members,
    };
    this.#parts.save(this.#record);
    this.#finish();
    return {status: 200, body: {clusterId: request.clusterId}};
  }

  #found(clusterId: string, members: readonly Member[]): void {
    this.#record = {...this.#record, clusterId, stage: 'founded', members};
    this.#parts.save(this.#record);
    this.#writeFirstEntry();
  }

  #writeFirstEntry(): void {
    if (this.#isWritingFirstEntry) return;
    this.#isWritingFirstEntry = true;
    this.#parts.writeFirstEntry(this.#record, () => {
      this.#hasFirstEntry = true;
      this.#decide();
    });
  }

  #poll(): void {
    if (this.#isDone) return;
    for (const peer of this.#parts.peers) this.#ask(peer);
    this.#decide();
    if (!this.#hasEnded()) {
      this.#timer = this.#parts.clock.setTimer(pollIntervalMs, () => this.#poll());
    }
  }

  #hasEnded(): boolean {
    return this.#isDone;
  }

  #ask(peer: FormationPeer): void {
    this.#parts.transport.requestFormation(peer.address, this.hello(), (error, answer) => {
      if (this.#isDone) return;
      if (error !== null || answer === null) {
        this.#answers.delete(peer.id);
        this.#noteSilence(peer, error?.message ?? 'no answer');
        return;
      }
      this.#silent.delete(peer.id);
      if (answer.status === 409) {
        this.#fail(detailOf(answer) ?? `${peer.id} refuses this node`);
        return;
      }
      const said = readHelloAnswer(answer);
      if (said === null) return;
      if (said.id !== peer.id) {
        this.#fail(`-peers names ${peer.address} ${peer.id}, but ${said.id} answers there`);
        return;
      }
      this.#answers.set(peer.id, said);
      this.#checkForeign(said);
      this.#decide();
    });
  }

  /** Asked ten times a second; why it does not answer is said when it changes. */
  #noteSilence({id, address}: FormationPeer, reason: string): void {
    if (this.#silent.get(id) === reason) return;
    this.#silent.set(id, reason);
    this.#parts.logger.info({peer: id}, `${id} does not answer at ${address}: ${reason}`);
  }

  /** A running cluster that does not expect this node will never let it in by `-peers`. */
  #checkForeign(said: HelloAnswer): void {
    const {clusterId} = this.#record;
    if (said.stage === 'fresh' || said.clusterId === null || said.isExpected) return;
    if (said.clusterId === clusterId) return;
    if (clusterId === null && said.stage === 'founded') return;
    this.#fail(
      `${said.id} belongs to cluster ${said.clusterId}, which does not know ${this.#parts.self.id}; ` +
        'start it with -join to add it, or give both an empty directory',
    );
  }

  #decide(): void {
    if (this.#isDone) return;
    const {peers, self, logger} = this.#parts;
    const missing = peers.filter(peer => !this.#answers.has(peer.id)).map(peer => peer.id);
    const others = [...this.#answers.values()].filter(
      said => said.ids.join() !== this.#ids().join() && !said.isExpected,
    );
    // A member that runs has seen the first entry durable everywhere, here too: this node crashed
    // before it learned so. Who is missing now is simply down.
    if (this.#hasFirstEntry && this.#isFormed()) {
      this.#finish();
      return;
    }
    this.#reportWaiting(missing, others);
    if (missing.length > 0 || others.length > 0) return;
    if (this.#record.stage === 'fresh') {
      const isLowest = peers.every(peer => self.id < peer.id);
      // With a cluster id but no first entry it is founded already, by a directory that is gone.
      const areFresh = [...this.#answers.values()].every(
        said => said.stage === 'fresh' && said.clusterId === null,
      );
      if (isLowest && areFresh) this.#found(this.#parts.drawClusterId(), this.#firstMembers());
      return;
    }
    if (!this.#hasFirstEntry) return;
    for (const said of this.#answers.values()) {
      if (said.stage === 'fresh') this.#tellFounded(said.id);
    }
    const isEverywhere = [...this.#answers.values()].every(
      said => said.stage !== 'fresh' && said.clusterId === this.#record.clusterId,
    );
    if (!isEverywhere) return;
    logger.info({clusterId: this.#record.clusterId}, 'all first members have met');
    this.#finish();
  }

  #isFormed(): boolean {
    const {clusterId} = this.#record;
    return [...this.#answers.values()].some(
      said => said.stage === 'member' && said.clusterId === clusterId,
    );
  }

  #firstMembers(): Member[] {
    const members = [...this.#answers.values()].map(said => ({
      id: nodeId(said.id),
      incarnation: said.incarnation,
      listen: said.listen,
      http: said.http,
    }));
    members.push(this.#parts.self);
    return members.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  #tellFounded(id: string): void {
    const {peers, transport, logger} = this.#parts;
    const {clusterId, members} = this.#record;
    const address = peers.find(peer => peer.id === id)?.address;
    if (address === undefined) return;
    transport.requestFormation(address, {type: 'found', clusterId, members}, (error, answer) => {
      if (error !== null || answer === null || answer.status === 200) return;
      // Asked again and again; said once.
      if (this.#refusing.has(id)) return;
      this.#refusing.add(id);
      logger.warn({peer: id, detail: detailOf(answer)}, `${id} refuses to be founded`);
    });
  }

  #reportWaiting(missing: readonly string[], others: readonly HelloAnswer[]): void {
    const names = `${missing.join()} / ${others.map(said => said.id).join()}`;
    if (names === this.#lastWaitingFor) return;
    this.#lastWaitingFor = names;
    for (const said of others) {
      this.#parts.logger.warn(
        {peer: said.id, theirs: said.ids, ours: this.#ids()},
        `${said.id} was started with other -peers`,
      );
    }
    if (missing.length === 0) return;
    this.#parts.logger.info({}, `waiting for ${missing.join(', ')} (first start only)`);
  }

  #finish(): void {
    if (this.#isDone) return;
    this.stop();
    this.#parts.onFormed(this.#record);
  }

  #fail(detail: string): void {
    if (this.#isDone) return;
    this.stop();
    this.#parts.onFatal(new RosettaError('INVALID_REQUEST', detail));
  }
}

function refusal(code: string, detail: string): FormationAnswer {
  return {status: 409, body: {code, detail}};
}
