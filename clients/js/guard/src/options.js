// What an application configures, checked before anything starts. Unknown options are refused: a misspelt one
// would be a setting that does not hold.

import { hostname } from 'node:os';
import { systemClock } from './clock.js';

const NAME_MAX = 100;
const LEASE_SECONDS_MAX = 60;
const TOLERANCE_SECONDS_MAX = 60;
/** There is no third: nothing lets a token pass that may have ended. */
const STALE = ['introspect', 'refuse'];
/** RFC 6749 §3.3. */
const SCOPE = /^[\x21\x23-\x5B\x5D-\x7E]+$/;

const KNOWN = [
  'issuer', 'audience', 'clientId', 'clientSecret', 'getToken', 'name', 'leaseSeconds', 'stale', 'scopes',
  'clockToleranceSeconds', 'fetch', 'clock', 'random', 'onStatus',
];

/** The options with their defaults. Throws a `TypeError` that names the one that is wrong. */
export function readOptions(given = {}) {
  const unknown = Object.keys(given).find((name) => !KNOWN.includes(name));
  demand(unknown === undefined, `there is no option ${unknown}`);
  const {
    audience, clientId, clientSecret, getToken, onStatus,
    name = hostname().slice(0, NAME_MAX) || 'guard',
    leaseSeconds = 10,
    stale = 'introspect',
    clockToleranceSeconds = 5,
    fetch = globalThis.fetch,
    clock = systemClock,
    random = Math.random,
  } = given;
  demand(isText(audience), 'audience is the identifier of the API');
  const hasSecret = isText(clientId) && isText(clientSecret) && getToken === undefined;
  const hasFunction = typeof getToken === 'function' && clientId === undefined && clientSecret === undefined;
  demand(hasSecret || hasFunction, 'either clientId and clientSecret, or getToken, says who the guard is');
  demand(isText(name) && [...name].length <= NAME_MAX, `name has 1 to ${NAME_MAX} characters`);
  demand(isBetween(leaseSeconds, 1, LEASE_SECONDS_MAX), `leaseSeconds is a whole number from 1 to ${LEASE_SECONDS_MAX}`);
  demand(STALE.includes(stale), "stale is 'introspect' or 'refuse': nothing else is safe");
  demand(isBetween(clockToleranceSeconds, 0, TOLERANCE_SECONDS_MAX), `clockToleranceSeconds is a whole number from 0 to ${TOLERANCE_SECONDS_MAX}`);
  demand(typeof fetch === 'function', 'fetch is a function');
  demand(typeof clock?.monotonic === 'function' && typeof clock.wall === 'function', 'clock has monotonic() and wall()');
  demand(typeof random === 'function', 'random is a function');
  demand(onStatus === undefined || typeof onStatus === 'function', 'onStatus is a function');
  return {
    issuer: readIssuer(given.issuer), audience, clientId, clientSecret, getToken, name, leaseSeconds, stale,
    scopes: readScopes(given.scopes), clockToleranceSeconds, fetch, clock, random, onStatus,
  };
}

/** A list of scopes; a text is cut at its spaces. */
export function readScopes(scopes = []) {
  const list = typeof scopes === 'string' ? scopes.split(' ').filter((scope) => scope !== '') : scopes;
  demand(Array.isArray(list) && list.every((scope) => isText(scope) && SCOPE.test(scope)), 'scopes is a list of scopes');
  return list;
}

function readIssuer(issuer) {
  const url = isText(issuer) && URL.canParse(issuer) ? new URL(issuer) : null;
  const isPlain = url && ['https:', 'http:'].includes(url.protocol) && !url.search && !url.hash && !url.username && !url.password;
  demand(isPlain, 'issuer is the URL of Curfew');
  // Tokens name it with the slash at its end.
  return issuer.endsWith('/') ? issuer : `${issuer}/`;
}

const isText = (value) => typeof value === 'string' && value !== '';
const isBetween = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;

function demand(isSo, message) {
  if (!isSo) throw new TypeError(`curfew-guard: ${message}`);
}
