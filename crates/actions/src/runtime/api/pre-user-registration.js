'use strict';
// `api` of pre-user-registration.
const { text } = require('api/check');
const { transaction, user } = require('api/metadata');

exports.build = ({ event, command }) => ({
  access: {
    deny(reason, userMessage) {
      text('api.access.deny: the reason', reason);
      if (userMessage !== undefined) text('api.access.deny: the message for the user', userMessage);
      command('access.deny', reason, userMessage ?? null);
    },
  },
  user: user(command),
  validation: {
    error(code, message) {
      command('validation.error', text('api.validation.error: the code', code), text('api.validation.error: the message', message));
    },
  },
  cache: require('api/cache').cache(),
  transaction: transaction(event, command),
});
