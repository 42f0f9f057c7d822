/**
 * GET /watch: changes as they happen, for as long as the client stays. Answered from this node's
 * own state, whoever leads.
 */
import {must} from '../../base/assert.ts';
import {emptyBytes, keySuccessor} from '../../base/bytes.ts';
import type {RosettaError} from '../../base/errors.ts';
import type {KeyRange} from '../../kv/command.ts';
import type {WatchRun} from '../../node/watch-run.ts';
import type {Watch, WatchSink} from '../../node/watch-service.ts';
import {prefersType} from './accept.ts';
import type {Exchange} from './exchange.ts';
import {checkKey} from './json-fields.ts';
import type {RouteOperation} from './route-operation.ts';
import {
  bytesParameter,
  flagParameter,
  integerParameter,
  parameterSet,
  type Parameter,
} from './parameter.ts';
import {
  consistencyParameter,
  invalidParameter,
  timeoutParameter,
  type QueryParameters,
} from './query-parameters.ts';
import {keyRange, keyRangeParameters} from './range-request.ts';
import {encodedRun, jsonLines, serverSentEvents, type WatchFormat} from './watch-encoding.ts';
import type {AnswerStream} from './wire.ts';

const revisionMax = Number.MAX_SAFE_INTEGER - 1;
const fromParameter = integerParameter('from', 'The first revision to tell of, inclusive', {
  minimum: 0,
  maximum: revisionMax,
});
const watchParameters = parameterSet(
  bytesParameter('key', 'This key; not together with prefix, start or end'),
  ...keyRangeParameters,
  fromParameter,
  flagParameter('prev', 'Events carry the record before the change'),
  timeoutParameter,
  consistencyParameter,
);
const lastEventIdHeader: Parameter = {
  name: 'Last-Event-ID',
  description: 'Goes on behind this revision; wins over from',
  schema: {type: 'string', pattern: '^[0-9]{0,16}$'},
};
const everything: KeyRange = {start: emptyBytes, end: null};

export const watch: RouteOperation = {
  id: 'watch',
  summary: 'Tells every change of a key or a range, in order, for as long as the client stays',
  handle: handleWatch,
  parameters: watchParameters,
  headers: [lastEventIdHeader],
  answers: [
    {
      status: 200,
      description: 'Events; a last one, end, says why and from where to go on (WATCH_TOO_SLOW, …)',
      headers: ['Rosetta-Revision'],
      content: {[serverSentEvents.contentType]: null, [jsonLines.contentType]: null},
    },
  ],
  errors: ['KEY_EMPTY', 'KEY_TOO_LONG', 'REVISION_COMPACTED'],
};

function handleWatch(exchange: Exchange): void {
  const parameters = exchange.parameters(watchParameters);
  // Valid as everywhere, and without effect: a watch waits for nobody.
  parameters.timeoutMs();
  parameters.consistency();
  const request = {
    range: watchedRange(parameters),
    from: firstRevision(exchange, parameters),
    wantsPrevious: parameters.flag('prev') ?? false,
  };
  const isLines = prefersType(exchange.headers.accept, 'application/x-ndjson', 'text/event-stream');
  const format = isLines ? jsonLines : serverSentEvents;
  if (exchange.isGone) return;
  const sink = new WatchStream(format, request.wantsPrevious);
  const opened = exchange.context.watches.open(request, sink);
  if (exchange.method === 'HEAD') {
    opened.close();
    exchange.sendEmpty(200, opened.revision, ['Content-Type', format.contentType]);
  } else {
    sink.begin(exchange, opened);
  }
}

function watchedRange(parameters: QueryParameters): KeyRange {
  const key = parameters.bytes('key');
  const range = keyRange(parameters);
  if (key === undefined) return range ?? everything;
  if (range !== null) throw invalidParameter('key', 'cannot be combined with prefix, start or end');
  checkKey(key);
  return {start: key, end: keySuccessor(key)};
}

/** 0: what comes next. A browser that resumes knows better than its address did. */
function firstRevision(exchange: Exchange, parameters: QueryParameters): number {
  const from = parameters.integer(fromParameter);
  const {lastEventId} = exchange.headers;
  if (lastEventId === undefined || lastEventId === '') {
    return from === undefined ? 0 : Math.max(1, from);
  }
  const last = /^[0-9]{1,16}$/.test(lastEventId) ? Number(lastEventId) : NaN;
  if (!(last < revisionMax)) {
    throw invalidParameter('Last-Event-ID', 'must be the revision that came last');
  }
  return last + 1;
}

/** Writes a watch to its client. */
class WatchStream implements WatchSink {
  readonly #format: WatchFormat;
  readonly #hasPrevious: boolean;
  #stream: AnswerStream | null = null;
  /** The socket takes no more before it has drained. */
  #isFull = false;

  constructor(format: WatchFormat, hasPrevious: boolean) {
    this.#format = format;
    this.#hasPrevious = hasPrevious;
  }

  begin(exchange: Exchange, watch: Watch): void {
    const format = this.#format;
    this.#stream = exchange.stream(format.contentType, watch.revision, [], {
      onDrain: () => {
        this.#isFull = false;
        watch.resume();
      },
      onClose: () => watch.close(),
    });
    this.#took(this.#stream.write(format.beginning(watch.from - 1)));
  }

  onRun(run: WatchRun): void {
    const stream = this.#begun();
    const {isChunked} = stream;
    const piece = encodedRun(this.#format, run, {hasPrevious: this.#hasPrevious, isChunked});
    this.#took(stream.gather(piece));
  }

  flush(): void {
    this.#took(this.#begun().flush());
  }

  onProgress(revision: number): void {
    this.#took(this.#begun().write(this.#format.progress(revision)));
  }

  onEnd(error: RosettaError, resumeFrom: number): void {
    const stream = this.#begun();
    stream.write(this.#format.end(error, resumeFrom));
    stream.end();
  }

  isFull(): boolean {
    return this.#isFull;
  }

  #begun(): AnswerStream {
    return must(this.#stream, 'nothing is told before the stream began');
  }

  #took(hasRoom: boolean): void {
    if (!hasRoom) this.#isFull = true;
  }
}
