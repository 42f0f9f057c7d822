/**
 * A service that takes its settings from the store and reloads them when somebody changes one. Run:
 * `node dist/examples/config-service.js [endpoints]`, and change keys under `config/web/`.
 */
import {connect, isClientError, type Client} from 'rosetta/client';

const prefix = 'config/web/';

type Settings = Readonly<Record<string, string>>;

/** All settings, and all of them again after each change; a transaction is one change. */
async function* follow(store: Client, signal: AbortSignal): AsyncGenerator<Settings> {
  for (;;) {
    const {records, revision} = await store.list({prefix}, {signal}).all();
    const current = new Map(records.map(({key, value}) => [nameOf(key), value]));
    yield Object.fromEntries(current);
    try {
      // From the revision after the reading on: no change falls between the two.
      for await (const event of store.watch({prefix}, {from: revision + 1, signal})) {
        if (event.type === 'put') current.set(nameOf(event.key), event.record.value);
        else current.delete(nameOf(event.key));
        if (event.isLast) yield Object.fromEntries(current);
      }
    } catch (error) {
      // Away for so long that the changes since then are compacted: read everything again.
      if (!isClientError(error, 'REVISION_COMPACTED')) throw error;
    }
  }
}

function nameOf(key: string): string {
  return key.slice(prefix.length);
}

const [endpoints = 'localhost:9080,localhost:9081,localhost:9082'] = process.argv.slice(2);
const store = connect({endpoints});
const stop = new AbortController();
process.once('SIGINT', () => stop.abort());

try {
  for await (const settings of follow(store, stop.signal)) {
    console.log(`runs with ${JSON.stringify(settings)}`);
  }
} catch (error) {
  if (!isClientError(error, 'ABORTED')) throw error;
}
await store.close();
