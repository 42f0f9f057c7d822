import tseslint from 'typescript-eslint';

/** Few rules, all errors. A disabled line carries a sentence that says why. */
export default tseslint.config(
  {ignores: ['dist/', '.build/', 'node_modules/', 'rosetta-data/']},
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {parserOptions: {project: './tsconfig.json'}},
    linterOptions: {reportUnusedDisableDirectives: 'error'},
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        {considerDefaultExhaustiveForUnions: true},
      ],
      // Numbers in messages are the point of an assertion.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        {allowNumber: true, allowBoolean: true},
      ],
      // A narrowing cast after a length check is the only way to read a typed array element.
      '@typescript-eslint/no-unnecessary-type-assertion': 'error',
      '@typescript-eslint/no-confusing-void-expression': ['error', {ignoreArrowShorthand: true}],
      'max-lines': ['error', {max: 600, skipBlankLines: false, skipComments: false}],
      'max-lines-per-function': ['error', {max: 70, skipComments: true, skipBlankLines: true}],
      complexity: ['error', 25],
      eqeqeq: 'error',
      'no-console': 'error',
      'prefer-const': 'error',
    },
  },
  {
    // Determinism is a rule of the architecture: no clock, no randomness, no I/O in the core.
    files: ['src/raft/**/*.ts', 'src/kv/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...['Date', 'performance', 'setTimeout', 'setInterval', 'setImmediate', 'process'].map(
          name => ({name, message: 'The core knows no clock and no I/O.'}),
        ),
        {name: 'queueMicrotask', message: 'The core is synchronous.'},
        {name: 'Promise', message: 'The core is synchronous.'},
      ],
      'no-restricted-properties': [
        'error',
        {object: 'Math', property: 'random', message: 'Take a Prng.'},
      ],
      'no-restricted-syntax': [
        'error',
        {selector: ':function[async=true]', message: 'The core is synchronous.'},
      ],
    },
  },
  {
    // The shell takes time from a Clock, so that the simulator can replace it.
    files: ['src/storage/**/*.ts', 'src/node/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...['Date', 'performance', 'setTimeout', 'setInterval', 'setImmediate'].map(name => ({
          name,
          message: 'Take a Clock.',
        })),
      ],
      'no-restricted-properties': [
        'error',
        {object: 'Math', property: 'random', message: 'Take a Prng.'},
      ],
    },
  },
  {
    // An example tells what it does.
    files: ['examples/**/*.ts'],
    rules: {'no-console': 'off'},
  },
  {
    files: ['**/*.test.ts', 'test/**/*.ts', 'bench/**/*.ts'],
    rules: {
      // node:test returns promises that the runner itself awaits.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            {
              from: 'package',
              name: [
                'test',
                'it',
                'describe',
                'suite',
                'before',
                'after',
                'beforeEach',
                'afterEach',
              ],
              package: 'node:test',
            },
          ],
        },
      ],
      // A suite is one long function of short tests.
      'max-lines-per-function': 'off',
    },
  },
);
