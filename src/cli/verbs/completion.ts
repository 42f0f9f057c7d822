/**
 * `completion bash|zsh`: a script for the shell, made from the table of verbs. To be read by the
 * shell as it starts: `source <(rosetta completion bash)`.
 */
import {UsageError} from '../usage-error.ts';
import type {Verb, VerbInput} from './verb.ts';

/** `verbs`: asked when the script is made, because this verb is one of them. */
export function completionVerb(verbs: () => readonly Verb[]): Verb {
  return {
    name: 'completion',
    operands: ['bash|zsh'],
    summary: 'print a completion script: source <(./rosetta completion bash)',
    flags: {},
    run: input => {
      input.output.print(scriptFor(input, verbs()));
      return Promise.resolve(0);
    },
  };
}

function scriptFor(input: VerbInput, verbs: readonly Verb[]): string {
  const [shell = ''] = input.operands;
  if (shell === 'bash') return bashScript(verbs);
  if (shell === 'zsh') return zshScript(verbs);
  throw new UsageError(`completion knows bash and zsh, not ${JSON.stringify(shell)}`);
}

/** A word that follows another, and what it is for. */
interface Word {
  readonly word: string;
  readonly summary: string;
}

function firstWords(verbs: readonly Verb[]): readonly Word[] {
  const byWord = new Map<string, string>();
  for (const {name, summary} of verbs) {
    const [word = '', second] = name.split(' ');
    const before = byWord.get(word);
    if (second === undefined) byWord.set(word, summary);
    else if (before === undefined)
      byWord.set(
        word,
        secondWords(verbs, word)
          .map(each => each.word)
          .join(', '),
      );
  }
  return [...byWord].map(([word, summary]) => ({word, summary}));
}

function secondWords(verbs: readonly Verb[], first: string): readonly Word[] {
  return verbs.flatMap(({name, summary}) => {
    const [word, second] = name.split(' ');
    return word === first && second !== undefined ? [{word: second, summary}] : [];
  });
}

/** First words that others follow. */
function groups(verbs: readonly Verb[]): readonly string[] {
  return firstWords(verbs)
    .map(({word}) => word)
    .filter(word => secondWords(verbs, word).length > 0);
}

/** Longer names first: `members add` before `members`. */
function byLength(verbs: readonly Verb[]): readonly Verb[] {
  return [
    ...verbs.filter(({name}) => name.includes(' ')),
    ...verbs.filter(({name}) => !name.includes(' ')),
  ];
}

/** A pattern of `case "$first $second"`. */
function patternOf({name}: Verb): string {
  return name.includes(' ') ? `'${name}'` : `'${name} '*`;
}

function flagWords(verb: Verb): readonly string[] {
  const flags = Object.entries(verb.flags).map(([name, {kind}]) => {
    return kind === 'switch' ? `-${name}` : `-${name}=`;
  });
  return [...flags, '-help'];
}

function bashScript(verbs: readonly Verb[]): string {
  const flags = byLength(verbs).map(verb => {
    return `    ${patternOf(verb)}) flags='${flagWords(verb).join(' ')}' ;;`;
  });
  const seconds = groups(verbs).map(group => {
    const words = secondWords(verbs, group).map(({word}) => word);
    return `    '${group}') words='${words.join(' ')}' ;;`;
  });
  const words = firstWords(verbs).map(({word}) => word);
  return `# Completion of rosetta for bash. To be read as the shell starts:
#   source <(rosetta completion bash)
_rosetta() {
  local cur=\${COMP_WORDS[COMP_CWORD]} first=\${COMP_WORDS[1]} second=\${COMP_WORDS[2]}
  local words='' flags=''
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    COMPREPLY=($(compgen -W '${words.join(' ')}' -- "$cur"))
    return
  fi
  case "$first $second" in
${flags.join('\n')}
  esac
  if [[ $COMP_CWORD -eq 2 ]]; then
    case "$first" in
${seconds.map(line => `  ${line}`).join('\n')}
    esac
  fi
  # Without an answer from here the shell offers files.
  if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  elif [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$cur"))
  fi
  if [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *= ]]; then
    compopt -o nospace 2>/dev/null
  fi
}
complete -o default -F _rosetta rosetta ./rosetta
`;
}

function zshScript(verbs: readonly Verb[]): string {
  const flags = byLength(verbs).map(verb => {
    const words = flagWords(verb);
    const switches = words.filter(word => !word.endsWith('=')).join(' ');
    const values = words.filter(word => word.endsWith('=')).join(' ');
    return `    ${patternOf(verb)}) switches=(${switches}) values=(${values}) ;;`;
  });
  const seconds = groups(verbs).map(group => {
    return `    '${group}') words_=(${described(secondWords(verbs, group))}) ;;`;
  });
  return `#compdef rosetta
# Completion of rosetta for zsh. To be read as the shell starts, after compinit:
#   source <(rosetta completion zsh)
# or kept as the file _rosetta in a directory of $fpath.
_rosetta() {
  local first=$words[2] second=$words[3]
  local -a words_ switches values
  if (( CURRENT == 2 )); then
    words_=(${described(firstWords(verbs))})
    _describe verb words_
    return
  fi
  case "$first $second" in
${flags.join('\n')}
  esac
  if (( CURRENT == 3 )); then
    case "$first" in
${seconds.map(line => `  ${line}`).join('\n')}
    esac
  fi
  if [[ $PREFIX == -*=* ]]; then
    compset -P '*='
    _files
  elif [[ $PREFIX == -* ]]; then
    compadd -- $switches
    compadd -S '' -- $values
  elif (( $#words_ )); then
    _describe verb words_
  else
    _files
  fi
}
# A file of $fpath is the body of the function at its first call, which has to answer.
if [[ $funcstack[1] == _rosetta ]]; then
  _rosetta "$@"
else
  compdef _rosetta rosetta
fi
`;
}

function described(words: readonly Word[]): string {
  return words
    .map(({word, summary}) => quoted(`${word}:${summary.replaceAll(':', '\\:')}`))
    .join(' ');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
