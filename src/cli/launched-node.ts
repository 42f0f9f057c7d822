/**
 * One node as the launcher sees it: the process it started, until that ends, and after that
 * whatever answers at the node's API address, because the user may bring the node back by hand.
 */
import {Buffer} from 'node:buffer';
import type {ChildProcess} from 'node:child_process';
import {spawn} from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {must} from '../base/assert.ts';
import type {PlannedNode} from './launcher-plan.ts';
import {nodeProcessEnvironment, nodeProcessFlags} from './node-process-settings.ts';

const logSizeBytesMax = 16 * 1024 * 1024;
const requestTimeoutMs = 1_000;
const answerSizeBytesMax = 64 * 1024;
const program = path.join(path.dirname(fileURLToPath(import.meta.url)), 'main.js');

export interface NodeAnswer {
  readonly state: string;
  readonly leader: string | null;
  readonly term: number;
  readonly ready: boolean;
}

export class LaunchedNode {
  readonly plan: PlannedNode;
  readonly #onExit: (reason: string) => void;
  #child: ChildProcess | null = null;

  constructor(plan: PlannedNode, onExit: (reason: string) => void) {
    this.plan = plan;
    this.#onExit = onExit;
  }

  /** Null when the process that this launcher started is gone. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  start(): void {
    const {args, logFile} = this.plan;
    fs.mkdirSync(path.dirname(logFile), {recursive: true});
    if (fs.existsSync(logFile) && fs.statSync(logFile).size > logSizeBytesMax) {
      fs.renameSync(logFile, `${logFile}.old`);
    }
    const log = fs.openSync(logFile, 'a');
    // Descriptor 3 ties the node to this process: however the launcher ends, the node sees it.
    const child = spawn(process.execPath, [...nodeProcessFlags, program, ...args], {
      stdio: ['ignore', log, log, 'pipe'],
      env: {...nodeEnvironment(), ROSETTA_PARENT_PIPE: '3'},
    });
    fs.closeSync(log);
    this.#child = child;
    must(child.stdio[3], 'the pipe was asked for').on('error', () => undefined);
    child.on('error', error => this.#ended(error.message));
    child.on('exit', (code, signal) => this.#ended(signal ?? `exit code ${code ?? 0}`));
  }

  /** Asks the process to stop in order. One that got a signal already takes no notice. */
  stop(): void {
    const pipe = this.#child?.stdio[3];
    if (pipe !== null && pipe !== undefined) pipe.destroy();
  }

  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  /** What the node said last about why it cannot run; null when it said nothing. */
  lastComplaint(): string | null {
    const file = fs.openSync(this.plan.logFile, 'r');
    try {
      const {size} = fs.fstatSync(file);
      const tail = Buffer.alloc(Math.min(size, 16 * 1024));
      fs.readSync(file, tail, 0, tail.length, size - tail.length);
      const lines = tail.toString('utf8').split('\n');
      const line = lines.findLast(text => text.startsWith('rosetta: '));
      return line === undefined ? null : line.slice('rosetta: '.length);
    } finally {
      fs.closeSync(file);
    }
  }

  /** GET /status. `refused`: nobody listens; `silent`: no answer in time, or not a node's. */
  ask(callback: (answer: NodeAnswer | 'refused' | 'silent') => void): void {
    let isDone = false;
    const done = (answer: NodeAnswer | 'refused' | 'silent'): void => {
      if (isDone) return;
      isDone = true;
      callback(answer);
    };
    const request = http.get(`http://${this.plan.http}/status`, {agent: false}, response => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
        if (body.length > answerSizeBytesMax) request.destroy();
      });
      response.on('end', () => done(parseAnswer(body)));
    });
    request.setTimeout(requestTimeoutMs, () => request.destroy());
    request.on('error', (error: NodeJS.ErrnoException) => {
      done(error.code === 'ECONNREFUSED' ? 'refused' : 'silent');
    });
    request.on('close', () => done('silent'));
  }

  #ended(reason: string): void {
    if (this.#child === null) return;
    this.#child = null;
    this.#onExit(reason);
  }
}

/** The launcher decides what its nodes are; of the user's settings only the log level passes. */
function nodeEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('ROSETTA_') || name === 'ROSETTA_LOG_LEVEL',
  );
  return {...nodeProcessEnvironment, ...Object.fromEntries(kept)};
}

function parseAnswer(body: string): NodeAnswer | 'silent' {
  try {
    const answer = JSON.parse(body) as Partial<NodeAnswer> | null;
    if (typeof answer?.state !== 'string' || typeof answer.term !== 'number') return 'silent';
    const leader = typeof answer.leader === 'string' ? answer.leader : null;
    return {state: answer.state, term: answer.term, leader, ready: answer.ready === true};
  } catch {
    return 'silent';
  }
}
