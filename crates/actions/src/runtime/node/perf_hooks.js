'use strict';
// Node's `perf_hooks`: the clock of `performance`.
const { unsupported } = require('web/errors');
const refuse = (name) => class { constructor() { throw unsupported(`perf_hooks.${name}`); } };
module.exports = {
  performance: globalThis.performance, constants: {},
  PerformanceObserver: refuse('PerformanceObserver'), PerformanceEntry: refuse('PerformanceEntry'),
  monitorEventLoopDelay() { throw unsupported('perf_hooks.monitorEventLoopDelay'); },
};
