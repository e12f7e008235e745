'use strict';
// The globals that an Action finds.

function define(name, value) {
  Object.defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
}

const { apply } = Reflect;
const { stringify } = JSON;
const toText = String;

function shown(value) {
  if (typeof value === 'string') return value;
  if (typeof value === 'object' && value !== null && !(value instanceof Error)) {
    try {
      const text = stringify(value);
      if (text !== undefined) return text;
    } catch {
      return '[object]';
    }
  }
  return toText(value);
}

const console = {};
for (const level of ['debug', 'log', 'info', 'warn', 'error']) {
  console[level] = function (...values) {
    let text = '';
    for (let i = 0; i < values.length; i++) text += (i === 0 ? '' : ' ') + shown(values[i]);
    host.log(level, text);
  };
}
console.trace = console.debug;
define('console', console);

function timer(repeats) {
  return function (callback, delay, ...args) {
    if (typeof callback !== 'function') throw new TypeError('The "callback" argument must be of type function.');
    return host.setTimer(() => apply(callback, undefined, args), Number(delay), repeats);
  };
}
define('setTimeout', timer(false));
define('setInterval', timer(true));
define('clearTimeout', (id) => { if (typeof id === 'number') host.clearTimer(id); });
define('clearInterval', (id) => { if (typeof id === 'number') host.clearTimer(id); });
define('global', globalThis);
