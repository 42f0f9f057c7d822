/** `lease grant|keepalive|revoke|get|list`. */
import type {Bytes} from '../../client/bytes-text.ts';
import {isClientError} from '../../client/client-error.ts';
import {clientFlags, withClient} from './cluster-client.ts';
import {coloursFor} from './colours.ts';
import {keyFields} from './record-json.ts';
import {shownText} from './shown-text.ts';
import {keysText, pairsText, Table} from './tables.ts';
import {ttlRange} from './put-verb.ts';
import type {Verb, VerbInput} from './verb.ts';
import {isOn, jsonFlag, secondsOf, VerbError} from './verb.ts';

const flags = {...clientFlags, ...jsonFlag} as const;

export const leaseGrantVerb: Verb = {
  name: 'lease grant',
  operands: ['SECONDS'],
  summary: 'make a lease and print its id; keys put with -lease=ID go with it',
  flags,
  run: grant,
};

export const leaseKeepaliveVerb: Verb = {
  name: 'lease keepalive',
  operands: ['ID'],
  summary: 'give a lease its full time again, once or with -forever until Ctrl-C',
  flags: {
    forever: {kind: 'switch', value: '', help: 'again and again, until Ctrl-C'},
    ...flags,
  },
  run: keepalive,
};

export const leaseRevokeVerb: Verb = {
  name: 'lease revoke',
  operands: ['ID'],
  summary: 'end a lease and delete its keys',
  flags,
  run: revoke,
};

export const leaseGetVerb: Verb = {
  name: 'lease get',
  operands: ['ID'],
  summary: 'show the time left to a lease, and its keys',
  flags,
  run: get,
};

export const leaseListVerb: Verb = {
  name: 'lease list',
  operands: [],
  summary: 'list the leases',
  flags,
  run: list,
};

async function grant(input: VerbInput): Promise<number> {
  const [given = ''] = input.operands;
  const ttl = secondsOf(given, `SECONDS, ${JSON.stringify(given)},`, ttlRange);
  const lease = await withClient(input, client => client.lease({ttl, keepAlive: false}));
  // The id alone, for LEASE=$(./rosetta lease grant 30).
  const shown = isOn(input, 'json') ? JSON.stringify({id: lease.id, ttl: lease.ttl}) : lease.id;
  input.output.print(`${shown}\n`);
  return 0;
}

/** Keepalives within the lifetime of the lease. */
const keepalivesPerTtl = 3;
const pauseMsMax = 60 * 60_000;

async function keepalive(input: VerbInput): Promise<number> {
  const [id = ''] = input.operands;
  const isForever = isOn(input, 'forever');
  const ended = new AbortController();
  const {signal} = ended;
  if (isForever) input.onSignal(() => ended.abort());
  return withClient(input, async client => {
    try {
      do {
        const {ttl} = await client.keepLeaseAlive(id, {signal});
        const shown = isOn(input, 'json')
          ? JSON.stringify({id, ttl})
          : `lease ${id} lasts ${ttl} s again`;
        input.output.print(`${shown}\n`);
        if (isForever) await pause(Math.min((ttl * 1000) / keepalivesPerTtl, pauseMsMax), signal);
      } while (isForever && !signal.aborted);
    } catch (error) {
      if (!signal.aborted || !isClientError(error, 'ABORTED')) throw error;
    }
    return 0;
  });
}

/** Shorter when the signal fires. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, {once: true});
    if (signal.aborted) end();
  });
}

async function revoke(input: VerbInput): Promise<number> {
  const [id = ''] = input.operands;
  const {deleted, revision} = await withClient(input, client => client.revokeLease(id));
  const shown = isOn(input, 'json')
    ? JSON.stringify({deleted, revision})
    : `ended, ${keysText(deleted)} deleted, revision ${revision}`;
  input.output.print(`${shown}\n`);
  return 0;
}

async function get(input: VerbInput): Promise<number> {
  const [id = ''] = input.operands;
  const lease = await withClient(input, client => client.leaseStatus(id));
  if (lease === null) {
    const code = 'LEASE_NOT_FOUND';
    throw new VerbError(`there is no lease ${JSON.stringify(id)} (${code})`, {code});
  }
  if (isOn(input, 'json')) {
    const {keys, more, ...others} = lease;
    const fields = {...others, keys: keys.map(keyOrFields), ...(more ? {more} : {})};
    input.output.print(`${JSON.stringify(fields)}\n`);
    return 0;
  }
  const {ttl, remaining, keys, more} = lease;
  const shown = keys.map(key => (typeof key === 'string' ? JSON.stringify(key) : shownText(key)));
  const shownKeys = shown.length === 0 ? 'none' : shown.concat(more ? ['…'] : []).join(', ');
  input.output.print(
    pairsText([
      ['lease', lease.id],
      ['lasts', `${ttl} s`],
      ['left', `${remaining.toFixed(1)} s`],
      ['keys', shownKeys],
    ]),
  );
  return 0;
}

function keyOrFields(key: Bytes): unknown {
  return typeof key === 'string' ? key : keyFields(key);
}

async function list(input: VerbInput): Promise<number> {
  const {output} = input;
  const table = new Table([{title: 'LEASE'}, {title: 'SECONDS', align: 'right'}]);
  let isFirst = true;
  await withClient(input, async client => {
    for await (const leases of client.leases()) {
      if (isOn(input, 'json')) {
        output.print(leases.map(lease => `${JSON.stringify(lease)}\n`).join(''));
      } else {
        const rows = leases.map(({id, ttl}) => [id, String(ttl)]);
        table.measure(rows);
        if (isFirst && rows.length > 0) output.print(table.head(coloursFor(input).bold));
        output.print(table.rows(rows));
      }
      isFirst = false;
      await output.drained();
    }
  });
  return 0;
}
