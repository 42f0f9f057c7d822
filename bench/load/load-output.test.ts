import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {putRequestFrame, rangeRequestFrame} from './etcd-messages.ts';
import {parseH2loadOutput} from './h2load-output.ts';
import {median, percentile} from './load-figures.ts';
import {parseRedisBenchmarkOutput} from './redis-benchmark-output.ts';
import {parseWrkOutput} from './wrk-output.ts';
import {defaultWorkload, keyName, wrkScript} from './wrk-script.ts';

const h2loadOutput = `starting benchmark...
Application protocol: h2c

finished in 2.00s, 6667.00 req/s, 605.79KB/s
requests: 13334 total, 13342 started, 13334 done, 13330 succeeded, 4 failed, 0 errored, 0 timeout
status codes: 13330 2xx, 0 3xx, 4 4xx, 0 5xx
traffic: 1.18MB (1240658) total, 26.14KB (26764) headers (space savings 94.72%), 416.56KB (426562) data
                     min         max         mean         sd        +/- sd
time for request:      214us     24.87ms      1.15ms      1.11ms    92.83%
`;

describe('what load generators print', () => {
  test('wrk: the line of the script is read, the rest is not', () => {
    const output =
      'Running 2s test @ http://127.0.0.1:9080/\n  1 threads and 64 connections\n' +
      'figures {"requests":50010,"durationUs":2000000,"refused":10,"unanswered":3,"p50Us":1200,"p99Us":4100}\n';
    assert.deepEqual(parseWrkOutput(output), {
      requestCount: 50_000,
      errorCount: 13,
      durationSeconds: 2,
      requestsPerSecond: 25_000,
      p50Us: 1200,
      p99Us: 4100,
    });
    assert.throws(() => parseWrkOutput('unable to connect'), /no figures: unable to connect/);
  });

  test('h2load: counts come from its text, percentiles from its log', () => {
    const log = '1795396519695627\t200\t1000\n1795396519695511\t200\t3000\n1795\t200\t2000\n';
    const figures = parseH2loadOutput(h2loadOutput, log);
    assert.equal(figures.requestCount, 13_330);
    assert.equal(figures.errorCount, 4);
    assert.equal(figures.durationSeconds, 2);
    assert.equal(figures.requestsPerSecond, 6667);
    assert.equal(figures.p50Us, 2000);
    assert.equal(figures.p99Us, 3000);
    assert.equal(Math.round(figures.dataSizeBytesPerAnswer), 32);
    assert.throws(() => parseH2loadOutput('connect failed', ''), /no figures/);
  });

  test('h2load: a time in milliseconds is understood', () => {
    const output = h2loadOutput.replace('finished in 2.00s', 'finished in 940.50ms');
    assert.equal(parseH2loadOutput(output, '').durationSeconds, 0.9405);
  });

  test('redis-benchmark: columns are found by name', () => {
    const output =
      '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms",' +
      '"p99_latency_ms","max_latency_ms"\n"SET","25000.00","1.1","0.3","1.071","1.8","2.239","9.1"\n';
    const figures = parseRedisBenchmarkOutput(output, 50_000);
    assert.equal(figures.requestsPerSecond, 25_000);
    assert.equal(figures.durationSeconds, 2);
    assert.equal(figures.p50Us, 1071);
    assert.equal(figures.p99Us, 2239);
    assert.throws(() => parseRedisBenchmarkOutput('Could not connect', 1), /no figures/);
  });
});

describe('what load generators are given', () => {
  test('a body of JSON has the length its header says, whatever the key', () => {
    const script = wrkScript({...defaultWorkload, valueSizeBytes: 16});
    const [, length] = /Content-Length: (\d+)/.exec(script) ?? [];
    const body = JSON.stringify({key: keyName(123), value: 'v'.repeat(16)});
    assert.equal(Number(length), body.length);
  });

  test('a raw body is the value alone, and the key stands in the target', () => {
    const script = wrkScript({...defaultWorkload, body: 'raw', valueSizeBytes: 16});
    assert.match(script, /'PUT \/kv\/', ' HTTP\/1\.1/);
    assert.match(script, /Content-Length: 16\\r\\n\\r\\nv{16}'/);
  });

  test('a transaction compares one key and puts another, in as many bytes as it says', () => {
    const script = wrkScript({...defaultWorkload, body: 'txn', valueSizeBytes: 16});
    const [, request = ''] = /put_tail = '(.*)'\n/.exec(script) ?? [];
    const [head = '', body = ''] = request.replace("', '", keyName(7)).split('\\r\\n\\r\\n');
    assert.match(head, /^POST \/txn HTTP\/1\.1/);
    assert.equal(Number(/Content-Length: (\d+)/.exec(head)?.[1]), body.length);
    assert.deepEqual(JSON.parse(body), {
      compare: [{key: keyName(0), target: 'version', op: '>', value: 0}],
      success: [{put: {key: keyName(7), value: 'v'.repeat(16)}}],
    });
  });

  test('a put of etcd is one frame around key and value', () => {
    const frame = putRequestFrame('k', 'v'.repeat(128));
    assert.equal(frame.readUInt8(0), 0);
    assert.equal(frame.readUInt32BE(1), frame.length - 5);
    const message = frame.subarray(5);
    assert.deepEqual([...message.subarray(0, 6)], [0x0a, 1, 0x6b, 0x12, 0x80, 0x01]);
    assert.equal(message.length, 6 + 128);
  });

  test('a range of etcd says when a stale answer will do', () => {
    assert.deepEqual([...rangeRequestFrame('k', false)], [0, 0, 0, 0, 3, 0x0a, 1, 0x6b]);
    assert.deepEqual([...rangeRequestFrame('k', true).subarray(-2)], [0x38, 1]);
  });
});

test('the median lies in the middle, a percentile is one of the values', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(percentile([5, 1, 3], 0.5), 3);
  assert.equal(percentile([1, 2, 3, 4], 0.99), 4);
  assert.equal(percentile([7], 0), 7);
  assert.ok(Number.isNaN(percentile([], 0.5)));
});
