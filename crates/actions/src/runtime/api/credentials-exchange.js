'use strict';
// `api` of credentials-exchange.
const { text, kind } = require('api/check');
const { transaction } = require('api/metadata');

const codes = ['invalid_scope', 'invalid_request', 'server_error'];

exports.build = ({ event, command }) => ({
  access: {
    deny(code, reason) {
      if (!codes.includes(code)) {
        throw new TypeError(`api.access.deny: the code must be one of ${codes.join(', ')}, not ${typeof code === 'string' ? `"${code}"` : kind(code)}`);
      }
      command('access.deny', code, text('api.access.deny: the reason', reason));
    },
  },
  accessToken: { setCustomClaim: require('api/claims').setter('api.accessToken.setCustomClaim', command) },
  cache: require('api/cache').cache(),
  transaction: transaction(event, command),
});
