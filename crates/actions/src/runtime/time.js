'use strict';
// The Action's clock: the server's instant at the start of the execution, moved on with real time.

const { construct } = Reflect;
const Native = Date;

function Date_(...parts) {
  if (new.target === undefined) return new Native(host.now()).toString();
  return construct(Native, parts.length === 0 ? [host.now()] : parts, new.target);
}

Object.defineProperties(Date_, {
  name: { value: 'Date', configurable: true },
  length: { value: 7, configurable: true },
  prototype: { value: Native.prototype, writable: false, enumerable: false, configurable: false },
  now: { value: function now() { return Math_floor(host.now()); }, writable: true, enumerable: false, configurable: true },
  parse: { value: Native.parse, writable: true, enumerable: false, configurable: true },
  UTC: { value: Native.UTC, writable: true, enumerable: false, configurable: true },
});
Object.defineProperty(Native.prototype, 'constructor', { value: Date_, writable: true, enumerable: false, configurable: true });
Object.defineProperty(globalThis, 'Date', { value: Date_, writable: true, enumerable: false, configurable: true });

const Math_floor = Math.floor;

const performance = {
  now() { return host.elapsed(); },
  get timeOrigin() { return host.now() - host.elapsed(); },
  toJSON() { return { timeOrigin: this.timeOrigin }; },
};
Object.defineProperty(performance, Symbol.toStringTag, { value: 'Performance', configurable: true });
Object.defineProperty(globalThis, 'performance', { value: performance, writable: true, enumerable: true, configurable: true });
