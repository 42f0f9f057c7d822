/** What the client would rather have of two forms of an answer. */

const rawType = 'application/octet-stream';
const jsonType = 'application/json';

/** True when raw bytes are preferred over JSON. An Accept that allows neither gets JSON. */
export function wantsRawBytes(accept: string | undefined): boolean {
  if (accept === undefined || accept === '*/*' || accept === jsonType) return false;
  if (accept === rawType) return true;
  return prefersType(accept, rawType, jsonType);
}

/** True when `type` is preferred over `usual`. An Accept that allows neither gets the usual one. */
export function prefersType(accept: string | undefined, type: string, usual: string): boolean {
  if (accept === undefined) return false;
  const preferred = preference(accept, type);
  const otherwise = preference(accept, usual);
  if (preferred.quality !== otherwise.quality) return preferred.quality > otherwise.quality;
  return preferred.quality > 0 && preferred.specificity > otherwise.specificity;
}

interface Preference {
  /** 0 to 1; 0: not acceptable. */
  readonly quality: number;
  /** Of the media range that decided: 3 exact, 2 type, 1 any, 0 none. */
  readonly specificity: number;
}

function preference(accept: string, type: string): Preference {
  let best: Preference = {quality: 0, specificity: 0};
  for (const range of accept.split(',')) {
    const [name = '', ...parameters] = range.split(';').map(part => part.trim().toLowerCase());
    const isGroup = name.endsWith('/*') && type.startsWith(name.slice(0, -1));
    const specificity = name === type ? 3 : isGroup ? 2 : name === '*/*' ? 1 : 0;
    if (specificity <= best.specificity) continue;
    const weight = parameters.find(parameter => parameter.startsWith('q='));
    const quality = weight === undefined ? 1 : Number(weight.slice(2));
    best = {quality: quality >= 0 && quality <= 1 ? quality : 0, specificity};
  }
  return best;
}
