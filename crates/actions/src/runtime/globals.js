'use strict';
// The globals that an Action finds. Each is made when it is first touched: most Actions need few of them.
const { defineProperty, getOwnPropertyDescriptor } = Object;

function define(name, value) {
  defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
}

function lazily(name, file, whole = false) {
  defineProperty(globalThis, name, {
    enumerable: false,
    configurable: true,
    get() {
      const value = whole ? require(file) : require(file)[name];
      define(name, value);
      return value;
    },
    set(value) { define(name, value); },
  });
}

const files = {
  'web/console': ['console'],
  'web/timers': ['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'clearImmediate'],
  'web/url': ['URL', 'URLSearchParams'],
  'web/encoding': ['TextEncoder', 'TextDecoder', 'atob', 'btoa'],
  'web/events': ['Event', 'CustomEvent', 'EventTarget', 'AbortSignal', 'AbortController'],
  'web/fetch': ['fetch', 'Headers', 'Request', 'Response'],
  'web/body': ['Blob', 'File', 'FormData'],
  'web/crypto': ['crypto', 'Crypto', 'SubtleCrypto', 'CryptoKey'],
  'web/clone': ['structuredClone'],
  'web/streams': [
    'ReadableStream', 'ReadableStreamDefaultReader', 'ReadableStreamDefaultController', 'WritableStream', 'WritableStreamDefaultWriter', 'TransformStream',
    'TextEncoderStream', 'TextDecoderStream', 'CountQueuingStrategy', 'ByteLengthQueuingStrategy',
  ],
  'node/buffer': ['Buffer'],
};
for (const file of Object.keys(files)) for (const name of files[file]) lazily(name, file);
lazily('process', 'node/process', true);
if (getOwnPropertyDescriptor(globalThis, 'DOMException') === undefined) lazily('DOMException', 'web/errors');

if (typeof globalThis.queueMicrotask !== 'function') {
  const resolved = Promise.resolve();
  const { then } = Promise.prototype;
  const { apply } = Reflect;
  define('queueMicrotask', function queueMicrotask(callback) {
    if (typeof callback !== 'function') throw new TypeError('The "callback" argument must be of type function');
    apply(then, resolved, [() => {
      try { callback(); } catch (error) { require('web/console').report(error); }
    }]);
  });
}
define('global', globalThis);

const resets = [];

/** Has something forgotten that belongs to one execution, before the next one begins. */
exports.eachTime = (reset) => { resets[resets.length] = reset; };
exports.begin = () => { for (let at = 0; at < resets.length; at += 1) resets[at](); };
