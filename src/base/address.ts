/**
 * Network addresses as flags, handshakes and memberships write them: `host:port`, `:port` (every
 * interface), `[v6]:port`. `localhost` means both loopbacks, because clients resolve it to either.
 */

export interface Address {
  /** Name or literal without brackets; empty: every interface. */
  readonly host: string;
  /** 0 to 65535; 0 lets the system choose and is of use in tests only. */
  readonly port: number;
}

const addressPattern = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{0,253})):([0-9]{1,5})$/;

/** Null when `text` is not an address. */
export function parseAddress(text: string): Address | null {
  const match = addressPattern.exec(text);
  if (match === null) return null;
  const port = Number(match[3]);
  if (port > 65_535) return null;
  return {host: match[1] ?? match[2] ?? '', port};
}

export function formatAddress(address: Address): string {
  const {host, port} = address;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * The hosts to bind for an address, the first of which must succeed. `undefined` leaves the choice
 * to the system: all interfaces, IPv6 and IPv4 where both exist.
 */
export function listenHosts(host: string): readonly [string | undefined, ...string[]] {
  if (host === '') return [undefined];
  if (host === 'localhost') return ['127.0.0.1', '::1'];
  return [host];
}

/** Whether others cannot dial what is bound there: it names every interface, not one of them. */
export function isEveryInterface(text: string): boolean {
  const host = parseAddress(text)?.host;
  if (host?.includes(':') !== true) return host === '' || host === '0.0.0.0';
  // There are many ways to write it.
  const literal = `http://[${host}]/`;
  return URL.canParse(literal) && new URL(literal).hostname === '[::]';
}

/** The host to dial for an address that names every interface. */
export function dialHost(host: string): string {
  return host === '' ? 'localhost' : host;
}
