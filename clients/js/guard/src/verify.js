// Whether a text is an access token of the issuer for this API, before anybody asks whether it has ended.

import { compactVerify, decodeProtectedHeader, errors } from 'jose';
import { UNAVAILABLE, invalidToken } from './answers.js';

/** Signatures that only the holder of a private key can make: never `none`, never a shared secret. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];
const TYPES = ['jwt', 'at+jwt', 'application/at+jwt'];
const TOKEN_LENGTH_MAX = 16_384;

const MALFORMED = invalidToken('The access token is malformed.');
const WRONG_HEADER = invalidToken('The access token is not of a kind that is accepted here.');
const UNKNOWN_KEY = invalidToken('The access token is not signed with a key of the issuer.');
const WRONG_SIGNATURE = invalidToken('The signature of the access token is wrong.');
const WRONG_ISSUER = invalidToken('The access token is from another issuer.');
const WRONG_AUDIENCE = invalidToken('The access token is for another API.');
const EXPIRED = invalidToken('The access token has expired.');
const NOT_YET = invalidToken('The access token is from the future.');

/**
 * Verifies a token: `{ok: true, auth: {payload, header, token}}`, or the refusal.
 *
 * Steps: 1 header, 2 key, 3 signature, 4 claims.
 */
export async function verifyToken(token, { keys, ...expected }) {
  if (token.length > TOKEN_LENGTH_MAX) return MALFORMED;
  let header;
  try {
    header = decodeProtectedHeader(token);
  } catch {
    return MALFORMED;
  }
  const wrongHeader = checkHeader(header);
  if (wrongHeader) return wrongHeader;
  let find;
  try {
    find = await keys.for(header.kid);
  } catch {
    return UNAVAILABLE;
  }
  if (!find) return UNKNOWN_KEY;
  let payload;
  try {
    const verified = await compactVerify(token, find, { algorithms: ALGORITHMS });
    payload = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(verified.payload));
  } catch (error) {
    return error instanceof errors.JWSSignatureVerificationFailed ? WRONG_SIGNATURE : MALFORMED;
  }
  const wrongClaims = checkClaims(payload, expected);
  return wrongClaims ?? { ok: true, auth: { payload, header, token } };
}

/** The same for a token whose signature somebody else has verified: everything but that. */
export function verifyClaims(auth, expected) {
  const wrong = checkHeader(auth.header) ?? checkClaims(auth.payload, expected);
  return wrong ?? { ok: true, auth };
}

function checkHeader({ alg, typ, kid, crit }) {
  // A critical extension (RFC 7515 §4.1.11) would be one that nobody here understands.
  const isAccepted = ALGORITHMS.includes(alg) && typeof typ === 'string' && TYPES.includes(typ.toLowerCase()) && crit === undefined;
  if (!isAccepted) return WRONG_HEADER;
  return typeof kid === 'string' ? undefined : UNKNOWN_KEY;
}

function checkClaims(claims, { issuer, audience, toleranceSeconds, now }) {
  if (claims === null || typeof claims !== 'object' || Array.isArray(claims)) return MALFORMED;
  const { iss, aud, exp, iat, nbf } = claims;
  if (!Number.isFinite(exp) || !Number.isFinite(iat)) return MALFORMED;
  if (iss !== issuer) return WRONG_ISSUER;
  if (aud !== audience && !(Array.isArray(aud) && aud.includes(audience))) return WRONG_AUDIENCE;
  if (exp <= now - toleranceSeconds) return EXPIRED;
  if (iat > now + toleranceSeconds || nbf > now + toleranceSeconds) return NOT_YET;
  return undefined;
}
