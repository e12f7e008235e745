'use strict';
// `api` of post-login.
const { text, milliseconds, options, kind } = require('api/check');
const { setter } = require('api/claims');
const { entries, transaction, user } = require('api/metadata');
const { missing, all, later } = require('api/missing');

const MFA = 'multi-factor authentication';
const saml = [
  'setAttribute', 'setAudience', 'setRecipient', 'setCreateUpnClaim', 'setPassthroughClaimsWithNoMapping', 'setMapUnknownClaimsAsIs', 'setMapIdentities',
  'setSignatureAlgorithm', 'setDigestAlgorithm', 'setDestination', 'setLifetimeInSeconds', 'setSignResponse', 'setNameIdentifierFormat',
  'setNameIdentifierProbes', 'setAuthnContextClassRef', 'setSigningCert', 'setIncludeAttributeNameFormat', 'setTypedAttributes', 'setEncryptionCert',
  'setEncryptionPublicKey', 'setEncryptionAlgorithm', 'setCert', 'setKey', 'setRelayState', 'setIssuer',
];
const providers = ['any', 'duo', 'guardian', 'google-authenticator', 'none'];

function scopes(call, command) {
  return (scope) => {
    text(`api.accessToken.${call}: the scope`, scope);
    if (/[^\x21\x23-\x5B\x5D-\x7E]/.test(scope)) throw new TypeError(`api.accessToken.${call}: "${scope}" is not one scope`);
    command(`accessToken.${call}`, scope);
  };
}

function authentication() {
  return {
    ...all('api.authentication', ['challengeWith', 'challengeWithAny', 'enrollWith', 'enrollWithAny'], MFA),
    setPrimaryUser: missing('api.authentication.setPrimaryUser', 'linked accounts'),
    recordMethod: missing('api.authentication.recordMethod', 'methods of authentication of an Action\'s own'),
  };
}

function multifactor() {
  const refused = missing('api.multifactor.enable', MFA);
  return {
    enable(provider, given) {
      if (!providers.includes(provider)) throw new TypeError(`api.multifactor.enable: the provider must be one of ${providers.join(', ')}, not ${typeof provider === 'string' ? `"${provider}"` : kind(provider)}`);
      options('api.multifactor.enable: the options', given);
      // No second factor is what everybody gets.
      if (provider !== 'none') refused();
    },
  };
}

function refreshToken(event, command) {
  const instants = (call) => (at) => command(`refreshToken.${call}`, milliseconds(`api.refreshToken.${call}: the instant`, at));
  return {
    revoke(reason) {
      if (reason !== undefined) text('api.refreshToken.revoke: the reason', reason);
      if (event.transaction?.protocol !== 'oauth2-refresh-token') {
        throw new Error('api.refreshToken.revoke: this flow has no refresh token to revoke (event.transaction.protocol is not "oauth2-refresh-token")');
      }
      command('refreshToken.revoke', reason ?? null);
    },
    setExpiresAt: instants('setExpiresAt'),
    setIdleExpiresAt: instants('setIdleExpiresAt'),
    ...entries('refreshToken', event.refresh_token?.metadata, command),
  };
}

function session(event, command) {
  const instants = (call) => (at) => command(`session.${call}`, milliseconds(`api.session.${call}: the instant`, at));
  return {
    revoke(reason, given) {
      if (reason !== undefined) text('api.session.revoke: the reason', reason);
      const { preserveRefreshTokens = false } = options('api.session.revoke: the options', given);
      if (typeof preserveRefreshTokens !== 'boolean') throw new TypeError('api.session.revoke: preserveRefreshTokens must be a boolean');
      command('session.revoke', reason ?? null, { preserveRefreshTokens });
    },
    setExpiresAt: instants('setExpiresAt'),
    setIdleExpiresAt: instants('setIdleExpiresAt'),
    setCookieMode(mode) {
      if (mode !== 'persistent' && mode !== 'non-persistent') throw new TypeError('api.session.setCookieMode: the mode must be "persistent" or "non-persistent"');
      command('session.setCookieMode', mode);
    },
    ...entries('session', event.session?.metadata, command),
  };
}

exports.build = ({ event, command }) => later({
  access: {
    deny(reason) { command('access.deny', text('api.access.deny: the reason', reason)); },
  },
  accessToken: {
    setCustomClaim: setter('api.accessToken.setCustomClaim', command),
    addScope: scopes('addScope', command),
    removeScope: scopes('removeScope', command),
  },
  idToken: { setCustomClaim: setter('api.idToken.setCustomClaim', command) },
  multifactor: multifactor(),
  redirect: require('api/redirect').redirect(event, command),
  refreshToken: refreshToken(event, command),
  session: session(event, command),
  user: user(command),
  cache: require('api/cache').cache(),
  transaction: transaction(event, command),
  prompt: { render: missing('api.prompt.render', 'forms') },
  // There are no Rules, so none was executed.
  rules: { wasExecuted(rule) { text('api.rules.wasExecuted: the rule', rule); return false; } },
  validation: {
    error(code, message) {
      command('validation.error', text('api.validation.error: the code', code), text('api.validation.error: the message', message));
    },
  },
}, { authentication, samlResponse: () => all('api.samlResponse', saml, 'SAML') });
