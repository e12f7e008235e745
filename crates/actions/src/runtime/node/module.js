'use strict';
// Node's `module`: which modules are built in, and a `require` for ECMAScript modules.
const { unsupported } = require('web/errors');

function createRequire(from) {
  const { createRequire: make } = require('loader');
  return make(`${from}`.replace(/^file:\/+/, ''));
}

const refuse = (name) => () => { throw unsupported(`module.${name}`); };
module.exports = {
  createRequire,
  get builtinModules() { return [...require('loader').builtins]; },
  isBuiltin: (name) => require('loader').isBuiltin(`${name}`),
  register: refuse('register'), findPackageJSON: refuse('findPackageJSON'), syncBuiltinESMExports() {},
};
module.exports.Module = module.exports;
