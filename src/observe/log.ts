/**
 * The log: lines a person can read on a terminal, one JSON object per line otherwise. Writes are
 * synchronous, so that the last line before an exit is never lost; the hot path does not log.
 */
import {pino} from 'pino';
import type {LogFields, Logger} from '../base/logger.ts';

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** Repeated on every line, so that the logs of several nodes can be merged. */
  readonly nodeId: string;
  /** File descriptor to write to. */
  readonly fd: number;
  readonly isTerminal: boolean;
}

export async function createLogger(options: LogOptions): Promise<Logger> {
  const {level, nodeId, fd, isTerminal} = options;
  // What only a terminal needs no other start waits for.
  const destination = isTerminal
    ? (await import('pino-pretty')).default({
        destination: fd,
        sync: true,
        colorize: true,
        translateTime: 'SYS:HH:MM:ss.l',
        ignore: 'node',
        singleLine: true,
      })
    : pino.destination({dest: fd, sync: true});
  // Nobody reads the log any more (a closed pipe): that is no reason to stop serving.
  destination.on('error', () => undefined);
  const log = pino(
    {
      level,
      base: {node: nodeId},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {level: label => ({level: label})},
    },
    destination,
  );
  return {
    debug: (fields: LogFields, message: string) => log.debug(fields, message),
    info: (fields: LogFields, message: string) => log.info(fields, message),
    warn: (fields: LogFields, message: string) => log.warn(fields, message),
    error: (fields: LogFields, message: string) => log.error(fields, message),
  };
}
