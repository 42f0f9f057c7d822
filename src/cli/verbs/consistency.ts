/** The flag `-consistency` of what reads. */
import {UsageError} from '../usage-error.ts';
import type {VerbInput} from './verb.ts';
import {text} from './verb.ts';

export const consistencyFlag = {
  consistency: text('local', 'what the node has, without asking the others'),
} as const;

/** Throws UsageError. */
export function consistencyOf(input: VerbInput): 'linearizable' | 'local' {
  const consistency = input.flags.get('consistency') ?? 'linearizable';
  if (consistency === 'local' || consistency === 'linearizable') return consistency;
  throw new UsageError(`-consistency=${consistency} must be linearizable or local`);
}
