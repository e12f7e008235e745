'use strict';
// `api` of post-change-password.
const { missing } = require('api/missing');

exports.build = () => ({
  cache: require('api/cache').cache(),
  transaction: { setResultUrl: missing('api.transaction.setResultUrl', 'an address to go to after a change of password') },
});
