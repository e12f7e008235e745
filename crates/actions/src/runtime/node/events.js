'use strict';
// EventEmitter, `once` and `on` (Node's `events`).
const { coded } = require('web/errors');

const LISTENERS_MAX = 10;
const errorMonitor = Symbol('events.errorMonitor');
const captureRejectionSymbol = Symbol.for('nodejs.rejection');

function EventEmitter(options) { EventEmitter.init.call(this, options); }
EventEmitter.prototype._events = undefined;
EventEmitter.prototype._eventsCount = 0;
EventEmitter.prototype._maxListeners = undefined;

EventEmitter.init = function init() {
  if (this._events === undefined || this._events === Object.getPrototypeOf(this)._events) {
    this._events = Object.create(null);
    this._eventsCount = 0;
  }
};

function listOf(emitter, name) {
  if (emitter._events === undefined) EventEmitter.init.call(emitter);
  const held = emitter._events[name];
  return held === undefined ? [] : typeof held === 'function' ? [held] : held;
}

function check(listener) {
  if (typeof listener !== 'function') {
    throw coded(TypeError, 'ERR_INVALID_ARG_TYPE', `The "listener" argument must be of type function. Received ${listener === null ? 'null' : typeof listener}`);
  }
}

function add(emitter, name, listener, first) {
  check(listener);
  const list = listOf(emitter, name);
  if (emitter._events.newListener !== undefined) emitter.emit('newListener', name, listener.listener ?? listener);
  if (list.length === 0) emitter._eventsCount += 1;
  const now = listOf(emitter, name);
  emitter._events[name] = first ? [listener, ...now] : [...now, listener];
  return emitter;
}

function wrapOnce(emitter, name, listener) {
  check(listener);
  const wrapper = function (...values) {
    emitter.removeListener(name, wrapper);
    return listener.apply(emitter, values);
  };
  wrapper.listener = listener;
  return wrapper;
}

const methods = {
  setMaxListeners(count) { this._maxListeners = count; return this; },
  getMaxListeners() { return this._maxListeners ?? EventEmitter.defaultMaxListeners; },

  emit(name, ...values) {
    const list = listOf(this, name);
    if (name === 'error') {
      for (const listener of listOf(this, errorMonitor)) listener.apply(this, values);
      if (list.length === 0) {
        const [error] = values;
        if (error instanceof Error) throw error;
        const thrown = coded(Error, 'ERR_UNHANDLED_ERROR', `Unhandled error. (${String(error)})`);
        thrown.context = error;
        throw thrown;
      }
    }
    for (const listener of list) listener.apply(this, values);
    return list.length > 0;
  },

  addListener(name, listener) { return add(this, name, listener, false); },
  prependListener(name, listener) { return add(this, name, listener, true); },
  once(name, listener) { return this.on(name, wrapOnce(this, name, listener)); },
  prependOnceListener(name, listener) { return this.prependListener(name, wrapOnce(this, name, listener)); },

  removeListener(name, listener) {
    check(listener);
    const list = listOf(this, name);
    const at = list.findLastIndex((own) => own === listener || own.listener === listener);
    if (at < 0) return this;
    const left = list.toSpliced(at, 1);
    if (left.length === 0) {
      delete this._events[name];
      this._eventsCount -= 1;
    } else {
      this._events[name] = left;
    }
    if (this._events.removeListener !== undefined) this.emit('removeListener', name, listener);
    return this;
  },

  removeAllListeners(name) {
    if (this._events === undefined) return this;
    if (name === undefined) {
      this._events = Object.create(null);
      this._eventsCount = 0;
    } else if (this._events[name] !== undefined) {
      delete this._events[name];
      this._eventsCount -= 1;
    }
    return this;
  },

  listeners(name) { return listOf(this, name).map((listener) => listener.listener ?? listener); },
  rawListeners(name) { return [...listOf(this, name)]; },
  listenerCount(name, listener) {
    const list = listOf(this, name);
    return listener ? list.filter((own) => own === listener || own.listener === listener).length : list.length;
  },
  eventNames() { return this._events === undefined ? [] : Reflect.ownKeys(this._events); },
};
methods.on = methods.addListener;
methods.off = methods.removeListener;
for (const [name, value] of Object.entries(methods)) {
  Object.defineProperty(EventEmitter.prototype, name, { value, configurable: true, enumerable: true, writable: true });
}

function once(emitter, name, options) {
  return new Promise((resolve, reject) => {
    const { signal } = options ?? {};
    if (signal?.aborted) { reject(signal.reason); return; }
    const stop = () => reject(signal.reason);
    signal?.addEventListener('abort', stop, { once: true });
    if (typeof emitter.addEventListener === 'function') {
      emitter.addEventListener(name, (event) => resolve([event]), { once: true });
      return;
    }
    const fail = (error) => { emitter.removeListener(name, done); reject(error); };
    const done = (...values) => {
      emitter.removeListener('error', fail);
      signal?.removeEventListener('abort', stop);
      resolve(values);
    };
    emitter.once(name, done);
    if (name !== 'error') emitter.once('error', fail);
  });
}

function on(emitter, name, options) {
  const held = [];
  const waiting = [];
  let over = false;
  let failure;
  const push = (...values) => {
    if (waiting.length > 0) waiting.shift().resolve({ value: values, done: false });
    else held.push(values);
  };
  const fail = (error) => {
    failure = { error };
    if (waiting.length > 0) waiting.shift().reject(error);
  };
  const finish = () => {
    over = true;
    emitter.removeListener(name, push);
    emitter.removeListener('error', fail);
    for (const wait of waiting.splice(0)) wait.resolve({ value: undefined, done: true });
    return Promise.resolve({ value: undefined, done: true });
  };
  emitter.on(name, push);
  if (name !== 'error') emitter.on('error', fail);
  options?.signal?.addEventListener('abort', () => fail(options.signal.reason), { once: true });
  return {
    next() {
      if (held.length > 0) return Promise.resolve({ value: held.shift(), done: false });
      if (failure) { const { error } = failure; failure = undefined; finish(); return Promise.reject(error); }
      if (over) return Promise.resolve({ value: undefined, done: true });
      const wait = Promise.withResolvers();
      waiting.push(wait);
      return wait.promise;
    },
    return: finish,
    throw(error) { fail(error); return finish(); },
    [Symbol.asyncIterator]() { return this; },
  };
}

Object.assign(EventEmitter, {
  EventEmitter, once, on, errorMonitor, captureRejectionSymbol, captureRejections: false,
  defaultMaxListeners: LISTENERS_MAX, usingDomains: false,
  listenerCount: (emitter, name) => emitter.listenerCount(name),
  getEventListeners: (emitter, name) => emitter.listeners?.(name) ?? [],
  getMaxListeners: (emitter) => emitter.getMaxListeners?.() ?? LISTENERS_MAX,
  setMaxListeners: (count, ...emitters) => { for (const emitter of emitters) emitter.setMaxListeners?.(count); },
  addAbortListener(signal, listener) {
    signal.addEventListener('abort', listener, { once: true });
    return { [Symbol.dispose ?? Symbol.for('nodejs.dispose')]() { signal.removeEventListener('abort', listener); } };
  },
});
Object.defineProperty(EventEmitter, 'EventEmitterAsyncResource', { get() { throw require('web/errors').unsupported('EventEmitterAsyncResource'); }, configurable: true });

module.exports = EventEmitter;
