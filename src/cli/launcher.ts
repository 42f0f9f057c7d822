/**
 * `npm start`: a whole cluster on this machine, one process per node, until Ctrl-C. Tells what
 * happens to the nodes and how to bring a dead one back; it never restarts one by itself, so that
 * a `kill -9` can be watched.
 */
import net from 'node:net';
import {listenHosts, parseAddress} from '../base/address.ts';
import {must} from '../base/assert.ts';
import {UsageError} from './usage-error.ts';
import {LaunchedNode} from './launched-node.ts';
import type {NodeAnswer} from './launched-node.ts';
import type {PlannedNode, TableRow} from './launcher-plan.ts';
import {
  commandLine,
  nodeTable,
  parseLauncherOptions,
  planNodes,
  thingsToTry,
} from './launcher-plan.ts';

const startTimeoutMs = 60_000;
const startPollIntervalMs = 100;
const watchIntervalMs = 500;
/** Polls without an answer before a node counts as silent. */
const silentPollCount = 4;
/** Below the two seconds within which Ctrl-C promises to be through. */
const stopTimeoutMs = 1_700;

type Health = 'up' | 'silent' | 'dead';

interface Watched {
  readonly node: LaunchedNode;
  health: Health;
  answer: NodeAnswer | null;
  missedPollCount: number;
  /** Brought back by the user: lives and dies on its own. */
  isByHand: boolean;
}

class Launcher {
  readonly #watched: readonly Watched[];
  #isStarted = false;
  #isStopping = false;
  #leader: string | null = null;

  constructor(plan: readonly PlannedNode[]) {
    this.#watched = plan.map(planned => {
      const watched: Watched = {
        node: new LaunchedNode(planned, reason => this.#onExit(watched, reason)),
        health: 'up',
        answer: null,
        missedPollCount: 0,
        isByHand: false,
      };
      return watched;
    });
  }

  start(): void {
    try {
      for (const {node} of this.#watched) node.start();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#giveUp(`a node cannot be started: ${reason}`);
      return;
    }
    const deadline = setTimeout(() => {
      this.#giveUp(`the nodes are not ready after ${startTimeoutMs / 1000} s; see their logs`);
    }, startTimeoutMs);
    this.#awaitReady(() => {
      clearTimeout(deadline);
      this.#isStarted = true;
      this.#leader =
        this.#watched.find(({answer}) => answer?.state === 'leader')?.node.plan.id ?? null;
      this.#introduce();
      setInterval(() => this.#poll(), watchIntervalMs);
    });
  }

  /** Ends with exit code 0, within two seconds. */
  stop(exitCode = 0): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    if (exitCode === 0) this.#sayStopping();
    for (const {node} of this.#watched) node.stop();
    const leave = (): void => {
      if (this.#watched.every(({node}) => node.pid === null)) process.exit(exitCode);
    };
    leave();
    setInterval(leave, 10);
    setTimeout(() => {
      for (const {node} of this.#watched) node.kill();
      setTimeout(() => process.exit(exitCode), 100);
    }, stopTimeoutMs);
  }

  #sayStopping(): void {
    say('\nstopping …');
    for (const {node, health, isByHand} of this.#watched) {
      if (!isByHand || health === 'dead') continue;
      say(`${node.plan.id} was brought back by hand and goes on; it stops with its own Ctrl-C.`);
    }
  }

  #awaitReady(onReady: () => void): void {
    let waitingCount = this.#watched.length;
    for (const watched of this.#watched) {
      watched.node.ask(answer => {
        watched.answer = typeof answer === 'string' ? null : answer;
        waitingCount -= 1;
        if (waitingCount > 0 || this.#isStopping) return;
        if (this.#watched.every(row => row.answer?.ready === true)) onReady();
        else setTimeout(() => this.#awaitReady(onReady), startPollIntervalMs);
      });
    }
  }

  #introduce(): void {
    const rows = this.#watched.map((watched): TableRow => ({
      node: watched.node.plan,
      pid: watched.node.pid,
      state: watched.answer?.state ?? 'starting',
    }));
    const logs = rows.map(row => row.node.logFile).join('\n        ');
    const count = rows.length === 1 ? 'one node' : `${rows.length} nodes, one store`;
    say(`Rosetta is running: ${count}.\n\n${nodeTable(rows)}\n\n  logs: ${logs}\n`);
    say(`Any node answers. Try\n\n${thingsToTry(rows)}\n`);
    say('Ctrl-C stops the cluster and keeps its data.\n');
  }

  #onExit(watched: Watched, reason: string): void {
    if (this.#isStopping) return;
    const {node} = watched;
    if (!this.#isStarted) {
      this.#giveUp(`${node.plan.id} did not start: ${node.lastComplaint() ?? reason}`);
      return;
    }
    // An exit code of the node's own comes with its last words, a signal does not.
    const complaint = reason.startsWith('SIG') ? null : node.lastComplaint();
    this.#died(watched, complaint === null ? reason : `${reason}: ${complaint}`);
  }

  #died(watched: Watched, reason: string): void {
    const {plan} = watched.node;
    watched.health = 'dead';
    watched.answer = null;
    watched.isByHand = true;
    const aliveCount = this.#watched.filter(row => row.health !== 'dead').length;
    const quorum = Math.floor(this.#watched.length / 2) + 1;
    const count = `${aliveCount} of ${this.#watched.length} nodes`;
    const rest =
      aliveCount >= quorum
        ? `${count} go on.`
        : `${count} are no majority: no writes until one is back.`;
    note(
      `${plan.id} is dead (${reason}). ${rest}\n` +
        `          Bring it back from another terminal:\n\n  ${commandLine(plan)}\n`,
    );
  }

  #poll(): void {
    if (this.#isStopping) return;
    for (const watched of this.#watched) {
      watched.node.ask(answer => {
        if (!this.#isStopping) this.#onAnswer(watched, answer);
      });
    }
  }

  #onAnswer(watched: Watched, answer: NodeAnswer | 'refused' | 'silent'): void {
    const {id} = watched.node.plan;
    if (typeof answer === 'string') {
      watched.missedPollCount += 1;
      if (watched.health !== 'dead' && watched.isByHand && answer === 'refused') {
        this.#died(watched, 'it is gone again');
      } else if (watched.health === 'up' && watched.missedPollCount >= silentPollCount) {
        watched.health = 'silent';
        watched.answer = null;
        note(`${id} does not answer.`);
      }
      return;
    }
    watched.missedPollCount = 0;
    watched.answer = answer;
    // A node that comes back counts when it serves, not when its port is open.
    if (watched.health !== 'up' && answer.ready) {
      watched.health = 'up';
      note(`${id} is back (${answer.state}).`);
    }
    if (answer.state === 'leader') this.#onLeader(id, answer.term);
  }

  /** Two nodes may believe to lead for a moment; the higher term is right. */
  #onLeader(id: string, term: number): void {
    if (id === this.#leader) return;
    if (this.#watched.some(row => row.answer?.state === 'leader' && row.answer.term > term)) return;
    this.#leader = id;
    note(`${id} leads (term ${term}).`);
  }

  #giveUp(reason: string): void {
    if (this.#isStopping) return;
    process.stderr.write(`rosetta: ${reason}\n`);
    this.stop(1);
  }
}

/** Calls back with the first address in use, or null when all are free. */
function findTakenAddress(
  addresses: readonly string[],
  callback: (taken: string | null) => void,
): void {
  const [address, ...rest] = addresses;
  if (address === undefined) {
    callback(null);
    return;
  }
  const {host, port} = must(parseAddress(address), 'planned addresses are well-formed');
  const [first] = listenHosts(host);
  const probe = net.createServer();
  probe.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') callback(address);
    else findTakenAddress(rest, callback);
  });
  probe.listen({port, ...(first === undefined ? {} : {host: first})}, () => {
    probe.close(() => findTakenAddress(rest, callback));
  });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function note(text: string): void {
  const time = new Date().toTimeString().slice(0, 8);
  say(`${time}  ${text}`);
}

function main(): void {
  process.stdout.on('error', () => undefined);
  let plan: readonly PlannedNode[];
  try {
    plan = planNodes(parseLauncherOptions(process.argv.slice(2)));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`rosetta: ${error.message}\n`);
    process.exitCode = 2;
    return;
  }
  findTakenAddress(
    plan.flatMap(node => [node.http, node.listen]),
    taken => {
      if (taken !== null) {
        process.stderr.write(
          `rosetta: ${taken} is in use; stop what runs there (another cluster?) and try again\n`,
        );
        process.exitCode = 1;
        return;
      }
      const launcher = new Launcher(plan);
      // The same Ctrl-C may arrive twice, from the terminal and from npm.
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
        process.on(signal, () => launcher.stop());
      }
      launcher.start();
    },
  );
}

main();
