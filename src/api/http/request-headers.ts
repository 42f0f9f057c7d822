/**
 * The few request headers this front door looks at, gathered in one pass over the raw list. The
 * parsed `request.headers` is avoided: it costs an object per request and hides duplicates, and a
 * duplicated condition or Host must be refused rather than resolved by luck.
 */
import {RosettaError, type ErrorCode} from '../../base/errors.ts';
import {limits} from '../../base/limits.ts';

/** Undefined: the header is absent. */
interface ReadHeaders {
  host: string | undefined;
  origin: string | undefined;
  accept: string | undefined;
  ifMatch: string | undefined;
  ifNoneMatch: string | undefined;
  idempotencyKey: string | undefined;
  idempotencyAcknowledged: string | undefined;
  lastEventId: string | undefined;
  secFetchSite: string | undefined;
  requestedMethod: string | undefined;
  /** Bytes; undefined for a body of unannounced length, or none. */
  contentLength: number | undefined;
  isChunked: boolean;
}

export type RequestHeaders = Readonly<ReadHeaders>;

/** The header lines of a request; several requests of a connection may share one. */
export class RequestHead {
  /** Name, value, … */
  readonly rawHeaders: readonly string[];
  readonly #mustHaveHost: boolean;
  #headers: RequestHeaders | null = null;

  constructor(rawHeaders: readonly string[], mustHaveHost: boolean) {
    this.rawHeaders = rawHeaders;
    this.#mustHaveHost = mustHaveHost;
  }

  /** Read when they are first asked for. Throws as `readRequestHeaders` does, every time. */
  get headers(): RequestHeaders {
    this.#headers ??= readRequestHeaders(this.rawHeaders, {mustHaveHost: this.#mustHaveHost});
    return this.#headers;
  }
}

/** Throws INVALID_HOST, INVALID_PARAMETER or HEADERS_TOO_LARGE. `rawHeaders`: name, value, … */
export function readRequestHeaders(
  rawHeaders: readonly string[],
  version: {readonly mustHaveHost: boolean},
): RequestHeaders {
  if (rawHeaders.length > 2 * limits.httpHeaderCountMax) {
    throw new RosettaError(
      'HEADERS_TOO_LARGE',
      `a request has at most ${limits.httpHeaderCountMax} headers`,
    );
  }
  const headers: ReadHeaders = {
    host: undefined,
    origin: undefined,
    accept: undefined,
    ifMatch: undefined,
    ifNoneMatch: undefined,
    idempotencyKey: undefined,
    idempotencyAcknowledged: undefined,
    lastEventId: undefined,
    secFetchSite: undefined,
    requestedMethod: undefined,
    contentLength: undefined,
    isChunked: false,
  };
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    keepHeader(headers, rawHeaders[i] as string, rawHeaders[i + 1] as string);
  }
  if (headers.host === undefined && version.mustHaveHost) {
    throw new RosettaError('INVALID_HOST', 'the request has no Host header');
  }
  return headers;
}

/** Of headers that are refused: how much of a body may follow. Throws nothing. */
export function readBodyHeaders(
  rawHeaders: readonly string[],
): Pick<RequestHeaders, 'contentLength' | 'isChunked'> {
  let contentLength = 0;
  let isChunked = false;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (isNamed(name, 'content-length')) contentLength = Number(rawHeaders[i + 1]);
    else if (isNamed(name, 'transfer-encoding')) isChunked = true;
  }
  return {contentLength, isChunked};
}

const acknowledgedName = 'idempotency-acknowledged';

/** Names are told apart by length first, so that most headers cost one comparison. */
function keepHeader(headers: ReadHeaders, name: string, value: string): void {
  switch (name.length) {
    case 4:
      if (isNamed(name, 'host')) headers.host = once('Host', headers.host, value, 'INVALID_HOST');
      return;
    case 6:
      if (isNamed(name, 'accept')) {
        headers.accept = headers.accept === undefined ? value : `${headers.accept}, ${value}`;
      } else if (isNamed(name, 'origin')) {
        headers.origin = once('Origin', headers.origin, value);
      }
      return;
    case 8:
      if (isNamed(name, 'if-match')) headers.ifMatch = once('If-Match', headers.ifMatch, value);
      return;
    case 13:
      if (isNamed(name, 'if-none-match')) {
        headers.ifNoneMatch = once('If-None-Match', headers.ifNoneMatch, value);
      } else if (isNamed(name, 'last-event-id')) {
        headers.lastEventId = once('Last-Event-ID', headers.lastEventId, value);
      }
      return;
    case 14:
      // The parser has refused everything but one run of digits.
      if (isNamed(name, 'content-length')) headers.contentLength = Number(value);
      else if (isNamed(name, 'sec-fetch-site')) headers.secFetchSite = value;
      return;
    case 15:
      if (isNamed(name, 'idempotency-key')) {
        headers.idempotencyKey = once('Idempotency-Key', headers.idempotencyKey, value);
      }
      return;
    case 17:
      if (isNamed(name, 'transfer-encoding')) {
        if (headers.isChunked || /,\s*chunked$/i.test(value)) throw moreThanChunked();
        headers.isChunked = true;
      }
      return;
    case 24:
      if (isNamed(name, acknowledgedName)) {
        const earlier = headers.idempotencyAcknowledged;
        headers.idempotencyAcknowledged = once('Idempotency-Acknowledged', earlier, value);
      }
      return;
    case 29:
      if (isNamed(name, 'access-control-request-method')) headers.requestedMethod = value;
      return;
    default:
  }
}

/**
 * The parser undoes chunks only: what else was done to the body would be stored as the value. It
 * refuses by itself a body whose last coding is not chunked.
 */
function moreThanChunked(): RosettaError {
  return new RosettaError('INVALID_PARAMETER', 'Transfer-Encoding can only be chunked');
}

/** Whether `name`, of the characters that header names have, is `lowerCase` in any case. */
export function isNamed(name: string, lowerCase: string): boolean {
  if (name.length !== lowerCase.length) return false;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    const lower = code >= 0x41 && code <= 0x5a ? code | 0x20 : code;
    if (lower !== lowerCase.charCodeAt(i)) return false;
  }
  return true;
}

function once(
  name: string,
  earlier: string | undefined,
  value: string,
  code: ErrorCode = 'INVALID_PARAMETER',
): string {
  if (earlier !== undefined) throw new RosettaError(code, `the header ${name} is given twice`);
  return value;
}
