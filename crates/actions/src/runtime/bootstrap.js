'use strict';
// The first file: loads the others, and runs the Action's function.

const { apply } = Reflect;
const loaded = { __proto__: null };

function require(name) {
  let module = loaded[name];
  if (module === undefined) {
    module = loaded[name] = { __proto__: null, exports: {} };
    apply(host.runtime(name), undefined, [module.exports, require, module, host]);
  }
  return module.exports;
}

require('time');
const { begin } = require('globals');
const { main } = require('loader');
const { build } = require('api/index');

module.exports = async function run(record) {
  begin();
  const action = main();
  const called = action === null || action === undefined ? undefined : action[record.function];
  if (typeof called !== 'function') {
    host.missing();
    throw new TypeError(`${record.function} is not exported`);
  }
  const { event, api } = build(record);
  await apply(called, action, [event, api]);
};
