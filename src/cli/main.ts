/**
 * The program: `./rosetta -id=…` runs a server until a signal. `./rosetta <verb> …` does one thing
 * and ends (verbs/). The only place that knows the process: its arguments, signals and exit codes
 * (0 stopped as asked, 1 could not start or go on, 2 wrong usage, 3 removed from the cluster,
 * 130/143 stopped at once by a second signal). What a server needs is loaded for a server only.
 */
import type {Buffer} from 'node:buffer';
import fs from 'node:fs';
import net from 'node:net';
import v8 from 'node:v8';
import {parseAddress} from '../base/address.ts';
import {packageVersion} from '../server/package-version.ts';
import type {RunningServer} from '../server/server-options.ts';
import type {ServerFlags} from './flags.ts';
import {helpText, parseFlags} from './flags.ts';
import {UsageError} from './usage-error.ts';
import type {FoundVerb} from './verbs/verb-table.ts';
import {findVerb, runVerb, verbsHelp} from './verbs/verb-table.ts';
import type {VerbSurroundings} from './verbs/verb.ts';

/** A stop that takes longer hangs: the write-ahead log is complete at any time, so leave. */
const stopTimeoutMs = 10_000;

/** The cluster has removed this node: starting it again the same way is of no use. */
const exitCodeRemoved = 3;

/** Set by the launcher: a pipe or socket that ends when the launcher does. */
const parentPipeVariable = 'ROSETTA_PARENT_PIPE';

function main(): void {
  const args = process.argv.slice(2);
  try {
    const found = findVerb(args);
    if (found !== null) {
      startVerb(found);
      return;
    }
    const readFile = (file: string): string => fs.readFileSync(file, 'utf8');
    const parsed = parseFlags({args, env: process.env, readFile});
    if (parsed.type === 'help') process.stdout.write(helpText() + verbsHelp());
    else if (parsed.type === 'version') process.stdout.write(`rosetta ${packageVersion()}\n`);
    else {
      runServer(parsed.flags).catch((error: unknown) => {
        complain(describe(error));
        process.exit(1);
      });
    }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    failUsage(error);
  }
}

function startVerb(found: FoundVerb): void {
  // The reader of a pipe may leave before the end, as `head` does.
  process.stdout.on('error', () => process.exit(1));
  runVerb(found, processSurroundings()).then(
    code => {
      process.exitCode = code;
    },
    (error: unknown) => {
      if (error instanceof UsageError) {
        failUsage(error);
        return;
      }
      complain(describe(error));
      process.exitCode = 1;
    },
  );
}

const columnCountDefault = 80;

function processSurroundings(): VerbSurroundings {
  const {stdout, stderr, stdin, env} = process;
  return {
    env,
    output: {
      print: content => void stdout.write(content),
      drained: () => {
        if (!stdout.writableNeedDrain) return Promise.resolve();
        return new Promise(resolve => stdout.once('drain', resolve));
      },
      note: text => void stderr.write(text),
      isTerminal: stdout.isTTY,
      isNoteTerminal: stderr.isTTY,
      // A terminal that does not know its width says 0.
      columnCount: stdout.isTTY ? stdout.columns || columnCountDefault : Infinity,
    },
    isAtTerminal: stdin.isTTY || stdout.isTTY || stderr.isTTY,
    input: () => stdin as AsyncIterable<Buffer>,
    onSignal: listener => {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
        process.on(signal, () => listener(signal));
      }
    },
  };
}

function failUsage(error: UsageError): void {
  complain(error.message);
  process.exitCode = 2;
}

/**
 * V8 compiles a function well after it has executed so many bytes of its bytecode. What runs once
 * a batch is slow for minutes with the default of 67,584; with a third of it V8 compiles more. That
 * pays for a node with something to do: one that has computed for so long while it was busy.
 */
const interruptBudgetBytes = 20_000;
const busyMs = 2_000;
const lookMs = 500;
/** A node that only keeps its place in the cluster computes for a tenth of the time or less. */
const busyShare = 0.2;

function compileEarlierOnceBusy(): void {
  let before = process.cpuUsage();
  let spentMs = 0;
  const timer = setInterval(() => {
    const now = process.cpuUsage();
    const computedMs = (now.user + now.system - before.user - before.system) / 1000;
    before = now;
    if (computedMs >= busyShare * lookMs) spentMs += computedMs;
    if (spentMs < busyMs) return;
    clearInterval(timer);
    v8.setFlagsFromString(`--interrupt-budget=${interruptBudgetBytes}`);
  }, lookMs);
  timer.unref();
}

async function runServer(flags: ServerFlags): Promise<void> {
  const [{createLogger}, {Metrics}, {startServer}] = await Promise.all([
    import('../observe/log.ts'),
    import('../observe/metrics.ts'),
    import('../server/server.ts'),
  ]);
  const {logLevel, ...settings} = flags;
  const logger = await createLogger({
    level: logLevel,
    nodeId: flags.id,
    fd: process.stdout.fd,
    isTerminal: process.stdout.isTTY,
  });
  const fail = (error: unknown): never => {
    complain(describe(error));
    if (error instanceof Error) logger.debug({stack: error.stack}, 'the node failed');
    process.exit(1);
  };
  process.on('uncaughtException', fail);

  for (const [flag, address] of [
    ['-listen', flags.listen],
    ['-http', flags.http],
  ] as const) {
    if (isLoopback(address)) continue;
    logger.warn({[flag]: address}, `${flag} is reachable from other machines, without TLS`);
  }

  const stopping = new AbortController();
  const starting: Promise<RunningServer> = startServer(
    {...settings, version: packageVersion(), logger, metrics: new Metrics()},
    {
      signal: stopping.signal,
      onFatal: fail,
      onRemoved: error => {
        complain(error.message);
        stop(exitCodeRemoved);
      },
    },
  );
  const stop = stopOnSignals(starting, stopping);
  starting.then(compileEarlierOnceBusy, (error: unknown) => {
    if (error === stopping.signal.reason) process.exit(0);
    fail(error);
  });
}

/** The first signal stops in order, the second at once. Returns what the first one does. */
function stopOnSignals(
  starting: Promise<RunningServer>,
  stopping: AbortController,
): (exitCode: number) => void {
  let isStopping = false;
  let signalCount = 0;
  const stop = (exitCode: number): void => {
    if (isStopping) return;
    isStopping = true;
    stopping.abort();
    setTimeout(() => {
      complain(`the node did not stop within ${stopTimeoutMs} ms; leaving`);
      process.exit(1);
    }, stopTimeoutMs).unref();
    starting
      .then(server => server.stop())
      .then(
        () => process.exit(exitCode),
        (error: unknown) => {
          complain(describe(error));
          process.exit(1);
        },
      );
  };
  const onSignal = (signalNumber: number): void => {
    signalCount += 1;
    if (signalCount > 1) process.exit(128 + signalNumber);
    stop(0);
  };
  process.on('SIGINT', () => onSignal(2));
  process.on('SIGTERM', () => onSignal(15));
  // Closing the terminal ends a server like Ctrl-C does.
  process.on('SIGHUP', () => onSignal(1));
  // After Ctrl-C the signal and the end of the launcher arrive in either order: not two signals.
  const fd = process.env[parentPipeVariable];
  if (fd !== undefined && /^[0-9]{1,3}$/.test(fd)) watchParent(Number(fd), () => stop(0));
  return stop;
}

/** Runs `onEnd` when the other end of the pipe is closed, however its process ended. */
function watchParent(fd: number, onEnd: () => void): void {
  const pipe = new net.Socket({fd, readable: true, writable: false});
  pipe.on('error', () => undefined);
  pipe.once('close', onEnd);
  pipe.resume();
  pipe.unref();
}

function isLoopback(text: string): boolean {
  const host = parseAddress(text)?.host ?? '';
  if (net.isIP(host) === 4) return host.startsWith('127.');
  return host === 'localhost' || host === '::1';
}

/** Operating errors speak for themselves; anything else is a bug and shows where it happened. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Errors of storage carry advice for the operator, whatever they are called.
  const isExpected = error.name === 'RosettaError' || 'advice' in error;
  if (isExpected || 'code' in error) return error.message;
  return error.stack ?? error.message;
}

function complain(message: string): void {
  try {
    // Synchronous: the process may exit in the next statement.
    fs.writeSync(2, `rosetta: ${message}\n`);
  } catch {
    // Nobody reads it, or its disk is full: the exit code still says what happened.
  }
}

main();
