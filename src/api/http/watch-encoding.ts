/**
 * Events as text: server-sent events, and lines of JSON. Only the last event of a revision carries
 * the id by which a browser resumes, so a revision that arrived in part is told again as a whole.
 */
import {Buffer} from 'node:buffer';
import type {RosettaError} from '../../base/errors.ts';
import type {WatchEvent} from '../../node/watch-event.ts';
import type {WatchRun} from '../../node/watch-run.ts';
import {chunkOf} from './chunked-coding.ts';
import {keyFields, recordJson} from './record-json.ts';

export interface WatchFormat {
  readonly contentType: string;
  /** Differs from that of the other format; the eight forms of a run are numbered from it. */
  readonly firstForm: number;
  event(event: WatchEvent, form: {readonly hasPrevious: boolean; readonly isLast: boolean}): string;
  /** Sent at once. */
  beginning(revision: number): string;
  progress(revision: number): string;
  end(error: RosettaError, resumeFrom: number): string;
}

export const serverSentEvents: WatchFormat = {
  contentType: 'text/event-stream',
  firstForm: 0,
  event: (event, {hasPrevious, isLast}) => {
    const name = event.record === null ? 'delete' : 'put';
    const id = isLast ? `id: ${event.revision}\n` : '';
    return `event: ${name}\ndata: {${fields(event, hasPrevious)}}\n${id}\n`;
  },
  beginning: revision => `retry: 1000\nid: ${revision}\n\n`,
  // Without data it is no event, but it moves the id on.
  progress: revision => `id: ${revision}\n\n`,
  end: (error, resumeFrom) => `event: end\ndata: {${endFields(error, resumeFrom)}}\n\n`,
};

export const jsonLines: WatchFormat = {
  contentType: 'application/x-ndjson',
  firstForm: 8,
  event: (event, {hasPrevious, isLast}) => {
    const name = event.record === null ? 'delete' : 'put';
    const more = isLast ? '' : ',"more":true';
    const content = fields(event, hasPrevious);
    return `{"type":"${name}","revision":${event.revision},${content}${more}}\n`;
  },
  beginning: revision => `{"type":"progress","revision":${revision}}\n`,
  progress: revision => `{"type":"progress","revision":${revision}}\n`,
  end: (error, resumeFrom) => `{"type":"end",${endFields(error, resumeFrom)}}\n`,
};

/** As it is sent. All watchers of one format share the bytes. */
export function encodedRun(
  format: WatchFormat,
  run: WatchRun,
  {hasPrevious, isChunked}: {readonly hasPrevious: boolean; readonly isChunked: boolean},
): Uint8Array {
  const number =
    format.firstForm + (isChunked ? 4 : 0) + (hasPrevious ? 2 : 0) + (run.isLast ? 1 : 0);
  return run.encoded(number, ({events, isLast}) => {
    const last = events.length - 1;
    const lines = events.map((event, i) =>
      format.event(event, {hasPrevious, isLast: isLast && i === last}),
    );
    const content = lines.join('');
    return isChunked ? chunkOf(content) : Buffer.from(content);
  });
}

function fields(event: WatchEvent, hasPrevious: boolean): string {
  const {record, previous, revision, key} = event;
  const content =
    record === null
      ? `${keyFields(key)},"modRevision":${revision}`
      : recordJson(record, {keysOnly: false}).slice(1, -1);
  if (!hasPrevious) return content;
  const before = previous === null ? 'null' : recordJson(previous, {keysOnly: false});
  return `${content},"prev":${before}`;
}

function endFields({code, message}: RosettaError, resumeFrom: number): string {
  return `"code":"${code}","detail":${JSON.stringify(message)},"revision":${resumeFrom}`;
}
