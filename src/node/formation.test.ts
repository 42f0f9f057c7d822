import assert from 'node:assert/strict';
import {test} from 'node:test';
import {memberOf} from '../../test/node/driven-raft.ts';
import {FakeTransport} from '../../test/node/fake-transport.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {must} from '../base/assert.ts';
import {silentLogger} from '../base/logger.ts';
import {nodeId} from '../raft/ids.ts';
import type {Member} from '../raft/membership.ts';
import {readFormationRequest} from './formation-messages.ts';
import {Formation} from './formation.ts';
import type {IdentityRecord} from './identity-record.ts';

/** Where a life ends, when a test says so: right after the step has taken effect. */
type Step = 'identity saved' | 'first entry written';

class Founder {
  readonly self: Member;
  record: IdentityRecord;
  /** Durable: survives lives. */
  hasFirstEntry = false;
  formation: Formation | null = null;
  formed: IdentityRecord | null = null;
  fatal: Error | null = null;
  transport = new FakeTransport();
  crashAfter: Step | null = null;
  readonly warnings: string[] = [];
  readonly #scene: Scene;
  readonly #peerIds: readonly string[];

  constructor(scene: Scene, id: string, peerIds: readonly string[], incarnation?: string) {
    const member = memberOf(id);
    this.self = {...member, incarnation: incarnation ?? member.incarnation};
    this.#scene = scene;
    this.#peerIds = peerIds;
    this.record = {
      nodeId: nodeId(id),
      incarnation: this.self.incarnation,
      clusterId: null,
      stage: 'fresh',
      members: [],
    };
  }

  start(): void {
    this.transport = new FakeTransport();
    this.formation = new Formation(
      {
        self: this.self,
        peers: this.#peerIds.map(id => ({id, address: `${id}:1`})),
        transport: this.transport,
        clock: new LifeClock(this.#scene.time),
        logger: {...silentLogger, warn: (_fields, message) => this.warnings.push(message)},
        drawClusterId: () => (++this.#scene.drawnCount).toString(16).padStart(32, '0'),
        save: record => {
          this.record = record;
          this.#step('identity saved');
        },
        writeFirstEntry: (_record, callback) => this.#writeFirstEntry(callback),
        onFormed: record => {
          assert.equal(this.formed, null, 'formed once');
          this.formed = record;
        },
        onFatal: error => (this.fatal = error),
      },
      this.record,
    );
    this.formation.start();
  }

  crash(): void {
    this.formation?.stop();
    this.formation = null;
  }

  #writeFirstEntry(callback: () => void): void {
    const life = this.formation;
    this.#scene.time.setTimer(3, () => {
      if (life === null || this.formation !== life) return;
      this.hasFirstEntry = true;
      this.#step('first entry written');
      if (this.formation === life) callback();
    });
  }

  #step(step: Step): void {
    if (this.crashAfter !== step) return;
    this.crashAfter = null;
    this.crash();
  }
}

class Scene {
  readonly time = new VirtualTime();
  readonly founders = new Map<string, Founder>();
  drawnCount = 0;

  add(id: string, peerIds: readonly string[], incarnation?: string): Founder {
    const founder = new Founder(this, id, peerIds, incarnation);
    this.founders.set(id, founder);
    return founder;
  }

  advance(durationMs: number): void {
    for (let i = 0; i < durationMs; i++) this.time.turn(() => this.#deliver());
  }

  #deliver(): void {
    for (const founder of [...this.founders.values()]) {
      for (const call of founder.transport.calls.splice(0)) {
        const target = this.founders.get(must(call.address.split(':')[0], 'an id'));
        const request = readFormationRequest(JSON.parse(JSON.stringify(call.request)));
        assert.ok(request !== null, 'a request that can be read');
        const answer = target?.formation?.answer(request) ?? null;
        // A life that ended in the middle of an answer did not send it.
        const isAlive = target !== undefined && target.formation !== null;
        call.answer(isAlive ? answer : null);
      }
    }
  }
}

const ids = ['node1', 'node2', 'node3'];

function makeThree(): {readonly scene: Scene; readonly founders: Founder[]} {
  const scene = new Scene();
  const founders = ids.map(id =>
    scene.add(
      id,
      ids.filter(other => other !== id),
    ),
  );
  return {scene, founders};
}

function assertFormed(founders: readonly Founder[], scene: Scene): void {
  for (const founder of founders) {
    assert.equal(founder.fatal, null);
    assert.ok(founder.formed !== null, `${founder.self.id} is formed`);
    assert.ok(founder.hasFirstEntry);
    assert.deepEqual(founder.formed.members, founders[0]?.formed?.members);
    assert.equal(founder.formed.clusterId, '1'.padStart(32, '0'));
  }
  assert.equal(scene.drawnCount, 1);
}

test('nobody goes on before all have met, then all do', () => {
  const {scene, founders} = makeThree();
  founders[0]?.start();
  founders[1]?.start();
  scene.advance(1_000);
  for (const founder of founders) assert.equal(founder.record.stage, 'fresh');
  founders[2]?.start();
  scene.advance(500);
  assertFormed(founders, scene);
});

test('a single first member founds its cluster alone', () => {
  const scene = new Scene();
  const only = scene.add('node1', []);
  only.start();
  scene.advance(10);
  assertFormed([only], scene);
});

for (const step of ['identity saved', 'first entry written'] as const) {
  test(`a crash right after ${step} is continued by the next start`, () => {
    for (const position of [0, 1, 2]) {
      const {scene, founders} = makeThree();
      const victim = must(founders[position], 'a founder');
      victim.crashAfter = step;
      for (const founder of founders) founder.start();
      scene.advance(1_000);
      assert.equal(victim.formation, null, 'it crashed');
      for (const founder of founders) assert.equal(founder.formed, null, 'nobody goes on alone');
      victim.start();
      scene.advance(1_000);
      assertFormed(founders, scene);
    }
  });
}

test('a replaced directory is refused by those who were founded with the old one', () => {
  const {scene, founders} = makeThree();
  const [first, second, third] = founders;
  assert.ok(first && second && third);
  third.crashAfter = 'identity saved';
  for (const founder of founders) founder.start();
  scene.advance(1_000);
  const replaced = scene.add('node3', ['node1', 'node2'], 'feedfeedfeedfeed');
  replaced.start();
  scene.advance(1_000);
  assert.equal(replaced.record.clusterId, null);
  for (const founder of [first, second, replaced]) assert.equal(founder.formed, null);
  const answer = replaced.formation?.answer({
    type: 'found',
    clusterId: must(first.record.clusterId, 'founded'),
    members: first.record.members,
  });
  assert.equal(answer?.status, 409);
  assert.match(JSON.stringify(answer.body), /WRONG_INCARNATION.*delete their data directories/);
});

test('the lowest id does not found a second cluster while a first one is on its way', () => {
  const {scene, founders} = makeThree();
  const [first, second, third] = founders;
  assert.ok(first && second && third);
  for (const founder of founders) founder.start();
  // Until the others wrote the id down; their first entries are not durable yet.
  while (second.record.clusterId === null || third.record.clusterId === null) scene.advance(1);
  first.crash();
  const replaced = scene.add('node1', ['node2', 'node3'], 'feedfeedfeedfeed');
  replaced.start();
  scene.advance(1_000);
  assert.equal(scene.drawnCount, 1);
  assert.equal(replaced.record.clusterId, null);
});

test('other peers, another cluster and another incarnation are refused without a change', () => {
  const {founders} = makeThree();
  const [first] = founders;
  assert.ok(first);
  first.start();
  const found = (clusterId: string, members: readonly Member[]): string => {
    const answer = first.formation?.answer({type: 'found', clusterId, members});
    return JSON.stringify(answer);
  };
  const clusterId = 'a'.repeat(32);
  const members = ids.map(memberOf);
  assert.match(found(clusterId, members.slice(0, 2)), /OTHER_PEERS/);
  assert.match(found(clusterId, members.slice(1)), /WRONG_INCARNATION/);
  assert.equal(first.record.stage, 'fresh');
  assert.match(found(clusterId, members), /"status":200/);
  assert.match(found(clusterId, members), /"status":200/);
  assert.match(found('b'.repeat(32), members), /WRONG_CLUSTER/);
  assert.equal(first.record.clusterId, clusterId);
});

test('a running cluster that does not expect the newcomer ends its start', () => {
  const {scene, founders} = makeThree();
  const [first] = founders;
  assert.ok(first);
  first.start();
  const [call] = first.transport.calls.splice(0);
  call?.answer({
    status: 200,
    body: {
      ...memberOf('node2'),
      clusterId: 'c'.repeat(32),
      stage: 'member',
      ids,
      isExpected: false,
    },
  });
  assert.match(first.fatal?.message ?? '', /which does not know node1/);
  scene.advance(300);
  assert.equal(first.transport.calls.length, 0, 'it asks nobody any more');
});

test('a refusal with 409 ends the start with its reason', () => {
  const {founders} = makeThree();
  const [first] = founders;
  assert.ok(first);
  first.start();
  first.transport.calls[0]?.answer({status: 409, body: {code: 'KNOWN_ID', detail: 'use -rejoin'}});
  assert.equal(first.fatal?.message, 'use -rejoin');
});

test('a fresh node is adopted once, by its incarnation', () => {
  const {founders} = makeThree();
  const [first] = founders;
  assert.ok(first);
  first.start();
  const adopt = {type: 'adopt', clusterId: 'a'.repeat(32), members: ids.map(memberOf)} as const;
  const stranger = {...memberOf('node1'), incarnation: 'feedfeedfeedfeed'};
  assert.equal(first.formation?.answer({...adopt, members: [stranger]}).status, 409);
  assert.equal(first.formation.answer(adopt).status, 200);
  assert.equal(first.formed?.stage, 'adopted');
  assert.equal(first.record.clusterId, adopt.clusterId);
  assert.equal(first.formation.answer(adopt).status, 409);
});

test('who forms a cluster has no snapshot to send', () => {
  const {founders} = makeThree();
  founders[0]?.start();
  const answer = founders[0]?.formation?.answer({
    type: 'send-snapshot',
    clusterId: 'a'.repeat(32),
    id: 'node2',
    incarnation: 'feedfeedfeedfeed',
  });
  assert.equal(answer?.status, 503);
});

test('a peer that answers last and has other peers is named', () => {
  const scene = new Scene();
  const first = scene.add('node1', ['node2', 'node3']);
  first.start();
  scene.add('node3', ['node1', 'node2']).start();
  scene.advance(500);
  assert.deepEqual(first.warnings, []);
  scene.add('node2', ['node1']).start();
  scene.advance(500);
  assert.deepEqual(first.warnings, ['node2 was started with other -peers']);
  assert.equal(first.formed, null);
});
