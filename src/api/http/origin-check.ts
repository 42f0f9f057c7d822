/**
 * Keeps web pages of other origins from writing through a visitor's browser. Programs other than
 * browsers send neither Origin nor Sec-Fetch-Site and are not concerned.
 *
 * A page's own origin must equal the Host, and that Host must be an IP literal, localhost or a
 * name this server was given: a foreign name that has been pointed at this machine (DNS rebinding)
 * makes its page look same-origin, so equality alone proves nothing.
 */
import {isIP} from 'node:net';
import type {OutgoingHttpHeader} from 'node:http';
import {RosettaError} from '../../base/errors.ts';
import type {RequestHeaders} from './request-headers.ts';

export interface OriginRules {
  readonly corsOrigins: ReadonlySet<string>;
  readonly hostNames: ReadonlySet<string>;
}

/** Throws CROSS_ORIGIN for a write that a foreign page may have caused. */
export function checkOrigin(headers: RequestHeaders, rules: OriginRules): void {
  const {origin, secFetchSite} = headers;
  if (origin === undefined && secFetchSite === undefined) return;
  if (origin !== undefined && rules.corsOrigins.has(origin)) return;
  if (secFetchSite !== undefined && secFetchSite.toLowerCase() === 'cross-site') {
    throw new RosettaError('CROSS_ORIGIN', 'the request comes from a page of another site');
  }
  if (origin === undefined) return;
  const host = headers.host?.toLowerCase() ?? '';
  const isSame =
    origin.toLowerCase() === `http://${host}` || origin.toLowerCase() === `https://${host}`;
  if (!isSame || !isOwnHost(host, rules.hostNames)) {
    throw new RosettaError(
      'CROSS_ORIGIN',
      `pages of ${JSON.stringify(origin.slice(0, 128))} may not write here; see -cors-origin`,
    );
  }
}

/** What lets a browser show the answer to a page of an allowed origin. */
export function corsHeaders(
  origin: string | undefined,
  corsOrigins: ReadonlySet<string>,
): readonly OutgoingHttpHeader[] {
  if (origin === undefined || !corsOrigins.has(origin)) return [];
  return [
    'Access-Control-Allow-Origin',
    origin,
    'Access-Control-Expose-Headers',
    'ETag, Retry-After, Rosetta-Revision',
  ];
}

/** More headers for the answer to a preflight of an allowed origin. */
export function preflightHeaders(
  headers: RequestHeaders,
  corsOrigins: ReadonlySet<string>,
  allow: string,
): readonly OutgoingHttpHeader[] {
  const {origin, requestedMethod} = headers;
  if (origin === undefined || requestedMethod === undefined) return [];
  if (!corsOrigins.has(origin)) return [];
  return [
    'Access-Control-Allow-Methods',
    allow,
    'Access-Control-Allow-Headers',
    'Accept, Content-Type, Idempotency-Acknowledged, Idempotency-Key, If-Match, If-None-Match, ' +
      'Last-Event-ID',
    'Access-Control-Max-Age',
    '600',
  ];
}

function isOwnHost(host: string, hostNames: ReadonlySet<string>): boolean {
  const name = host.replace(/:[0-9]*$/, '');
  const bare = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name;
  return isIP(bare) !== 0 || bare === 'localhost' || hostNames.has(bare);
}
