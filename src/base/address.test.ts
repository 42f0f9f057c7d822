import assert from 'node:assert/strict';
import {test} from 'node:test';
import {dialHost, formatAddress, listenHosts, parseAddress} from './address.ts';

test('addresses are read in all their forms, and written back', () => {
  const cases: readonly [string, string, number][] = [
    ['localhost:8080', 'localhost', 8080],
    [':9080', '', 9080],
    ['[::1]:8081', '::1', 8081],
    ['10.0.0.1:0', '10.0.0.1', 0],
    ['node-1.example.com:65535', 'node-1.example.com', 65_535],
  ];
  for (const [text, host, port] of cases) {
    assert.deepEqual(parseAddress(text), {host, port});
    assert.equal(formatAddress({host, port}), text);
  }
});

test('what is no address is null', () => {
  const bad = [
    '',
    'localhost',
    '8080',
    'a:b',
    'a:-1',
    'a:65536',
    '::1:80',
    '[::1]',
    'a b:1',
    '[]:1',
  ];
  for (const text of [...bad, 'http://a:1', 'a:1/', 'a:1\r\nx: y', 'a:123456', 'ä:1']) {
    assert.equal(parseAddress(text), null, text);
  }
});

test('localhost is both loopbacks, and no host is every interface', () => {
  assert.deepEqual(listenHosts('localhost'), ['127.0.0.1', '::1']);
  assert.deepEqual(listenHosts(''), [undefined]);
  assert.deepEqual(listenHosts('10.1.2.3'), ['10.1.2.3']);
  assert.equal(dialHost(''), 'localhost');
});
