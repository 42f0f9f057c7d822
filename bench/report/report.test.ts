import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {detailSections} from './detail-sections.ts';
import {unknownMarks} from './documents.ts';
import {markdownTable} from './markdown-table.ts';
import {fillMarkedSections} from './marked-sections.ts';
import type {Results, ThroughputRow} from './results.ts';
import {summarySection} from './summary-table.ts';

const nothing: Results = {
  startedAt: '2030-01-02T03:04:05.678Z',
  isQuick: false,
  valueSizeBytes: 128,
  machine: {
    cpu: 'Some CPU',
    coreCount: 2,
    memoryBytes: 8e9,
    kernel: 'Linux 6',
    node: '20.20.0',
    programs: {etcd: '3.4.23', 'redis-server': null},
  },
  throughput: [],
  equalLoad: [],
  failover: [],
  restart: null,
  soak: null,
  limits: null,
  growth: [],
  micro: [],
};

function row(fields: Pick<ThroughputRow, 'store' | 'requestsPerSecond'>): ThroughputRow {
  return {
    workload: 'put',
    connectionCount: 64,
    roundCount: 3,
    requestCount: 100_000,
    errorCount: 0,
    durationSeconds: 5,
    p50Us: 1500,
    p99Us: 12_340,
    cpuSecondsPer10kRequests: null,
    rssAnonBytesPerNode: 80e6,
    ...fields,
  };
}

describe('marked sections', () => {
  const document =
    'a\n<!-- bench:one -->\nold\n<!-- /bench:one -->\nb\n<!-- bench:two -->\n<!-- /bench:two -->\n';

  test('are replaced by name, again and again', () => {
    const once = fillMarkedSections(document, new Map([['one', 'new\n']]));
    assert.match(once, /^a\n<!-- bench:one -->\nnew\n<!-- \/bench:one -->\nb\n/);
    assert.equal(fillMarkedSections(once, new Map([['one', 'new']])), once);
  });

  test('stay as they are when there is nothing for them', () => {
    assert.equal(fillMarkedSections(document, new Map([['three', 'x']])), document);
  });

  test('of the documents all have a table that fills them', () => {
    assert.deepEqual(unknownMarks(), []);
  });

  test('may hold signs that have a meaning in replacements', () => {
    const filled = fillMarkedSections(document, new Map([['two', '$& $1']]));
    assert.match(filled, /<!-- bench:two -->\n\$& \$1\n<!-- \/bench:two -->\n$/);
  });
});

describe('tables', () => {
  test('line up', () => {
    const table = markdownTable(['', 'rate'], [['put', '12,345/s']]);
    assert.equal(table, '|     |     rate |\n| --- | -------: |\n| put | 12,345/s |');
  });

  test('the summary compares what was measured of both', () => {
    const throughput = [
      row({store: 'rosetta', requestsPerSecond: 41_234}),
      row({store: 'etcd', requestsPerSecond: 8000}),
    ];
    const failover = [
      {store: 'rosetta', writerCount: 32, durationsMs: [300, 200, 400]},
      {store: 'etcd', writerCount: 32, durationsMs: [1500]},
    ] as const;
    const section = summarySection({...nothing, throughput, failover});
    assert.ok(section !== null);
    const [header = '', , put = '', killed = ''] = section.split('\n');
    assert.match(header, /etcd 3\.4\.23/);
    assert.match(put, /PUT, 64 connections +\| 41,234\/s \(12\.3 ms\) +\| +8,000\/s .*\| +5\.2 × /);
    assert.match(killed, /timeouts 150 ms and 1,000 ms .* 300 ms \| +1500 ms \| +0\.2 × \|/);
    assert.match(section, /medians of one run of full rounds, 2030-01-02/);
  });

  test('a run without a comparison has no ratio, and an empty one no summary', () => {
    const throughput = [row({store: 'rosetta', requestsPerSecond: 41_234})];
    assert.match(summarySection({...nothing, throughput}) ?? '', /\(12\.3 ms\) \| +- \| +- \|/);
    assert.equal(summarySection(nothing), null);
  });

  test('a round with refusals has a rate and no latency', () => {
    const refused = {...row({store: 'rosetta', requestsPerSecond: 41_234}), errorCount: 3};
    const results = {...nothing, throughput: [refused]};
    assert.match(summarySection(results) ?? '', /41,234\/s \(-\)/);
    const section = detailSections(results).get('throughput') ?? '';
    assert.match(section, /41,234\/s \| +- \| +- \|.* 3 \|/);
  });

  test('each part says when and where it was measured', () => {
    const micro = [{name: 'a part', operationsPerSecond: 1e6, nanoseconds: 1000}];
    assert.match(
      detailSections({...nothing, micro, isQuick: true, rounds: {count: 1, seconds: 2}}).get(
        'micro',
      ) ?? '',
      /\nMeasured 2030-01-02T03:04:05\.678Z, short rounds \(1 × 2 s\), on 2 × Some CPU, Node 20\.20\.0\.$/,
    );
  });

  test('only what was measured has a section', () => {
    assert.deepEqual([...detailSections(nothing).keys()], ['machine']);
    const micro = [{name: 'a part', operationsPerSecond: 1e6, nanoseconds: 1000}];
    assert.match(
      detailSections({...nothing, micro}).get('micro') ?? '',
      /1,000,000\/s \| 1,000 ns/,
    );
  });
});
