'use strict';
// structuredClone (HTML §2.7): values, collections, buffers and errors; functions and what is live cannot be cloned.
const { DOMException } = require('web/errors');

const refuse = (value) => {
  let what = typeof value;
  try { what = String(value); } catch { /* What has no text is named by its type. */ }
  throw new DOMException(`${what} could not be cloned.`, 'DataCloneError');
};

function structuredClone(value, options) {
  const seen = new Map();
  const clone = (from) => {
    if (typeof from === 'function' || typeof from === 'symbol') refuse(from);
    if (typeof from !== 'object' || from === null) return from;
    if (seen.has(from)) return seen.get(from);
    const keep = (made) => { seen.set(from, made); return made; };
    if (Array.isArray(from)) {
      const list = keep(new Array(from.length));
      for (const key of Object.keys(from)) list[key] = clone(from[key]);
      return list;
    }
    if (from instanceof Date) return keep(new Date(from.getTime()));
    if (from instanceof RegExp) return keep(new RegExp(from.source, from.flags));
    if (from instanceof Map) {
      const map = keep(new Map());
      for (const [key, held] of [...from]) map.set(clone(key), clone(held));
      return map;
    }
    if (from instanceof Set) {
      const set = keep(new Set());
      for (const held of [...from]) set.add(clone(held));
      return set;
    }
    if (from instanceof ArrayBuffer) {
      if (options?.transfer?.includes(from) && typeof from.transfer === 'function') return keep(from.transfer());
      return keep(from.slice(0));
    }
    if (ArrayBuffer.isView(from)) {
      const Type = from instanceof DataView ? DataView : globalThis[from[Symbol.toStringTag]] ?? Uint8Array;
      return keep(new Type(clone(from.buffer), from.byteOffset, from instanceof DataView ? from.byteLength : from.length));
    }
    if (from instanceof Error) {
      const Type = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError }[from.name] ?? Error;
      const error = keep(new Type(from.message));
      Object.defineProperty(error, 'stack', { value: `${from.stack}`, configurable: true, writable: true });
      if ('cause' in from) error.cause = clone(from.cause);
      return error;
    }
    if (from instanceof Boolean || from instanceof Number || from instanceof String || from instanceof BigInt) return keep(Object(from.valueOf()));
    if (from instanceof Promise || from instanceof WeakMap || from instanceof WeakSet || from instanceof WeakRef) refuse(from);
    const { File, Blob } = require('web/body');
    if (from instanceof File || from instanceof Blob) return keep(from);
    const made = keep({});
    for (const key of Object.keys(from)) made[key] = clone(from[key]);
    return made;
  };
  return clone(value);
}

module.exports = { structuredClone };
