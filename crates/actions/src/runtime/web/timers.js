'use strict';
// Timers: objects like Node's, which packages `unref`. The host calls back at the time; nothing outlives an execution.
const { coded } = require('web/errors');
const { apply } = Reflect;

// By the numbers that timers turn into, for code that keeps the number.
const pending = new Map();

class Timeout {
  #id; #delay; #repeats; #run;

  constructor(callback, milliseconds, repeats, values) {
    if (typeof callback !== 'function') {
      throw coded(TypeError, 'ERR_INVALID_ARG_TYPE', 'The "callback" argument must be of type function');
    }
    this.#delay = Number(milliseconds);
    this.#repeats = repeats;
    this.#run = () => {
      if (!repeats) pending.delete(this.#id);
      apply(callback, this, values);
    };
    this.#start();
  }

  #start() {
    this.#id = host.setTimer(this.#run, this.#delay, this.#repeats);
    pending.set(this.#id, this);
  }

  ref() { return this; }
  unref() { return this; }
  hasRef() { return true; }
  refresh() {
    this.close();
    this.#start();
    return this;
  }
  close() {
    host.clearTimer(this.#id);
    pending.delete(this.#id);
    return this;
  }
  [Symbol.toPrimitive]() { return this.#id; }
}

const setTimeout = (callback, milliseconds, ...values) => new Timeout(callback, milliseconds, false, values);
const setInterval = (callback, milliseconds, ...values) => new Timeout(callback, milliseconds, true, values);
const setImmediate = (callback, ...values) => new Timeout(callback, 0, false, values);
function clearTimeout(timer) {
  const found = timer instanceof Timeout ? timer : pending.get(Number(timer));
  found?.close();
}

// The host has forgotten them as well.
require('globals').eachTime(() => pending.clear());

module.exports = {
  setTimeout, setInterval, setImmediate,
  clearTimeout, clearInterval: clearTimeout, clearImmediate: clearTimeout,
};
