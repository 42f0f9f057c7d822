/** The expirer alone, with a raft, a quorum and a log that the test plays. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {bytes, encode, put, transaction} from '../../test/contract/commands.ts';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {LifeClock, VirtualTime} from '../../test/node/virtual-time.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import {RosettaError} from '../base/errors.ts';
import {limits} from '../base/limits.ts';
import {decodeCommand} from '../kv/command-codec.ts';
import type {CommandBody} from '../kv/command.ts';
import type {CommandResult} from '../kv/result.ts';
import {KvStateMachine} from '../kv/state-machine.ts';
import {term} from '../raft/ids.ts';
import {DeadlineWheel} from './deadline-wheel.ts';
import {LeaseExpirer} from './lease-expirer.ts';
import type {ProposeCallback, ReadCallback} from './service.ts';

class Scene {
  readonly time = new VirtualTime();
  readonly machine = new KvStateMachine(new FakeRows());
  readonly raft: {role: 'leader' | 'follower'; term: ReturnType<typeof term>} = {
    role: 'leader',
    term: term(1),
  };
  readonly proposed: {readonly command: Uint8Array; readonly callback: ProposeCallback}[] = [];
  readonly confirms: ReadCallback[] = [];
  /** A quorum answers at once. */
  hasQuorum = true;
  /** What is proposed is applied at once. */
  applies = true;
  #index = 0;
  readonly expirer = new LeaseExpirer({
    raft: this.raft,
    machine: this.machine,
    clock: new LifeClock(this.time),
    confirm: (_timeoutMs, callback) => {
      this.confirms.push(callback);
    },
    propose: (command, _timeoutMs, callback) => {
      this.proposed.push({command, callback});
    },
  });

  apply(data: Uint8Array): CommandResult {
    return this.machine.apply({index: ++this.#index, proposedAtMs: 1, data});
  }

  run(body: CommandBody): CommandResult {
    return this.apply(encode(body));
  }

  advance(durationMs: number): void {
    for (let i = 0; i < durationMs; i += 10) {
      for (let n = 0; n < 10; n++) this.time.turn(() => undefined);
      this.expirer.tick();
      if (this.hasQuorum)
        for (const confirm of this.confirms.splice(0)) confirm(null, this.machine);
      if (!this.applies) continue;
      for (const {command, callback} of this.proposed.splice(0)) {
        callback(null, this.apply(command));
      }
    }
  }

  ask(id: number, isKeepalive: boolean): string {
    let answer = 'none';
    this.expirer.answer(encode({type: 'lease-query', id, isKeepalive}), 1_000, (error, result) => {
      answer = error?.code ?? (result?.type === 'lease' ? 'ok' : 'refused');
    });
    if (this.hasQuorum) for (const confirm of this.confirms.splice(0)) confirm(null, this.machine);
    return answer;
  }

  has(key: string): boolean {
    return this.machine.get(bytes(key), 0) !== null;
  }
}

function withLease(ttlMs: number): Scene {
  const scene = new Scene();
  scene.advance(100);
  scene.run({type: 'lease-grant', id: 7, ttlMs});
  scene.run(transaction({success: [put('a', '', {leaseId: 7})]}));
  return scene;
}

/** Leases that are all due, the first two batches under way and not applied. */
function withDue(count: number): Scene {
  const scene = new Scene();
  scene.advance(100);
  for (let i = 1; i <= count; i++) scene.run({type: 'lease-grant', id: i, ttlMs: 1_000});
  scene.applies = false;
  scene.advance(3_000);
  assert.equal(scene.proposed.length, 2);
  return scene;
}

test('nothing is revoked before its time, nor without a quorum afterwards', () => {
  const scene = withLease(1_000);
  scene.advance(1_000);
  assert.ok(scene.has('a'));
  scene.hasQuorum = false;
  scene.advance(5_000);
  assert.equal(scene.proposed.length, 0);
  assert.ok(scene.has('a'));
  scene.hasQuorum = true;
  scene.advance(20);
  assert.ok(!scene.has('a'));
});

test('a quorum that comes when another leads decides nothing', () => {
  const scene = withLease(1_000);
  scene.hasQuorum = false;
  scene.advance(2_000);
  scene.raft.term = term(2);
  for (const confirm of scene.confirms.splice(0)) confirm(null, scene.machine);
  assert.equal(scene.proposed.length, 0);
  // In the new term it has its full time again.
  scene.hasQuorum = true;
  scene.advance(900);
  assert.ok(scene.has('a'));
  scene.advance(1_000);
  assert.ok(!scene.has('a'));
});

test('a keepalive that was confirmed in an earlier term is asked again', () => {
  const scene = withLease(1_000);
  scene.hasQuorum = false;
  let code = 'none';
  const query = encode({type: 'lease-query', id: 7, isKeepalive: true});
  scene.expirer.answer(query, 1_000, error => (code = error?.code ?? 'ok'));
  // A revocation of the earlier term may still be committed, and it knows nothing of this.
  scene.raft.term = term(3);
  for (const confirm of scene.confirms.splice(0)) confirm(null, scene.machine);
  assert.equal(code, 'NO_LEADER');
});

test('a keepalive counts only with a quorum, and never against a revocation under way', () => {
  const scene = withLease(1_000);
  scene.hasQuorum = false;
  assert.equal(scene.ask(7, true), 'none');
  scene.confirms.length = 0;
  scene.hasQuorum = true;
  scene.applies = false;
  scene.advance(2_000);
  assert.equal(scene.proposed.length, 1);
  assert.equal(scene.ask(7, true), 'refused');
  const [revocation] = scene.proposed.splice(0);
  assert.ok(revocation !== undefined);
  // It may still commit: the lease stays refused.
  revocation.callback(new RosettaError('OUTCOME_UNKNOWN', 'late'), null);
  scene.advance(1_000);
  assert.equal(scene.ask(7, true), 'refused');
  assert.equal(scene.proposed.length, 0);
  scene.apply(revocation.command);
  assert.ok(!scene.has('a'));
});

test('a revocation that was refused is tried again', () => {
  const scene = withLease(1_000);
  scene.applies = false;
  scene.advance(2_000);
  const [revocation] = scene.proposed.splice(0);
  revocation?.callback(new RosettaError('OVERLOADED', 'full'), null);
  assert.equal(scene.ask(7, false), 'ok');
  scene.applies = true;
  scene.advance(300);
  assert.ok(!scene.has('a'));
});

test('a keepalive that comes between the decision and the quorum saves the lease', () => {
  const scene = withLease(1_000);
  scene.hasQuorum = false;
  scene.advance(2_000);
  const decision = scene.confirms.splice(0);
  scene.hasQuorum = true;
  assert.equal(scene.ask(7, true), 'ok');
  for (const confirm of decision) confirm(null, scene.machine);
  assert.equal(scene.proposed.length, 0);
  scene.advance(1_000);
  assert.ok(scene.has('a'));
  scene.advance(1_000);
  assert.ok(!scene.has('a'));
});

test('many go in batches, no more than two of them under way', () => {
  const scene = withDue(5 * limits.leaseRevokeCountMax + 10);
  for (const {command} of scene.proposed) {
    const {body} = decodeCommand(command);
    assert.equal(body.type === 'lease-revoke' && body.leases.length, limits.leaseRevokeCountMax);
  }
  scene.applies = true;
  scene.advance(200);
  assert.equal(scene.machine.leases.count, 0);
});

test('when a batch has ended the next one goes, with neither a tick nor a quorum in between', () => {
  const count = 5 * limits.leaseRevokeCountMax + 10;
  const scene = withDue(count);
  scene.confirms.length = 0;
  for (let left = count; left > 0; left -= limits.leaseRevokeCountMax) {
    assert.equal(scene.machine.leases.count, left);
    const batch = scene.proposed.shift();
    assert.ok(batch !== undefined, `${left} are left`);
    batch.callback(null, scene.apply(batch.command));
  }
  assert.equal(scene.machine.leases.count, 0);
  assert.deepEqual([scene.proposed.length, scene.confirms.length], [0, 0]);
});

test('a batch that ends when another leads is the last one', () => {
  const scene = withDue(3 * limits.leaseRevokeCountMax);
  const [first, second] = scene.proposed.splice(0);
  scene.raft.role = 'follower';
  first?.callback(null, scene.apply(first.command));
  assert.equal(scene.proposed.length, 0);
  scene.raft.role = 'leader';
  scene.raft.term = term(3);
  second?.callback(null, scene.apply(second.command));
  assert.equal(scene.proposed.length, 0);
  // The new leadership gives its time again to what is left.
  scene.applies = true;
  scene.advance(900);
  assert.equal(scene.machine.leases.count, limits.leaseRevokeCountMax);
  scene.advance(2_000);
  assert.equal(scene.machine.leases.count, 0);
});

test('of two batches one is refused: it waits a moment, with all that is left, and none is lost', () => {
  const scene = withDue(7 * limits.leaseRevokeCountMax);
  const [first, second] = scene.proposed.splice(0);
  first?.callback(new RosettaError('OVERLOADED', 'full'), null);
  second?.callback(null, scene.apply(second.command));
  assert.equal(scene.proposed.length, 0);
  scene.advance(50);
  assert.equal(scene.proposed.length, 0);
  scene.applies = true;
  scene.advance(300);
  assert.equal(scene.machine.leases.count, 0);
});

test('what is due only since the quorum was asked waits for another one', () => {
  const scene = withLease(1_000);
  scene.advance(500);
  scene.run({type: 'lease-grant', id: 8, ttlMs: 1_000});
  scene.hasQuorum = false;
  scene.advance(3_000);
  const [asked] = scene.confirms.splice(0);
  asked?.(null, scene.machine);
  const [first] = scene.proposed.splice(0);
  const {body} = decodeCommand(first?.command ?? bytes(''));
  assert.deepEqual(body.type === 'lease-revoke' && body.leases.map(({id}) => id), [7]);
  first?.callback(null, scene.apply(first.command));
  assert.equal(scene.proposed.length, 0);
  scene.hasQuorum = true;
  scene.advance(20);
  assert.equal(scene.machine.leases.count, 0);
});

test('leases with many keys go in smaller batches, and one passed over goes later', t => {
  t.after(setLimits({leaseRevokeKeyCountTarget: 5, leaseKeyCountMax: 6}));
  const scene = new Scene();
  scene.advance(100);
  const attach = (id: number, count: number, prefix: string): void => {
    const names = Array.from({length: count}, (_, i) => `${prefix}${i}`);
    scene.run(transaction({success: names.map(name => put(name, '', {leaseId: id}))}));
  };
  for (const [id, count] of [2, 3, 1, 6, 3].entries()) {
    scene.run({type: 'lease-grant', id: id + 1, ttlMs: 1_000});
    attach(id + 1, count, `${id}-`);
  }
  scene.applies = false;
  scene.advance(3_000);
  const batches = scene.proposed.map(({command}) => {
    const {body} = decodeCommand(command);
    return body.type === 'lease-revoke' ? body.leases.map(({id}) => id) : [];
  });
  assert.deepEqual(batches, [[1, 2], [3]]);
  // Meanwhile one of a batch gets so many that the two are too many for one revision.
  attach(2, 3, 'more');
  scene.applies = true;
  scene.advance(20);
  assert.equal(scene.machine.leases.get(1), null);
  assert.equal(scene.machine.leases.get(2)?.keyCount, 6);
  scene.advance(200);
  assert.equal(scene.machine.leases.count, 0);
  assert.equal(scene.machine.keyCount(), 0);
});

test('one passed over goes later also when nobody was told in time', t => {
  t.after(setLimits({leaseKeyCountMax: 3}));
  const scene = new Scene();
  scene.advance(100);
  for (const id of [1, 2]) {
    scene.run({type: 'lease-grant', id, ttlMs: 1_000});
    scene.run(transaction({success: [put(`${id}-a`, '', {leaseId: id})]}));
  }
  scene.applies = false;
  scene.advance(3_000);
  const [late] = scene.proposed.splice(0);
  assert.ok(late);
  late.callback(new RosettaError('OUTCOME_UNKNOWN', 'the disk is slow'), null);
  for (const name of ['2-b', '2-c']) {
    scene.run(transaction({success: [put(name, '', {leaseId: 2})]}));
  }
  scene.apply(late.command);
  assert.equal(scene.machine.leases.get(1), null);
  assert.equal(scene.machine.leases.get(2)?.keyCount, 3);
  scene.applies = true;
  scene.advance(300);
  assert.equal(scene.machine.leases.count, 0);
});

test('a key that is put with a lifetime again and again is timed once', t => {
  const {mock: added} = t.mock.method(DeadlineWheel.prototype, 'add');
  const {mock: removed} = t.mock.method(DeadlineWheel.prototype, 'remove');
  const scene = new Scene();
  scene.advance(100);
  for (let i = 0; i < 100; i++) {
    scene.run(transaction({success: [put('a', '', {ttlMs: 86_400_000})]}));
  }
  assert.equal(added.callCount() - removed.callCount(), 1);
  scene.run({type: 'lease-grant', id: 7, ttlMs: 86_400_000});
  scene.run({type: 'lease-revoke', leases: [{id: 7, grant: 0}]});
  assert.equal(added.callCount() - removed.callCount(), 1);
});

test('a node that follows measures nothing; when it leads it takes up what there is', () => {
  const scene = new Scene();
  scene.raft.role = 'follower';
  for (let i = 1; i <= 5_000; i++) scene.run({type: 'lease-grant', id: i, ttlMs: 500});
  scene.advance(5_000);
  assert.equal(scene.machine.leases.count, 5_000);
  scene.raft.role = 'leader';
  scene.advance(500);
  assert.equal(scene.machine.leases.count, 5_000);
  scene.advance(1_000);
  assert.equal(scene.machine.leases.count, 0);
});
