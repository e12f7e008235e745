// What a guard answers, as docs/guards.md lists it: one place, whatever the framework.

const refusal = (status, error, description, challenge, retryAfter = null) =>
  Object.freeze({ ok: false, status, error, description, challenge, retryAfter });

/** RFC 6750 §3.1: to a request without a token the challenge says nothing but the scheme. */
export const NO_TOKEN = refusal(401, null, 'No access token was sent.', 'Bearer');

/** The view is too old, and the server cannot be asked or shall not be. */
export const UNAVAILABLE = refusal(503, 'temporarily_unavailable', 'Whether this access token has ended cannot be known now.', null, 1);

/** `description` is one of our own sentences: nothing of a token gets into a header. */
export const invalidToken = (description) =>
  refusal(401, 'invalid_token', description, `Bearer error="invalid_token", error_description="${description}"`);

export const ENDED = invalidToken('The access token has ended.');
export const UNDECIDED = invalidToken('Whether the access token has ended is not known here.');

export const insufficientScope = (scopes) => {
  const scope = scopes.join(' ');
  return refusal(403, 'insufficient_scope', `This needs the scope ${scope}.`, `Bearer error="insufficient_scope", scope="${scope}"`);
};

/** The head and the body of a refusal. */
export function render({ error, description, challenge, retryAfter }) {
  const headers = {};
  if (challenge) headers['www-authenticate'] = challenge;
  if (retryAfter) headers['retry-after'] = String(retryAfter);
  if (!error) return { headers, body: null };
  headers['content-type'] = 'application/json';
  return { headers, body: JSON.stringify({ error, error_description: description }) };
}
