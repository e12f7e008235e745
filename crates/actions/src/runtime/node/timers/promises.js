'use strict';
// Node's `timers/promises`.
const timers = require('web/timers');

function wait(start, value, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) { reject(signal.reason); return; }
    const timer = start(() => resolve(value));
    signal?.addEventListener('abort', () => { timer.close(); reject(signal.reason); }, { once: true });
  });
}

const setTimeout = (milliseconds, value, options) => wait((done) => timers.setTimeout(done, milliseconds), value, options?.signal);
const setImmediate = (value, options) => wait(timers.setImmediate, value, options?.signal);
async function* setInterval(milliseconds, value, options) {
  for (;;) yield await setTimeout(milliseconds, value, options);
}

module.exports = { setTimeout, setImmediate, setInterval, scheduler: { wait: (milliseconds, options) => setTimeout(milliseconds, undefined, options), yield: () => setImmediate() } };
