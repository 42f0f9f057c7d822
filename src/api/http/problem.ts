/** Errors as `application/problem+json`, every one with its code and its promise. */
import {errorTable, type ErrorCode, type Outcome} from '../../base/errors.ts';

export const problemType = 'application/problem+json';

/** `isRead`: a read changes nothing, so its outcome is definite whatever went wrong. */
export function problemJson(
  code: ErrorCode,
  detail: string,
  request: {readonly isRead: boolean},
): string {
  const {title, status, outcome: declared} = errorTable[code];
  const outcome: Outcome = request.isRead ? 'definite' : declared;
  return JSON.stringify({title, status, code, detail, outcome});
}

/** Seconds after which trying again makes sense; null: trying again will not help by itself. */
export function retryAfterSeconds(status: number): number | null {
  return status === 429 || status === 503 || status === 507 ? 1 : null;
}
