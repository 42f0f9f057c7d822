/** Lines of JSON out of the pieces of a stream, wherever those were cut. */
import {ClientError} from './client-error.ts';
import {clientLimits} from './client-options.ts';
import {parseObject, type JsonObject} from './record.ts';

export class JsonLines {
  readonly #decoder = new TextDecoder('utf-8', {ignoreBOM: true});
  /** The beginning of a line whose end is still to come. */
  #held = '';

  /** The lines that `bytes` complete. Throws UNEXPECTED_ANSWER. */
  *feed(bytes: Uint8Array): Generator<JsonObject> {
    const text = this.#held + this.#decoder.decode(bytes, {stream: true});
    let start = 0;
    for (;;) {
      const end = text.indexOf('\n', start);
      if (end < 0) break;
      if (end > start) yield parseObject(text.slice(start, end));
      start = end + 1;
    }
    this.#held = text.slice(start);
    if (this.#held.length > clientLimits.lineSizeMax) {
      throw new ClientError('UNEXPECTED_ANSWER', 'a line is too long for a node of Rosetta');
    }
  }
}
