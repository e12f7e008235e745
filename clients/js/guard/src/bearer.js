// The access token of a request (RFC 6750 §2.1).

const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i;

/** The token in an `Authorization` header; undefined without one. */
export const bearerToken = (authorization) => (typeof authorization === 'string' ? BEARER.exec(authorization)?.[1] : undefined);

/** Whether this is what `express-oauth2-jwt-bearer` leaves behind, and so does the guard. */
export const isVerified = (auth) =>
  isObject(auth) && isObject(auth.payload) && isObject(auth.header) && typeof auth.token === 'string';

const isObject = (value) => value !== null && typeof value === 'object';
