'use strict';
// Node's `timers`.
const timers = require('web/timers');
module.exports = {
  setTimeout: timers.setTimeout, setInterval: timers.setInterval, setImmediate: timers.setImmediate,
  clearTimeout: timers.clearTimeout, clearInterval: timers.clearInterval, clearImmediate: timers.clearImmediate,
  get promises() { return require('node/timers/promises'); },
};
