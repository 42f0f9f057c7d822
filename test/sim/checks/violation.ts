/** A promise was broken. `check` names it; the message says what was seen. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly check: string;

  constructor(check: string, detail: string, options?: ErrorOptions) {
    super(`${check}: ${detail}`, options);
    this.check = check;
  }
}

/** Throws unless `condition` holds. On hot paths build the detail only when it is needed. */
export function demand(
  condition: boolean,
  check: string,
  detail: string | (() => string),
): asserts condition {
  if (condition) return;
  throw new Violation(check, typeof detail === 'string' ? detail : detail());
}
