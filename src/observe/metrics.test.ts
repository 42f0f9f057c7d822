import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import type {MetricsSource} from './metrics-source.ts';
import {Metrics} from './metrics.ts';

const source: MetricsSource = {
  status: () => ({
    state: 'leader',
    term: 3,
    ready: true,
    diverged: false,
    commitIndex: 9,
    appliedIndex: 8,
    lastLogIndex: 10,
    log: {entries: 10, bytes: 1000},
    revision: 7,
    compactedRevision: 1,
    keys: 5,
    checkpointIndex: 4,
  }),
  counts: () => ({proposed: 11, applied: 12}),
  members: () => [
    {id: 'node2', matchIndex: 6},
    {id: 'node3', matchIndex: null},
  ],
  peers: () => [{id: 'node2', isConnected: true, bufferedSizeBytes: 20, droppedCount: 2}],
  walPendingSizeBytes: () => 77,
  checkpointSpace: () => ({sizeBytes: 79, usedSizeBytes: 78}),
  refusedConnectionCounts: () => ({starting: 13, 'wrong-cluster': 0}),
};

test('a scrape shows what the member knows at that moment', async () => {
  const metrics = new Metrics();
  metrics.bind(source);
  await metrics.text();
  const lines = (await metrics.text()).split('\n');
  for (const line of [
    'rosetta_is_leader 1',
    'rosetta_term 3',
    'rosetta_commit_index 9',
    'rosetta_keys 5',
    'rosetta_proposals_total 11',
    'rosetta_applied_entries_total 12',
    'rosetta_refused_connections_total{reason="starting"} 13',
    'rosetta_refused_connections_total{reason="wrong-cluster"} 0',
    'rosetta_wal_pending_bytes 77',
    'rosetta_checkpoint_file_bytes 79',
    'rosetta_checkpoint_used_bytes 78',
    'rosetta_peer_connected{peer="node2"} 1',
    'rosetta_peer_lag_entries{peer="node2"} 4',
    'rosetta_peer_dropped_messages{peer="node2"} 2',
  ]) {
    assert.ok(lines.includes(line), line);
  }
  assert.ok(!lines.some(line => line.includes('peer_lag_entries{peer="node3"}')));
});

test('events are counted and durations fall into cumulative buckets', async () => {
  const metrics = new Metrics();
  metrics.committed(5);
  metrics.electionStarted();
  metrics.fsyncSeconds(0.0001);
  metrics.fsyncSeconds(0.003);
  metrics.fsyncSeconds(60);
  metrics.requestSeconds('/kv/{key}', 'GET', 200, 0.5);
  const lines = (await metrics.text()).split('\n');
  for (const line of [
    'rosetta_committed_entries_total 5',
    'rosetta_elections_total 1',
    'rosetta_wal_fsync_seconds_bucket{le="0.0001"} 1',
    'rosetta_wal_fsync_seconds_bucket{le="0.005"} 2',
    'rosetta_wal_fsync_seconds_bucket{le="10"} 2',
    'rosetta_wal_fsync_seconds_bucket{le="+Inf"} 3',
    'rosetta_wal_fsync_seconds_count 3',
    'rosetta_http_request_seconds_bucket{route="/kv/{key}",method="GET",status="200",le="0.5"} 1',
    'rosetta_http_request_seconds_sum{route="/kv/{key}",method="GET",status="200"} 0.5',
  ]) {
    assert.ok(lines.includes(line), line);
  }
});

test('docs/metrics.md lists exactly the metrics there are', async () => {
  const text = await new Metrics().text();
  const actual = [...text.matchAll(/^# TYPE (rosetta_\w+)/gm)].map(match => match[1]);
  const document = fs.readFileSync('docs/metrics.md', 'utf8');
  const listed = [...document.matchAll(/^\| `(rosetta_\w+)`/gm)].map(match => match[1]);
  assert.deepEqual(listed.sort(), actual.sort());
});
