/**
 * Rows of docs/http-api.md that running nodes cannot show in a moment: hours, full disks, slow and
 * dying clients. Each names the tests that hold it, by file and title.
 */
export interface HeldElsewhere {
  readonly section: string;
  /** The beginning of the row; of the table of errors, the code. */
  readonly row: string;
  readonly tests: readonly (readonly [file: string, title: string])[];
}

const http = 'src/api/http';
const hostile = `${http}/http-hostile.test.ts`;
const snapshot = `${http}/http-snapshot.test.ts`;
const room = `${http}/answer-room.test.ts`;
const watch = `${http}/watch.test.ts`;
const hub = 'src/node/watch-hub.test.ts';
const membership = 'test/node/cluster-membership.test.ts';
const tooSlow: HeldElsewhere['tests'] = [
  [watch, 'whoever reads slowly holds up nobody, and is ended with the revision to resume from'],
  [hub, 'one that takes nothing for too long is ended; so is one that stays behind'],
];

const rows: Readonly<Record<string, Readonly<Record<string, HeldElsewhere['tests']>>>> = {
  'The HTTP API': {
    'Routes, parameters and codes of this page': [
      [
        `${http}/http-routes.test.ts`,
        'docs/http-api.md lists the codes, routes and parameters of the code, no more and no fewer',
      ],
      [`${http}/openapi.test.ts`, 'what the server answers is what the document says'],
    ],
  },
  Conventions: {
    'Idempotency-Key (1 to 128 characters': [
      [
        'src/kv/state-machine.test.ts',
        'an idempotency key gets the first answer again, after a restart too',
      ],
      ['src/kv/state-machine.test.ts', 'a refusal for the moment is not kept'],
    ],
    'Keys are kept for at least ten minutes': [
      ['src/node/log-clock.test.ts', 'limits.idempotencyAgeMs'],
      ['src/kv/state-machine.test.ts', 'a table full of young answers refuses keyed commands only'],
      [
        'test/node/wall-clocks.test.ts',
        'an idempotency key outlives a wall clock that jumps an hour ahead',
      ],
    ],
    'A session without a write for an hour ends': [
      ['src/kv/session-table.test.ts', 'an unknown, a closed and an expired session run nothing'],
      ['src/kv/session-table.test.ts', 'a session that is used lives on, and its queue with it'],
    ],
  },
  Watches: {
    'id: without data moves the id on': [
      [hub, 'a quiet watch hears how far it is, within fifteen seconds'],
    ],
    'The end. A last event': [
      ...tooSlow,
      [watch, 'a node that stops ends its watches with the revision to resume from'],
      [hub, 'when what is wanted is removed before it is told, the watch ends and says so'],
      [hub, 'a node that no longer serves ends its watches'],
    ],
    'Its revision is the value for from.': tooSlow,
    'A watcher that reads slowly slows nobody else': tooSlow,
    '10,000 watches a node.': [[hub, 'there is a limit to how many may watch']],
  },
  Backups: {
    'The node copies its checkpoint first': [
      [snapshot, 'a client that reads nothing has no more than a few pieces made for it'],
    ],
    'An answer that was cut off': [
      [snapshot, 'a backup that breaks off cuts the connection, so that nobody takes it for whole'],
      [
        'test/cluster/backup.test.ts',
        'a backup that is cut or damaged is refused and leaves nothing behind',
      ],
    ],
  },
  Members: {
    'Once it has come, has caught up': [
      [membership, 'a newcomer asks any member, becomes a learner, then a voter'],
    ],
    'DELETE removes a voter or a learner': [
      [membership, 'a removed member is told and stops; its directory never comes back'],
      [
        'test/cluster/membership.test.ts',
        'a cluster grows from 1 to 3 to 5 and shrinks back under load',
      ],
    ],
    'The leader can be removed': [[membership, 'the leader can remove itself']],
    'Changes are made one at a time': [
      [membership, 'a second change waits for the first, and is refused when that takes too long'],
    ],
    'All refusals come before anything is logged.': [
      [membership, 'refusals name their reason, and nothing is logged'],
    ],
  },
  Leases: {
    'POST /lease {"ttl":30} makes a lease for up to 100,000 keys': [
      [
        'src/kv/lease-table.test.ts',
        'a lease has so many keys and no more, however they are attached',
      ],
    ],
    'POST /lease/{id}/keepalive gives it its full time anew': [
      [
        'src/node/lease-expirer.test.ts',
        'a keepalive counts only with a quorum, and never against a revocation under way',
      ],
    ],
    'When it ends is in [guarantees.md]': [
      ['test/node/leases.test.ts', 'a key with a lifetime goes on time, whoever was asked'],
      ['test/node/leases.test.ts', 'a new leader gives the full time again, and ends it then'],
      ['test/node/leases.test.ts', 'without a majority nothing ends'],
    ],
  },
  Errors: {
    'READ_TIMEOUT: a leader took the read': [
      [
        'src/node/read-table.test.ts',
        'a read that a leader confirmed, and that comes too late, is told so',
      ],
    ],
  },
  Limits: {
    'Request line and headers 8 KiB and 64 headers (431)': [
      [hostile, 'headers and bodies that are sent too slowly are 408'],
      [hostile, 'a silent connection is closed'],
      [`${http}/plain-lane.test.ts`, 'a client that reads slowly is not taken for a silent one'],
      [
        hostile,
        'a connection beyond the most there may be is closed, and one that ends makes room',
      ],
      [hostile, 'the servers of localhost share the connections there may be'],
    ],
    'While 64 of them wait': [
      [
        hostile,
        'a connection with many requests behind one is read no further until they are done',
      ],
    ],
    'A body above its maximum is refused by its Content-Length': [
      [hostile, 'the answer to a body that is too large reaches a client that sends it all'],
    ],
    'One connection may occupy 16 MiB': [
      [
        `${http}/buffer-budget.test.ts`,
        'a connection holds up to its maximum, and again what it gave back',
      ],
      [`${http}/buffer-budget.test.ts`, 'all connections together hold up to the total'],
      [hostile, 'pipelined requests for large answers are worked on one after the other'],
      [room, 'what clients do not read is bounded: large reads are refused, small ones are not'],
    ],
    'The answer of a write that has happened is sent': [
      [room, 'a write is answered when no memory is left, and what may answer much is not done'],
      [
        `${http}/buffer-budget.test.ts`,
        'an answer of a write counts whatever others hold, unless its own connection hoards',
      ],
    ],
    'What watches wait to send is not in it': tooSlow,
  },
};

const codes: Readonly<Record<string, HeldElsewhere['tests']>> = {
  REQUEST_TIMEOUT: [[hostile, 'headers and bodies that are sent too slowly are 408']],
  WRONG_NODE: [[membership, 'refusals name their reason, and nothing is logged']],
  CHANGE_PENDING: [
    [membership, 'a second change waits for the first, and is refused when that takes too long'],
  ],
  QUORUM_AT_RISK: [[membership, 'a removal that would leave no quorum is refused']],
  MEMBER_UNREACHABLE: [[membership, 'leadership moves to whom it is asked to']],
  WATCH_TOO_SLOW: tooSlow,
  BACKUP_FAILED: [
    [
      'src/node/backups.test.ts',
      'a backup that fails at any step says why, and makes room for the next one',
    ],
  ],
  INTERNAL: [[`${http}/http-keys.test.ts`, 'errors of the node keep their code and their promise']],
  TRANSFER_FAILED: [
    [
      'test/node/cluster-transfer.test.ts',
      'a member that dies as it is asked to lead fails the transfer, and nothing else',
    ],
  ],
  READ_TIMEOUT: [
    [`${http}/http-ranges.test.ts`, 'a range that cannot be read in time says so'],
    [
      'src/node/proposer.test.ts',
      'a question that was lost changed nothing; a keepalive may have counted',
    ],
  ],
  STOPPING: [
    [watch, 'a node that stops ends its watches with the revision to resume from'],
    [
      'test/node/cluster-faults.test.ts',
      'a stopped member refuses new requests with a definite error',
    ],
  ],
  DIVERGED: [
    [
      'test/cluster/recovery.test.ts',
      'a replica that differs is found, serves nothing, says so, and still after a restart',
    ],
  ],
  STORAGE_FULL: [
    [
      'test/cluster/disk-full.test.ts',
      'a single node on a full disk refuses writes, serves reads, and resumes when there is space',
    ],
  ],
};

export const rowsHeldElsewhere: readonly HeldElsewhere[] = Object.entries(rows).flatMap(
  ([section, held]) => Object.entries(held).map(([row, tests]) => ({section, row, tests})),
);

/** Of codes: the file also names the code. */
export const codesHeldElsewhere: readonly HeldElsewhere[] = Object.entries(codes).map(
  ([row, tests]) => ({section: 'Errors', row, tests}),
);
