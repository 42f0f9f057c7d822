/**
 * Many writes in little time: pipelined PUTs on many connections. Counts answers and fails on any
 * that is not 200.
 */
import {connect} from 'node:net';

/** A node works on the requests of one connection in turn, so the writes at once are this many. */
const connectionCount = 64;
/** Sent ahead, so that no request waits for the network. */
const window = 4;

/** Writes `count` keys `<prefix><n>` through the node at `port`. */
export async function writeMany(port: number, prefix: string, count: number): Promise<void> {
  const share = Math.ceil(count / connectionCount);
  const writers = Array.from({length: Math.ceil(count / share)}, (_, i) => {
    const from = i * share;
    return writeRange(port, prefix, {from, end: Math.min(count, from + share)});
  });
  await Promise.all(writers);
}

function writeRange(
  port: number,
  prefix: string,
  range: {readonly from: number; readonly end: number},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({port, host: '127.0.0.1', noDelay: true});
    let sent = range.from;
    let answered = range.from;
    let rest = '';
    const send = (): void => {
      let text = '';
      while (sent < range.end && sent - answered < window) text += put(`${prefix}${sent++}`);
      if (text !== '') socket.write(text);
    };
    socket.setEncoding('latin1');
    socket.on('connect', send);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed after ${answered - range.from} answers`)));
    socket.on('data', (chunk: string) => {
      rest += chunk;
      for (let end = endOfAnswer(rest); end > 0; end = endOfAnswer(rest)) {
        if (!rest.startsWith('HTTP/1.1 200 ')) {
          socket.destroy(new Error(`a write was answered ${rest.slice(0, 400)}`));
          return;
        }
        rest = rest.slice(end);
        answered++;
      }
      if (answered < range.end) {
        send();
        return;
      }
      socket.removeAllListeners('close');
      socket.end();
      resolve();
    });
  });
}

/** Where the answer at the beginning of `text` ends; 0: some of it is still to come. */
function endOfAnswer(text: string): number {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd < 0) return 0;
  const length = /content-length: *(\d+)/i.exec(text.slice(0, headEnd));
  const end = headEnd + 4 + Number(length?.[1] ?? 0);
  return text.length < end ? 0 : end;
}

function put(key: string): string {
  const value = `value of ${key}`;
  return `PUT /kv/${key} HTTP/1.1\r\nHost: x\r\nContent-Length: ${value.length}\r\n\r\n${value}`;
}
