'use strict';
// Events of the DOM standard, without a tree: Event, CustomEvent, EventTarget, AbortController, AbortSignal.
const { DOMException } = require('web/errors');

class Event {
  #type; #cancelable; #bubbles; #canceled = false; #target = null;

  constructor(type, options) {
    if (arguments.length === 0) throw new TypeError('Event: a type is required');
    this.#type = `${type}`;
    this.#bubbles = !!options?.bubbles;
    this.#cancelable = !!options?.cancelable;
    this.stopped = false;
    Object.defineProperty(this, 'stopped', { enumerable: false });
  }

  static aim(event, target) { event.#target = target; }

  get type() { return this.#type; }
  get target() { return this.#target; }
  get currentTarget() { return this.#target; }
  get bubbles() { return this.#bubbles; }
  get cancelable() { return this.#cancelable; }
  get defaultPrevented() { return this.#canceled; }
  get isTrusted() { return false; }
  get timeStamp() { return 0; }
  preventDefault() { if (this.#cancelable) this.#canceled = true; }
  stopPropagation() {}
  stopImmediatePropagation() { this.stopped = true; }
}
const aim = Event.aim;
delete Event.aim;

class CustomEvent extends Event {
  #detail;
  constructor(type, options) { super(type, options); this.#detail = options?.detail ?? null; }
  get detail() { return this.#detail; }
}

class EventTarget {
  #listeners = new Map();

  addEventListener(type, callback, options) {
    if (callback === null || callback === undefined) return;
    const { once = false, signal } = typeof options === 'object' && options !== null ? options : {};
    if (signal?.aborted) return;
    let list = this.#listeners.get(`${type}`);
    if (!list) this.#listeners.set(`${type}`, list = []);
    if (list.some((listener) => listener.callback === callback)) return;
    list.push({ callback, once });
    signal?.addEventListener('abort', () => this.removeEventListener(type, callback), { once: true });
  }

  removeEventListener(type, callback) {
    const list = this.#listeners.get(`${type}`);
    const at = list ? list.findIndex((listener) => listener.callback === callback) : -1;
    if (at >= 0) this.#listeners.set(`${type}`, list.toSpliced(at, 1));
  }

  dispatchEvent(event) {
    aim(event, this);
    const handler = this[`on${event.type}`];
    const list = this.#listeners.get(event.type) ?? [];
    const all = typeof handler === 'function' ? [{ callback: handler, once: false }, ...list] : list;
    for (const { callback, once } of all) {
      if (once) this.removeEventListener(event.type, callback);
      try {
        if (typeof callback === 'function') callback.call(this, event);
        else callback.handleEvent(event);
      } catch (error) {
        // A listener's failure is nobody else's; it is reported as the standard says.
        require('web/console').report(error);
      }
      if (event.stopped) break;
    }
    return !event.defaultPrevented;
  }
}

const token = {};

class AbortSignal extends EventTarget {
  #aborted = false; #reason = undefined;
  onabort = null;

  constructor(key) {
    super();
    if (key !== token) throw new TypeError('Illegal constructor');
    Object.defineProperty(this, 'onabort', { enumerable: false });
  }

  static fire(signal, reason) {
    if (signal.#aborted) return;
    signal.#aborted = true;
    signal.#reason = reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : reason;
    signal.dispatchEvent(new Event('abort'));
  }

  static abort(reason) {
    const signal = new AbortSignal(token);
    fire(signal, reason);
    return signal;
  }

  static timeout(milliseconds) {
    const signal = new AbortSignal(token);
    require('web/timers').setTimeout(() => {
      fire(signal, new DOMException('The operation was aborted due to timeout', 'TimeoutError'));
    }, milliseconds);
    return signal;
  }

  static any(signals) {
    const signal = new AbortSignal(token);
    for (const other of signals) {
      if (other.aborted) { fire(signal, other.reason); break; }
      other.addEventListener('abort', () => fire(signal, other.reason), { once: true });
    }
    return signal;
  }

  get aborted() { return this.#aborted; }
  get reason() { return this.#reason; }
  throwIfAborted() { if (this.#aborted) throw this.#reason; }
  get [Symbol.toStringTag]() { return 'AbortSignal'; }
}
const fire = AbortSignal.fire;
delete AbortSignal.fire;

class AbortController {
  #signal = new AbortSignal(token);
  get signal() { return this.#signal; }
  abort(reason) { fire(this.#signal, reason); }
  get [Symbol.toStringTag]() { return 'AbortController'; }
}

module.exports = { Event, CustomEvent, EventTarget, AbortSignal, AbortController };
