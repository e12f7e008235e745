'use strict';
// Node's `async_hooks`: the engine has no hook of promises, so a store could not follow an `await`. It is refused.
const { unsupported } = require('web/errors');

class AsyncLocalStorage {
  run() { throw unsupported('AsyncLocalStorage.run', 'Hand the value on as an argument.'); }
  enterWith() { throw unsupported('AsyncLocalStorage.enterWith', 'Hand the value on as an argument.'); }
  exit(callback, ...values) { return callback(...values); }
  getStore() { return undefined; }
  disable() {}
  static bind(run) { return run; }
  static snapshot() { return (run, ...values) => run(...values); }
}

class AsyncResource {
  constructor(type) { this.type = type; }
  runInAsyncScope(run, self, ...values) { return run.apply(self, values); }
  emitDestroy() { return this; }
  asyncId() { return 1; }
  triggerAsyncId() { return 0; }
  bind(run) { return run; }
  static bind(run) { return run; }
}

module.exports = {
  AsyncLocalStorage, AsyncResource, executionAsyncId: () => 1, triggerAsyncId: () => 0, executionAsyncResource: () => ({}),
  createHook() { throw unsupported('async_hooks.createHook'); },
};
