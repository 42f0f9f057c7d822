/** What the user typed is wrong; the message is one clear line. The process exits with 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';

  /** The message may quote what was typed, line breaks and all. */
  constructor(message: string) {
    super(oneLine(message));
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]\s*/gu, ' ');
}
