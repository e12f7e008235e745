'use strict';
// `api.redirect`: out to another site and back, with a signed token for either way.
const { text, options, kind } = require('api/check');

const LIFETIME_SECONDS = 900;
const noRedirects = new Set([
  'oauth2-refresh-token', 'oauth2-password', 'oauth2-resource-owner', 'oauth2-resource-owner-jwt-bearer', 'oauth2-token-exchange', 'oauth2-device-code',
  'oauth2-access-token', 'wstrust-usernamemixed', 'oidc-ciba', 'oidc-ciba-web-link',
]);
const { parse, stringify } = JSON;

const bytes = (value) => require('web/encoding').encode(value);
const base64url = (value) => host.text.base64Encode(typeof value === 'string' ? bytes(value) : value, true);
const mac = (secret, signed) => host.crypto.hmac('sha256', bytes(secret), bytes(signed));

function canRedirect({ transaction }) {
  const prompts = transaction?.prompt ?? [];
  return !noRedirects.has(transaction?.protocol) && !(Array.isArray(prompts) ? prompts : [prompts]).includes('none');
}

function claims(token, secret) {
  const refused = (why) => new Error(`api.redirect.validateToken: the token is not valid: ${why}`);
  const parts = token.split('.');
  if (parts.length !== 3 || parts.some((part) => !/^[A-Za-z0-9_-]+$/.test(part))) throw refused('it is no JWT');
  const read = (part) => {
    const value = parse(host.text.utf8Decode(host.text.base64Decode(part), true) ?? '');
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SyntaxError('no object');
    return value;
  };
  let header; let payload;
  try { [header, payload] = [read(parts[0]), read(parts[1])]; } catch { throw refused('it is no JWT'); }
  if (header.alg !== 'HS256') throw refused('it must be signed with HS256');
  if (!host.crypto.equal(mac(secret, `${parts[0]}.${parts[1]}`), host.text.base64Decode(parts[2]))) throw refused('the signature is another one');
  const now = host.now() / 1000;
  if (typeof payload.exp !== 'number') throw refused('it has no "exp"');
  if (now >= payload.exp) throw refused('it has expired');
  if (typeof payload.nbf === 'number' && now < payload.nbf) throw refused('it is not valid yet');
  return { payload, refused };
}

module.exports = {
  redirect(event, command) {
    let sent = false;
    return {
      canRedirect: () => canRedirect(event),

      encodeToken(given) {
        const { secret, payload, expiresInSeconds } = options('api.redirect.encodeToken: the argument', given ?? null);
        text('api.redirect.encodeToken: secret', secret);
        if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) {
          throw new TypeError(`api.redirect.encodeToken: payload must be an object, not ${kind(payload)}`);
        }
        const lifetime = expiresInSeconds ?? LIFETIME_SECONDS;
        if (!Number.isFinite(lifetime) || lifetime <= 0) throw new RangeError('api.redirect.encodeToken: expiresInSeconds must be above zero');
        const now = Math.floor(host.now() / 1000);
        const body = {
          ...payload, iat: now, exp: now + Math.trunc(lifetime), iss: event.request?.hostname, sub: event.user?.user_id, ip: event.request?.ip,
        };
        const signed = `${base64url('{"alg":"HS256","typ":"JWT"}')}.${base64url(stringify(body))}`;
        return `${signed}.${base64url(mac(secret, signed))}`;
      },

      sendUserTo(url, given) {
        text('api.redirect.sendUserTo: the address', url);
        const { query } = options('api.redirect.sendUserTo: the options', given);
        if (sent) throw new Error('api.redirect.sendUserTo: the user is sent somewhere already');
        if (!canRedirect(event)) throw new Error('api.redirect.sendUserTo: this flow has no browser that could be redirected (see api.redirect.canRedirect)');
        const { URL } = require('web/url');
        const target = URL.parse(url);
        if (target === null) throw new TypeError(`api.redirect.sendUserTo: "${url}" is not an absolute address`);
        if (target.protocol !== 'https:' && target.protocol !== 'http:') throw new TypeError('api.redirect.sendUserTo: the address must be one of https or http');
        for (const [name, value] of Object.entries(options('api.redirect.sendUserTo: query', query))) {
          if (value !== undefined && value !== null) target.searchParams.append(name, `${value}`);
        }
        sent = true;
        command('redirect.sendUserTo', target.href);
      },

      validateToken(given) {
        const { secret, tokenParameterName = 'session_token' } = options('api.redirect.validateToken: the argument', given ?? null);
        text('api.redirect.validateToken: secret', secret);
        text('api.redirect.validateToken: tokenParameterName', tokenParameterName);
        const { query, body } = event.request ?? {};
        const token = query?.[tokenParameterName] ?? body?.[tokenParameterName];
        if (typeof token !== 'string' || token === '') throw new Error(`api.redirect.validateToken: the request has no parameter "${tokenParameterName}"`);
        const { payload, refused } = claims(token, secret);
        const state = query?.state ?? body?.state;
        if (typeof state !== 'string' || payload.state !== state) throw refused('its "state" is not that of this transaction');
        return payload;
      },
    };
  },
};
