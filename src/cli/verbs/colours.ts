/** Colours for people at a terminal, unless they ask for none (no-color.org). */
import type {VerbInput} from './verb.ts';

type Paint = (text: string) => string;

export interface Colours {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly red: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
}

export function coloursFor({output, env}: VerbInput): Colours {
  const {NO_COLOR: noColour = '', TERM: terminal = ''} = env;
  const isOn = output.isTerminal && noColour === '' && terminal !== 'dumb';
  const paint = (on: number, off: number): Paint => {
    return text => (isOn && text !== '' ? `\u001b[${on}m${text}\u001b[${off}m` : text);
  };
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    yellow: paint(33, 39),
  };
}
