/**
 * The main thread's end of the checkpoint's thread: requests with callbacks. When the thread dies,
 * every waiting and every later request gets the reason. The thread keeps the process alive only
 * while an answer is due.
 */
import {Worker} from 'node:worker_threads';
import {CheckpointDamagedError} from './checkpoint-row.ts';
import type {
  CheckpointError,
  CheckpointReply,
  CheckpointRequest,
  CheckpointRequestMessage,
} from './checkpoint-worker-protocol.ts';
import {ExitGate} from './exit-gate.ts';

/** A disk that answers no sooner must not keep a process that wants to end. */
const exitWaitMs = 1_000;

/** Of the threads that run. */
const gates = new Set<ExitGate>();

process.on('exit', () => {
  for (const gate of gates) gate.close(exitWaitMs);
});

type AnswerCallback = (error: Error | null, answer: CheckpointReply | null) => void;

export class CheckpointThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, AnswerCallback>();
  #nextId = 1;
  #failure: Error | null = null;
  #hasExited = false;
  readonly #exitCallbacks: (() => void)[] = [];

  constructor() {
    // The compiled worker lies beside this file's own compiled form.
    const gate = new ExitGate();
    gates.add(gate);
    const script = new URL('./checkpoint-worker.js', import.meta.url);
    this.#worker = new Worker(script, {workerData: gate.shared});
    this.#worker.unref();
    this.#worker.on('message', (reply: CheckpointReply) => this.#onReply(reply));
    this.#worker.on('error', error => this.#fail(asError(error)));
    this.#worker.on('exit', () => {
      gates.delete(gate);
      this.#hasExited = true;
      this.#fail(new Error('the checkpoint thread has ended'));
      for (const callback of this.#exitCallbacks.splice(0)) callback();
    });
  }

  send(request: CheckpointRequest, callback: AnswerCallback): void {
    if (this.#failure !== null) {
      const failure = this.#failure;
      process.nextTick(() => callback(failure, null));
      return;
    }
    if (this.#waiting.size === 0) this.#worker.ref();
    const id = this.#nextId++;
    this.#waiting.set(id, callback);
    this.#worker.postMessage({id, request} satisfies CheckpointRequestMessage);
  }

  /** Performs what was sent before, then ends the thread. */
  close(callback: () => void): void {
    if (this.#hasExited) {
      process.nextTick(callback);
      return;
    }
    this.#exitCallbacks.push(callback);
    this.#worker.ref();
    this.send({type: 'close'}, () => {
      // The exit is what counts.
      this.#worker.ref();
    });
  }

  #onReply(reply: CheckpointReply): void {
    const callback = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if (reply.error === null) callback?.(null, reply);
    else callback?.(toError(reply.error), null);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const callback of waiting) callback(this.#failure, null);
  }
}

function toError(error: CheckpointError): Error {
  if (error.damagedPath !== null) {
    return new CheckpointDamagedError(error.damagedPath, error.message);
  }
  const result = new Error(error.message);
  return error.code === null ? result : Object.assign(result, {code: error.code});
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
