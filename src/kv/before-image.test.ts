/** That an event carries what it replaced, whatever its command has looked at before. */
import {deepEqual, equal} from 'node:assert/strict';
import {test} from 'node:test';
import type {TestContext} from 'node:test';
import {
  bytes,
  compare,
  del,
  deleteRange,
  encode,
  get,
  put,
  range,
  text,
  transaction,
} from '../../test/contract/commands.ts';
import {FakeRows} from '../../test/contract/fake-rows.ts';
import {setLimits} from '../../test/sim/small-limits.ts';
import type {CommandBody, Transaction} from './command.ts';
import {KvStateMachine} from './state-machine.ts';

const keys = ['a', 'b', 'c'];

/** Every event before the newest is far; `a`, `b` and `c` exist at revision 2, `absent` does not. */
function filled(t: TestContext): {
  readonly machine: KvStateMachine;
  readonly apply: (body: CommandBody) => void;
} {
  t.after(setLimits({nearRevisionCount: 0}));
  const machine = new KvStateMachine(new FakeRows());
  let index = 0;
  const apply = (body: CommandBody): void => {
    machine.apply({index: ++index, proposedAtMs: 0, data: encode(body)});
  };
  apply(transaction({success: keys.map(key => put(key, `old ${key}`))}));
  return {machine, apply};
}

function oldValues(machine: KvStateMachine): readonly (string | null)[] {
  return keys.map(key => {
    const record = machine.get(bytes(key), 2);
    return record === null ? null : text(record.value);
  });
}

const exists = (key: string): Transaction['compare'][number] =>
  compare(key, '>', {type: 'version', value: 0});
const isAbsent = (key: string): Transaction['compare'][number] =>
  compare(key, '=', {type: 'version', value: 0});

const commands: Readonly<Record<string, Transaction>> = {
  'a put alone': transaction({success: [put('a', 'new')]}),
  'a put of the key that was compared': transaction({
    compare: [exists('a')],
    success: [put('a', 'new')],
  }),
  'a put of a key that was compared before one that is absent': transaction({
    compare: [exists('a'), isAbsent('absent')],
    success: [put('a', 'new')],
  }),
  'a put of a key that was compared before another': transaction({
    compare: [exists('a'), exists('b')],
    success: [put('a', 'new'), put('b', 'new')],
  }),
  'puts behind gets': transaction({
    success: [get('absent'), get('c'), put('a', 'new'), get('b'), put('c', 'new')],
  }),
  'a put that answers with what was there': transaction({
    success: [put('b', 'new', {wantsPrevious: true}), put('a', 'new', {wantsPrevious: true})],
  }),
  'a put that keeps the value': transaction({success: [put('b', '', {ignoreValue: true})]}),
  'a put with a lifetime': transaction({success: [put('b', 'new', {ttlMs: 60_000})]}),
  deletes: transaction({success: [del('c'), del('absent'), del('a', true)]}),
  'a delete of all': transaction({success: [deleteRange(range('', null))]}),
};

for (const [name, command] of Object.entries(commands)) {
  test(`${name}: what was there can be read when the events before are pruned`, t => {
    const {machine, apply} = filled(t);
    apply(command);
    equal(machine.revision(), 3);
    apply({type: 'compact', revision: 2});
    while (machine.scrub(100));
    equal(machine.event(2, 0), null, 'pruned');
    deepEqual(oldValues(machine), ['old a', 'old b', 'old c']);
    for (let sub = 0; ; sub++) {
      const event = machine.event(3, sub);
      if (event === null) break;
      const key = new Uint8Array(event.key);
      const {previousRevision, previousSub} = event;
      const before = machine.recordBefore(key, {revision: 3, sub, previousRevision, previousSub});
      equal(before === null ? null : text(before.value), `old ${text(key)}`);
    }
  });
}
