/** Answers as texts, equal for equal ones only. Made of every answer at every member, so fast. */
import {text} from '../../contract/commands.ts';

export function digestOf(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length}'${text(value)}`;
  if (typeof value === 'string') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(digestOf).join()}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  let digest = '';
  for (const [name, field] of Object.entries(value)) digest += `${name}:${digestOf(field)},`;
  return `{${digest}}`;
}
