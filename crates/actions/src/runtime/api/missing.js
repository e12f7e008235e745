'use strict';
// Parts of Auth0's `api` whose feature the server does not have. To do nothing would look like having done it.
const { coded } = require('web/errors');
const { defineProperty, keys } = Object;

/** A function that says which feature is missing. */
function missing(call, feature) {
  return function refused() {
    throw coded(Error, 'ERR_FEATURE_UNAVAILABLE', `${call} is not available: this server does not support ${feature}`);
  };
}

/** An object of such functions. */
const all = (prefix, names, feature) => Object.fromEntries(names.map((name) => [name, missing(`${prefix}.${name}`, feature)]));

/** `object` with members that are made when they are first asked for: most Actions never do. */
function later(object, makers) {
  for (const name of keys(makers)) {
    const define = (value) => defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
    defineProperty(object, name, {
      enumerable: true,
      configurable: true,
      get() {
        const value = makers[name]();
        define(value);
        return value;
      },
      set: define,
    });
  }
  return object;
}

module.exports = { missing, all, later };
