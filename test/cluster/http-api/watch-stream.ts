/** One answer of GET /watch as it comes, in either form. */
import {request, type IncomingHttpHeaders} from 'node:http';

export class WatchStream {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  #text = '';
  #onChange: () => void = () => undefined;
  readonly #close: () => void;

  private constructor(status: number, headers: IncomingHttpHeaders, close: () => void) {
    this.status = status;
    this.headers = headers;
    this.#close = close;
  }

  /** `query`: with its question mark. */
  static open(
    endpoint: string,
    query: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<WatchStream> {
    const [host = '', port = ''] = endpoint.split(':');
    return new Promise((resolve, reject) => {
      const call = request({host, port, path: `/watch${query}`, headers, agent: false});
      call.on('error', reject);
      call.on('response', response => {
        const stream = new WatchStream(response.statusCode ?? 0, response.headers, () => {
          call.destroy();
        });
        response.setEncoding('utf8');
        response.on('error', () => undefined);
        response.on('data', (chunk: string) => {
          stream.#text += chunk;
          stream.#onChange();
        });
        resolve(stream);
      });
      call.end();
    });
  }

  /** All that has come, when it matches. */
  until(pattern: RegExp): Promise<string> {
    return new Promise(resolve => {
      this.#onChange = () => {
        if (pattern.test(this.#text)) resolve(this.#text);
      };
      this.#onChange();
    });
  }

  close(): void {
    this.#close();
  }
}

export const jsonLines = {Accept: 'application/x-ndjson'};
