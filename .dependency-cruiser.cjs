/**
 * The import line: base <- raft, kv <- storage <- transport <- node <- api <- server <- cli; the
 * client uses base alone. Type imports count as imports.
 */
const rooms = {
  base: [],
  raft: ['base'],
  kv: ['base'],
  storage: ['base', 'raft', 'kv'],
  transport: ['base', 'raft', 'kv', 'storage'],
  node: ['base', 'raft', 'kv', 'storage', 'transport'],
  api: ['base', 'kv', 'node'],
  observe: ['base'],
  server: ['base', 'raft', 'kv', 'storage', 'transport', 'node', 'api', 'observe'],
  client: ['base'],
  cli: ['base', 'client', 'server'],
};

const production = {path: '^src/', pathNot: '\\.test\\.ts$|/testing/'};

function only(name, modules, allowed) {
  return {
    name,
    severity: 'error',
    from: {path: '^src/', pathNot: `\\.test\\.ts$|${allowed}`},
    to: {
      path: `^(node:)?(${modules})$`,
      dependencyTypes: ['core'],
      dependencyTypesNot: ['type-only'],
    },
  };
}

module.exports = {
  forbidden: [
    ...Object.entries(rooms).map(([room, allowed]) => ({
      name: `${room}-imports`,
      comment: `src/${room} may import ${[room, ...allowed].join(', ')}`,
      severity: 'error',
      from: {path: `^src/${room}/`, pathNot: '\\.test\\.ts$|^src/cli/main\\.ts$'},
      to: {path: '^src/', pathNot: `^src/(${[room, ...allowed].join('|')})/`},
    })),
    ...Object.entries(rooms).map(([room, allowed]) => ({
      name: `${room}-tests-import`,
      comment: `tests in src/${room} may import what src/${room} may, and test/{contract,sim,${room}}`,
      severity: 'error',
      from: {path: `^src/${room}/.*\\.test\\.ts$`},
      to: {
        path: '^(src|test|bench)/',
        pathNot: `^src/(${[room, ...allowed].join('|')})/|^test/(contract|sim|${room})/`,
      },
    })),
    {
      name: 'main-starts-the-server',
      severity: 'error',
      from: {path: '^src/cli/main\\.ts$'},
      to: {path: '^src/', pathNot: '^src/(base|cli|client|observe|server)/'},
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: {path: '^src/'},
      to: {circular: true},
    },
    {
      name: 'production-never-imports-tests',
      severity: 'error',
      from: production,
      to: {path: '^(test|bench|tools)/|\\.test\\.ts$'},
    },
    {
      name: 'the-core-does-no-io',
      severity: 'error',
      from: {path: '^src/(raft|kv)/', pathNot: '\\.test\\.ts$'},
      to: {dependencyTypes: ['core', 'npm', 'npm-dev'], pathNot: '^(node:)?(buffer|util|zlib)$'},
    },
    only('files', 'fs|fs/promises', '^src/(storage|server|cli)/'),
    only(
      'sockets',
      'net|http|https|tls|dgram|dns',
      '^src/(base/listeners|transport/|api/|cli/|client/|server/|storage/data-directory|storage/directory-lock)',
    ),
    only(
      'threads',
      'worker_threads|child_process|cluster',
      '^src/(storage/|cli/launched-node|cli/verbs/lock-verb)',
    ),
    only('timers', 'timers|timers/promises', '^src/server/'),
    {
      name: 'no-unresolvable',
      severity: 'error',
      from: {},
      to: {couldNotResolve: true},
    },
    {
      name: 'no-development-packages',
      severity: 'error',
      from: production,
      to: {dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only']},
    },
  ],
  options: {
    doNotFollow: {path: 'node_modules'},
    tsPreCompilationDeps: true,
    tsConfig: {fileName: 'tsconfig.json'},
    enhancedResolveOptions: {extensions: ['.ts', '.mjs', '.js']},
  },
};
