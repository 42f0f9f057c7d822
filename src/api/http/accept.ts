/** What the client would rather have for a single key: JSON (the default) or the raw bytes. */

const rawType = 'application/octet-stream';
const jsonType = 'application/json';

/** True when raw bytes are preferred over JSON. An Accept that allows neither gets JSON. */
export function wantsRawBytes(accept: string | undefined): boolean {
  if (accept === undefined || accept === '*/*' || accept === jsonType) return false;
  if (accept === rawType) return true;
  const raw = preference(accept, rawType);
  const json = preference(accept, jsonType);
  if (raw.quality !== json.quality) return raw.quality > json.quality;
  return raw.quality > 0 && raw.specificity > json.specificity;
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
    const specificity = name === type ? 3 : name === 'application/*' ? 2 : name === '*/*' ? 1 : 0;
    if (specificity <= best.specificity) continue;
    const weight = parameters.find(parameter => parameter.startsWith('q='));
    const quality = weight === undefined ? 1 : Number(weight.slice(2));
    best = {quality: quality >= 0 && quality <= 1 ? quality : 0, specificity};
  }
  return best;
}
