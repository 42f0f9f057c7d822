/**
 * Lua scripts for wrk: what it sends, and one line of JSON at the end with latencies in
 * microseconds, because the text it prints rounds them. wrk 4 corrects them before: to each that is
 * above twice the mean it adds those of the requests that its connection could not send meanwhile.
 */

/** `keyCount` 1: always the same key. `readShare` is the share of GETs, 0 to 1. */
export interface HttpWorkload {
  /** `txn`: a transaction of one compare, of the first key, and one put. */
  readonly body: 'json' | 'raw' | 'txn';
  readonly readShare: number;
  readonly order: 'random' | 'ascending';
  readonly keyCount: number;
  /** The first key of an ascending order. */
  readonly firstKey: number;
  readonly valueSizeBytes: number;
  /** Appended to the target of reads, from the question mark on. */
  readonly readQuery: string;
}

export const defaultWorkload: HttpWorkload = {
  body: 'json',
  readShare: 0,
  order: 'random',
  keyCount: 1,
  firstKey: 0,
  valueSizeBytes: 128,
  readQuery: '',
};

/** Of fixed width, so that requests differ in nothing but digits. */
export function keyName(number: number): string {
  return `key-${String(number).padStart(9, '0')}`;
}

export function wrkScript(workload: HttpWorkload): string {
  const {order, keyCount, firstKey, readShare} = workload;
  const put = putRequest(workload);
  const get = `GET /kv/@${workload.readQuery} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
  // wrk builds one request for itself before it begins, and drops it.
  const next = (firstKey - 1 + keyCount) % keyCount;
  const number = order === 'random' ? 'math.random(0, keys - 1)' : 'next; next = (next + 1) % keys';
  return `local keys, next = ${keyCount}, ${next}
local put_head, put_tail = ${luaParts(put)}
local get_head, get_tail = ${luaParts(get)}

function init(args)
  math.randomseed(tonumber(args[1]))
end

function request()
  local number = ${number}
  local key = string.format('key-%09d', number)
  if ${readShare} > 0 and math.random() < ${readShare} then
    return get_head .. key .. get_tail
  end
  return put_head .. key .. put_tail
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '${figuresMark}{"requests":%d,"durationUs":%d,"refused":%d,' ..
    '"unanswered":%d,"p50Us":%d,"p99Us":%d}\\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
`;
}

/** Begins the line of figures. */
export const figuresMark = 'figures ';

/** With `@` in place of the key. */
function putRequest({body, valueSizeBytes}: HttpWorkload): string {
  const value = 'v'.repeat(valueSizeBytes);
  const json = `{"key":"@","value":"${value}"}`;
  const compare = `{"key":"${keyName(0)}","target":"version","op":">","value":0}`;
  const contents = {
    json,
    raw: value,
    txn: `{"compare":[${compare}],"success":[{"put":${json}}]}`,
  } as const;
  const content = contents[body];
  const extra = body === 'raw' ? 0 : keyName(0).length - 1;
  const target = {json: 'PUT /kv', raw: 'PUT /kv/@', txn: 'POST /txn'}[body];
  return (
    `${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
    `Content-Length: ${content.length + extra}\r\n\r\n${content}`
  );
}

function luaParts(request: string): string {
  const [head = '', tail = ''] = request.split('@');
  return `${luaString(head)}, ${luaString(tail)}`;
}

function luaString(text: string): string {
  const escaped = text.replaceAll('\\', '\\\\').replaceAll("'", "\\'");
  return `'${escaped.replaceAll('\r', '\\r').replaceAll('\n', '\\n')}'`;
}
