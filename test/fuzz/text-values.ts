/** Arbitrary texts of few characters. */
import fc from 'fast-check';

/** One of the characters of `alphabet`, which are one code unit each. */
export function characterOf(alphabet: string): fc.Arbitrary<string> {
  return fc.constantFrom(...alphabet.split(''));
}

export function hexOf(length: number): fc.Arbitrary<string> {
  return fc.string({
    unit: characterOf('0123456789abcdef'),
    minLength: length,
    maxLength: length,
  });
}
