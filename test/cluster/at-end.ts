/**
 * Clean-up in the reverse order of set-up: processes end before their directories go. (node:test
 * runs a test's after hooks in the order in which they were registered.)
 */
import type {TestContext} from 'node:test';

type CleanUp = () => void | Promise<void>;

const stacks = new WeakMap<TestContext, CleanUp[]>();

export function atEnd(context: TestContext, cleanUp: CleanUp): void {
  const known = stacks.get(context);
  if (known !== undefined) {
    known.push(cleanUp);
    return;
  }
  const stack = [cleanUp];
  stacks.set(context, stack);
  context.after(async () => {
    const errors: unknown[] = [];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      try {
        await next();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  });
}
