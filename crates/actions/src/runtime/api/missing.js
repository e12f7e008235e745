'use strict';
// Parts of Auth0's `api` whose feature the server does not have. To do nothing would look like having done it.
const { coded } = require('web/errors');

/** A function that says which feature is missing. */
function missing(call, feature) {
  return function refused() {
    throw coded(Error, 'ERR_FEATURE_UNAVAILABLE', `${call} is not available: this server does not support ${feature}`);
  };
}

/** An object of such functions. */
const all = (prefix, names, feature) => Object.fromEntries(names.map((name) => [name, missing(`${prefix}.${name}`, feature)]));

module.exports = { missing, all };
