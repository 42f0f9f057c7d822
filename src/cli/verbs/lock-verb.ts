/** `lock NAME -- COMMAND…`: runs a command while a lock is held. */
import {spawn} from 'node:child_process';
import type {ChildProcess} from 'node:child_process';
import {isClientError} from '../../client/client-error.ts';
import type {Client} from '../../client/client.ts';
import type {Lock} from '../../client/lock.ts';
import {clientFlags, withClient} from './cluster-client.ts';
import {ttlRange} from './put-verb.ts';
import {exitCodeOf} from './signal-exit.ts';
import type {StopSignal, Verb, VerbInput} from './verb.ts';
import {secondsFlag, text, VerbError} from './verb.ts';

export const lockVerb: Verb = {
  name: 'lock',
  operands: ['NAME', '-- COMMAND…'],
  summary: 'run a command while holding a lock; its exit code is the exit code',
  flags: {
    ttl: text('SECONDS', 'after so long without a sign of life others get it (10)'),
    wait: text('SECONDS', 'give up when it is not free by then'),
    ...clientFlags,
    timeout: text('SECONDS', 'give up when the nodes do not answer for so long (10); see -wait'),
  },
  run: lockAndRun,
};

const ttlSecondsDefault = 10;
const releaseTimeoutMs = 2_000;
/** Whoever waits for longer is told so. */
const patienceMs = 500;

async function lockAndRun(input: VerbInput): Promise<number> {
  const [name = '', command = '', ...words] = input.operands;
  const ttl = secondsFlag(input, 'ttl', ttlRange) ?? ttlSecondsDefault;
  const wait = secondsFlag(input, 'wait', {min: 0.001, max: 1e6});
  const course = new Course(input);
  return withClient(input, async client => {
    const held = await acquire(input, client, {name, ttl, wait, course});
    if (typeof held === 'number') return held;
    try {
      return await course.run(held, command, words);
    } finally {
      // Whoever does not get this through leaves the lock to its time.
      if (held.isHeld) await held.release({timeoutMs: releaseTimeoutMs}).catch(() => undefined);
    }
  });
}

interface Wanted {
  readonly name: string;
  readonly ttl: number;
  readonly wait: number | undefined;
  readonly course: Course;
}

/** The lock, or the exit code when a signal ended the wait for it. */
async function acquire(
  input: VerbInput,
  client: Client,
  {name, ttl, wait, course}: Wanted,
): Promise<Lock | number> {
  const late = wait === undefined ? null : AbortSignal.timeout(wait * 1000);
  const signal = late === null ? course.stopped : AbortSignal.any([course.stopped, late]);
  const note = setTimeout(() => {
    if (input.output.isNoteTerminal) input.output.note(`waiting for the lock "${name}" …\n`);
  }, patienceMs);
  try {
    return await client.lock(name, {ttl, signal});
  } catch (error) {
    if (!isClientError(error, 'ABORTED')) throw error;
    if (course.stopped.aborted) return exitCodeOf(course.stopped.reason as StopSignal);
    throw new VerbError(`the lock "${name}" was not free within ${wait ?? 0} s (LOCK_HELD)`, {
      code: 'LOCK_HELD',
    });
  } finally {
    clearTimeout(note);
  }
}

/** The command, and what signals do before and while it runs. */
class Course {
  readonly #input: VerbInput;
  readonly #stop = new AbortController();
  #child: ChildProcess | null = null;

  constructor(input: VerbInput) {
    this.#input = input;
    input.onSignal(signal => {
      if (this.#child === null) this.#stop.abort(signal);
      // Ctrl-C, and its own end, a terminal tells to the command as well.
      else if (signal === 'SIGTERM' || !input.isAtTerminal) this.#child.kill(signal);
    });
  }

  /** Fires, with the signal as its reason, when one came before the command was started. */
  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  /** Resolves with the exit code. */
  run(lock: Lock, command: string, words: readonly string[]): Promise<number> {
    const {env, output} = this.#input;
    return new Promise((resolve, reject) => {
      const child = spawn(command, words, {
        stdio: 'inherit',
        env: {...env, ROSETTA_LOCK_KEY: lock.key, ROSETTA_LOCK_TOKEN: String(lock.token)},
      });
      this.#child = child;
      const onLost = (): void => {
        output.note('rosetta: the lock is lost; the command is stopped\n');
        child.kill('SIGTERM');
      };
      if (lock.signal.aborted) onLost();
      else lock.signal.addEventListener('abort', onLost, {once: true});
      child.once('error', error => {
        lock.signal.removeEventListener('abort', onLost);
        reject(new VerbError(`${command}: ${error.message}`));
      });
      child.once('exit', (code, signal) => {
        lock.signal.removeEventListener('abort', onLost);
        const own = code ?? exitCodeOf(signal ?? 'SIGKILL');
        // What was done without the lock is not done well.
        resolve(lock.signal.aborted && own === 0 ? 1 : own);
      });
    });
  }
}
