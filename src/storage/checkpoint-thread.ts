/**
 * The main thread's end of the checkpoint's thread: requests with callbacks. The first request
 * starts the thread: nothing needs it while a node starts, and it takes a tenth of a second of a
 * processor that the recovery of the log, or another member, can use. When the thread dies, every
 * waiting and every later request gets the reason. It keeps the process alive only while an answer
 * is due.
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
  readonly #onStart: () => void;
  /** Null before the first request. */
  #worker: Worker | null = null;
  readonly #waiting = new Map<number, AnswerCallback>();
  #nextId = 1;
  #failure: Error | null = null;
  #hasExited = false;
  readonly #exitCallbacks: (() => void)[] = [];

  /** `onStart` may send what the thread is to do before everything else. */
  constructor(onStart: () => void) {
    this.#onStart = onStart;
  }

  send(request: CheckpointRequest, callback: AnswerCallback): void {
    if (this.#failure !== null) {
      const failure = this.#failure;
      process.nextTick(() => callback(failure, null));
      return;
    }
    const worker = this.#worker ?? this.#tryStart();
    if (worker === null) {
      this.send(request, callback);
      return;
    }
    if (this.#waiting.size === 0) worker.ref();
    const id = this.#nextId++;
    this.#waiting.set(id, callback);
    worker.postMessage({id, request} satisfies CheckpointRequestMessage, movedWith(request));
  }

  /** Performs what was sent before, then ends the thread. */
  close(callback: () => void): void {
    const worker = this.#worker;
    if (worker === null || this.#hasExited) {
      this.#fail(endedError());
      process.nextTick(callback);
      return;
    }
    this.#exitCallbacks.push(callback);
    worker.ref();
    this.send({type: 'close'}, () => {
      // The exit is what counts.
      worker.ref();
    });
  }

  /** Null: the system has no thread to give, and this one has failed. */
  #tryStart(): Worker | null {
    try {
      return this.#start();
    } catch (error) {
      this.#fail(asError(error));
      return null;
    }
  }

  #start(): Worker {
    // The compiled worker lies beside this file's own compiled form.
    const gate = new ExitGate();
    const script = new URL('./checkpoint-worker.js', import.meta.url);
    const worker = new Worker(script, {workerData: gate.shared});
    gates.add(gate);
    worker.unref();
    worker.on('message', (reply: CheckpointReply) => this.#onReply(worker, reply));
    worker.on('error', error => this.#fail(asError(error)));
    worker.on('exit', () => {
      gates.delete(gate);
      this.#hasExited = true;
      this.#fail(endedError());
      for (const callback of this.#exitCallbacks.splice(0)) callback();
    });
    this.#worker = worker;
    this.#onStart();
    return worker;
  }

  #onReply(worker: Worker, reply: CheckpointReply): void {
    const callback = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) worker.unref();
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

/** Memory that is not copied. */
function movedWith(request: CheckpointRequest): ArrayBuffer[] {
  if (request.type === 'readBlock') return [request.memory];
  if (request.type !== 'importBlock') return [];
  const {buffer, byteLength} = request.block;
  // Nothing at all may be the same nothing for everybody.
  const isOwn = byteLength > 0 && buffer.byteLength === byteLength;
  return isOwn && buffer instanceof ArrayBuffer ? [buffer] : [];
}

function toError(error: CheckpointError): Error {
  if (error.damagedPath !== null) {
    return new CheckpointDamagedError(error.damagedPath, error.message);
  }
  const result = new Error(error.message);
  return error.code === null ? result : Object.assign(result, {code: error.code});
}

function endedError(): Error {
  return new Error('the checkpoint thread has ended');
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
