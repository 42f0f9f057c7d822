import assert from 'node:assert/strict';
import {test} from 'node:test';
import {AnswerReader, MalformedAnswer} from './answer-reader.ts';

interface Reading {
  status: number;
  header: string | null;
  body: string;
  /** Null: the answer has not ended. */
  isReusable: boolean | null;
}

function read(pieces: readonly Buffer[], options: {readonly isEnd?: boolean} = {}): Reading {
  const reading: Reading = {status: 0, header: null, body: '', isReusable: null};
  const reader = new AnswerReader({
    onHead: head => {
      reading.status = head.status;
      reading.header = head.header('x-test');
    },
    onBody: bytes => (reading.body += bytes.toString('latin1')),
    onEnd: isReusable => {
      assert.equal(reading.isReusable, null, 'an answer ends once');
      reading.isReusable = isReusable;
    },
  });
  reader.expect();
  for (const piece of pieces) reader.feed(piece);
  if (options.isEnd === true) reader.finish();
  return reading;
}

const answers: readonly (readonly [text: string, expected: Reading])[] = [
  [
    'HTTP/1.1 200 OK\r\nX-Test:  a b \r\nContent-Length: 5\r\n\r\nhello',
    {status: 200, header: 'a b', body: 'hello', isReusable: true},
  ],
  [
    'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nConnection: keep-alive, Close\r\n\r\n',
    {status: 404, header: null, body: '', isReusable: false},
  ],
  [
    'HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n',
    {status: 304, header: null, body: '', isReusable: true},
  ],
  [
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nx-test: 1\r\n\r\n',
    {status: 204, header: '1', body: '', isReusable: true},
  ],
  [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' +
      '5\r\nhello\r\n1;x=y\r\n \r\n0A\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n',
    {status: 200, header: null, body: 'hello 0123456789', isReusable: true},
  ],
  [
    'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
    {status: 200, header: null, body: 'ok', isReusable: false},
  ],
];

test('an answer reads the same wherever it is cut in two, and byte by byte', () => {
  for (const [text, expected] of answers) {
    const bytes = Buffer.from(text, 'latin1');
    assert.deepEqual(read([bytes]), expected);
    assert.deepEqual(read([...bytes].map(byte => Buffer.of(byte))), expected);
    for (let at = 1; at < bytes.length; at++) {
      assert.deepEqual(read([bytes.subarray(0, at), bytes.subarray(at)]), expected, `cut at ${at}`);
    }
  }
});

test('an answer that is cut short does not end', () => {
  for (const [text] of answers) {
    const bytes = Buffer.from(text, 'latin1');
    for (let size = 0; size < bytes.length; size++) {
      assert.equal(
        read([bytes.subarray(0, size)], {isEnd: true}).isReusable,
        null,
        `${size} bytes`,
      );
    }
  }
});

test('an answer without a length ends with its connection', () => {
  const text = 'HTTP/1.1 200 OK\r\n\r\nall of it';
  assert.equal(read([Buffer.from(text)]).isReusable, null);
  const reading = read([Buffer.from(text)], {isEnd: true});
  assert.deepEqual([reading.body, reading.isReusable], ['all of it', false]);
});

test('what could be read in two ways is refused', () => {
  for (const text of [
    'HTTP/2 200\r\n\r\n',
    'SSH-2.0-OpenSSH\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more',
    `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}`,
  ]) {
    assert.throws(() => read([Buffer.from(text)]), MalformedAnswer, text.slice(0, 60));
  }
});
