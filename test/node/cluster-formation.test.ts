import assert from 'node:assert/strict';
import {test} from 'node:test';
import {TestCluster, isServing, peerOf} from './test-cluster.ts';
import {TestMember} from './test-member.ts';

const three = ['node1', 'node2', 'node3'] as const;

/** From a start on empty directories until all serve takes less than this without faults. */
const firstStartMs = 700;

function clusterIds(cluster: TestCluster): Set<string | null> {
  return new Set(cluster.members.map(member => member.record.clusterId));
}

test('a crash of any member at any moment of the first start leaves one cluster', () => {
  for (const id of three) {
    for (let afterMs = 3; afterMs < firstStartMs; afterMs += 19) {
      const cluster = new TestCluster({ids: three, seed: afterMs});
      for (const member of cluster.members) member.start();
      cluster.advance(afterMs);
      cluster.member(id).crash();
      cluster.advance(50);
      cluster.startAll();
      assert.equal(clusterIds(cluster).size, 1, `${id} after ${afterMs} ms`);
      cluster.write(cluster.member(id), 'key', 'value');
    }
  }
});

test('a crash of all members at any moment of the first start leaves one cluster', () => {
  for (let afterMs = 3; afterMs < firstStartMs; afterMs += 19) {
    const cluster = new TestCluster({ids: three, seed: afterMs});
    for (const member of cluster.members) member.start();
    cluster.advance(afterMs);
    for (const member of cluster.members) member.crash();
    cluster.startAll();
    assert.equal(clusterIds(cluster).size, 1, `after ${afterMs} ms`);
    cluster.write(cluster.leader(), 'key', 'value');
  }
});

test('a first member that is away for good after all have met is not waited for', () => {
  for (let afterMs = 3; afterMs < firstStartMs; afterMs += 19) {
    const cluster = new TestCluster({ids: three, seed: afterMs});
    for (const member of cluster.members) member.start();
    cluster.advance(afterMs);
    const [a, b, c] = cluster.members;
    assert.ok(a && b && c);
    const haveMet = cluster.members.some(member => member.record.stage === 'member');
    c.crash();
    a.crash();
    a.start();
    if (!haveMet) continue;
    cluster.until(() => isServing(a) && isServing(b), 'two of three serve');
    cluster.write(a, 'key', 'value');
  }
});

test('a directory that is replaced during the first start never makes a second cluster', () => {
  for (const id of three) {
    for (let afterMs = 3; afterMs < firstStartMs; afterMs += 13) {
      const cluster = new TestCluster({ids: three, seed: afterMs});
      for (const member of cluster.members) member.start();
      cluster.advance(afterMs);
      const victim = cluster.member(id);
      victim.crash();
      victim.loseDirectory();
      victim.start();
      cluster.advance(2_000);
      const others = cluster.members.filter(member => member !== victim);
      const ids = new Set(others.map(member => member.record.clusterId));
      // Either all met after the replacement, or the new directory is in no cluster.
      const {clusterId} = victim.record;
      assert.ok(clusterId === null || ids.has(clusterId), `${id} after ${afterMs} ms`);
      if (!victim.isRunning) assert.match(victim.fatal?.message ?? '', /-rejoin|another data/);
      assert.equal(ids.size, 1);
    }
  }
});

test('members that were started with other peers say so and form nothing', () => {
  const cluster = new TestCluster({ids: three});
  const [a, b, c] = cluster.members;
  assert.ok(a && b && c);
  c.peers = [peerOf('node1')];
  for (const member of cluster.members) member.start();
  cluster.advance(2_000);
  for (const member of cluster.members) assert.equal(member.record.stage, 'fresh');
  assert.equal(a.node.notReady()?.code, 'STARTING');
});

test('a peer that answers under another name stops the member that named it', () => {
  const cluster = new TestCluster({ids: three});
  const [a, b] = cluster.members;
  assert.ok(a && b);
  a.peers = [{id: 'node3', address: 'node2:1'}];
  a.start();
  b.start();
  cluster.until(() => !a.isRunning, 'it stops');
  assert.match(a.fatal?.message ?? '', /node3, but node2 answers there/);
});

test('an empty directory under a known id is refused and told what to do', () => {
  const cluster = new TestCluster({ids: three});
  cluster.startAll();
  cluster.write(cluster.leader(), 'key', 'value');
  const victim = cluster.follower();
  victim.crash();
  victim.loseDirectory();
  victim.start();
  cluster.until(() => !victim.isRunning, 'it stops');
  assert.match(victim.fatal?.message ?? '', /-rejoin/);
  assert.equal(victim.record.clusterId, null);
  cluster.write(cluster.leader(), 'key', 'next');
});

function isRefusedAsOlder(cluster: TestCluster, victim: TestMember): void {
  victim.start();
  cluster.until(() => !victim.isRunning, 'it stops');
  assert.match(victim.fatal?.message ?? '', /restored from a backup/);
}

/** A cluster, and a follower of it that has started so often since its directory was copied. */
function withCopy(startCount: number): {
  readonly cluster: TestCluster;
  readonly victim: TestMember;
} {
  const cluster = new TestCluster({ids: three});
  cluster.startAll();
  const victim = cluster.follower();
  victim.crash();
  const copy = victim.copyDirectory();
  for (let i = 0; i < startCount; i++) {
    victim.start();
    cluster.until(() => isServing(victim), 'it serves');
    victim.crash();
  }
  victim.restoreDirectory(copy);
  return {cluster, victim};
}

for (const startCount of [1, 3]) {
  test(`a directory that went back by ${startCount} starts is refused however often it starts`, () => {
    const {cluster, victim} = withCopy(startCount);
    isRefusedAsOlder(cluster, victim);
    // With enough starts what the others saw would be too long ago to tell.
    for (let i = 0; i < 200; i++) assert.throws(() => victim.start(), /restored from a backup/);
  });
}

test('a directory that went back is refused after starts that nobody saw', () => {
  const {cluster, victim} = withCopy(2);
  const others = cluster.members.filter(member => member !== victim);
  for (const member of others) member.crash();
  for (let i = 0; i < 5; i++) {
    victim.start();
    cluster.advance(20);
    victim.crash();
  }
  for (const member of others) member.start();
  isRefusedAsOlder(cluster, victim);
});

function startOne(seed = 1): TestCluster {
  const cluster = new TestCluster({ids: three, seed});
  const one = cluster.member('node1');
  one.peers = [];
  one.start();
  cluster.until(() => isServing(one), 'one serves');
  for (let i = 0; i < 20; i++) cluster.write(one, `key${i}`, `${i}`);
  return cluster;
}

test('a single member grows to three when it is started with peers', () => {
  const cluster = startOne();
  const one = cluster.member('node1');
  one.crash();
  one.peers = [peerOf('node2'), peerOf('node3')];
  cluster.startAll();
  cluster.until(() => {
    const voters = one.node.members().filter(member => member.role === 'voter');
    return voters.length === 3;
  }, 'three voters');
  cluster.settle();
  assert.equal(cluster.read(cluster.member('node3'), 'key19'), '19');
  one.crash();
  cluster.write(cluster.member('node2'), 'key', 'without the first');
  one.start();
  cluster.settle();
});

test('growth continues after a crash of any member at any moment', () => {
  for (const id of three) {
    for (let afterMs = 5; afterMs < 900; afterMs += 53) {
      const cluster = startOne(afterMs);
      const one = cluster.member('node1');
      one.crash();
      one.peers = [peerOf('node2'), peerOf('node3')];
      for (const member of cluster.members) member.start();
      cluster.advance(afterMs);
      cluster.member(id).crash();
      cluster.advance(30);
      cluster.startAll();
      cluster.until(() => {
        const members = cluster.leader().node.members();
        return members.filter(member => member.role === 'voter').length === 3;
      }, 'three voters');
      cluster.settle();
      assert.equal(cluster.read(cluster.member(id), 'key7'), '7');
    }
  }
});

test('a member of one cluster that meets another says so', () => {
  const cluster = startOne();
  const stranger = new TestMember('node2', [], cluster);
  stranger.start();
  cluster.until(() => isServing(stranger), 'a cluster of its own');
  const newcomer = cluster.member('node3');
  newcomer.peers = [peerOf('node1'), peerOf('node2')];
  newcomer.start();
  cluster.until(() => !newcomer.isRunning, 'it stops');
  assert.match(newcomer.fatal?.message ?? '', /which does not know node3/);
});
