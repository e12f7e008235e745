'use strict';
// Custom claims: which names an Action may give.
const { text, json } = require('api/check');
const { stringify } = JSON;
const warn = (line) => host.log('warn', line);

const reserved = new Set([
  'acr', 'act', 'active', 'amr', 'at_hash', 'ath', 'attest', 'aud', 'auth_time', 'authorization_details', 'azp', 'c_hash', 'cfw', 'client_id', 'cnf',
  'cty', 'dest', 'entitlements', 'events', 'exp', 'groups', 'gty', 'htm', 'htu', 'iat', 'internalService', 'iss', 'jcard', 'jku', 'jti', 'jwe', 'jwk',
  'kid', 'may_act', 'mky', 'nbf', 'nonce', 'object_id', 'org_id', 'org_name', 'orig', 'origid', 'permissions', 'roles', 'rph', 's_hash', 'scope', 'session_expiry', 'sid',
  'sip_callid', 'sip_cseq_num', 'sip_date', 'sip_from_tag', 'sip_via_branch', 'status', 'sub', 'sub_jwk', 'toe', 'txn', 'typ', 'uuid', 'vot', 'vtm', 'x5t#S256',
]);
const namespaces = /^(?:https?:\/\/(?:[^/?#]*\.)?(?:auth0\.com|webtask\.io|webtask\.run)(?:[:/?#]|$)|urn:auth0(?::|$))/i;
const BYTES_MAX = 100 * 1024;

/** `setCustomClaim` of one kind of token. A reserved name is dropped, as at Auth0, and the execution's log says so. */
function setter(call, command) {
  return function setCustomClaim(name, value) {
    text(`${call}: the name`, name);
    if (value !== undefined) json(`${call}: the value of "${name}"`, value);
    if (reserved.has(name)) {
      warn(`${call}: "${name}" is a reserved claim and was left out`);
      return;
    }
    if (namespaces.test(name)) {
      warn(`${call}: "${name}" is in a reserved namespace and was left out`);
      return;
    }
    const size = name.length + (value === undefined ? 0 : stringify(value).length);
    if (size > BYTES_MAX) throw new RangeError(`${call}: the custom claims of a token may be ${BYTES_MAX / 1024} KB in all`);
    command(call.slice('api.'.length), name, value ?? null);
  };
}

module.exports = { setter };
