'use strict';
// Deep equality, for `assert` and `util.isDeepStrictEqual`.
function equal(one, other, strict, seen = []) {
  if (strict ? Object.is(one, other) : one == other || (Number.isNaN(one) && Number.isNaN(other))) return true; // eslint-disable-line eqeqeq
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  if (strict && Object.getPrototypeOf(one) !== Object.getPrototypeOf(other)) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  if (one instanceof Date || other instanceof Date) {
    if (!(one instanceof Date && other instanceof Date && one.getTime() === other.getTime())) return false;
  }
  if (one instanceof RegExp || other instanceof RegExp) {
    if (!(one instanceof RegExp && other instanceof RegExp && String(one) === String(other))) return false;
  }
  if (one instanceof Error && (!(other instanceof Error) || one.message !== other.message || one.name !== other.name)) return false;
  for (const Type of [Number, String, Boolean, BigInt, Symbol]) {
    if (one instanceof Type && (!(other instanceof Type) || !Object.is(one.valueOf(), other.valueOf()))) return false;
  }
  if (seen.some(([left, right]) => left === one && right === other)) return true;
  const now = [...seen, [one, other]];
  const same = (left, right) => equal(left, right, strict, now);
  if (ArrayBuffer.isView(one) || one instanceof ArrayBuffer) {
    const { bytesOf } = require('web/encoding');
    if (!(ArrayBuffer.isView(other) || other instanceof ArrayBuffer)) return false;
    const [left, right] = [bytesOf(one), bytesOf(other)];
    return left.length === right.length && left.every((byte, at) => byte === right[at]);
  }
  if (one instanceof Map || one instanceof Set) {
    if (!(other instanceof one.constructor) || one.size !== other.size) return false;
    const rest = [...other];
    for (const entry of one) {
      const at = rest.findIndex((candidate) => same(entry, candidate));
      if (at < 0) return false;
      rest.splice(at, 1);
    }
  }
  const keysOf = (value) => Reflect.ownKeys(value).filter((key) => Object.prototype.propertyIsEnumerable.call(value, key));
  const keys = keysOf(one);
  if (keys.length !== keysOf(other).length) return false;
  return keys.every((key) => Object.prototype.propertyIsEnumerable.call(other, key) && same(one[key], other[key]));
}

module.exports = { equal };
