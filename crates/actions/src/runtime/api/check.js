'use strict';
// What arguments may be. What is wrong is said where it is said, in the Action's own line.
const { stringify } = JSON;
const { isInteger } = Number;

function kind(value) {
  if (value === null || value === undefined) return `${value}`;
  return Array.isArray(value) ? 'an array' : `${/^[aeiou]/.test(typeof value) ? 'an' : 'a'} ${typeof value}`;
}

function text(what, value, most) {
  if (typeof value !== 'string') throw new TypeError(`${what} must be a string, not ${kind(value)}`);
  if (value === '') throw new TypeError(`${what} must not be empty`);
  if (most !== undefined && value.length > most) throw new RangeError(`${what} must not be longer than ${most} characters`);
  return value;
}

/** What can be JSON, as it would come out of it. */
function json(what, value) {
  let written;
  try {
    written = stringify(value);
  } catch (error) {
    throw new TypeError(`${what} cannot be written as JSON: ${error?.message ?? error}`);
  }
  if (written === undefined) throw new TypeError(`${what} cannot be written as JSON: it is ${kind(value)}`);
  return value;
}

/** An instant. Seconds are the usual mistake, and would mean a day in January 1970. */
function milliseconds(what, value) {
  if (!isInteger(value)) throw new TypeError(`${what} must be an integer: milliseconds since 1970, as Date.now() gives them`);
  if (value <= 0) throw new RangeError(`${what} must be after 1970`);
  if (value < 1e11) throw new RangeError(`${what} must be given in milliseconds since 1970; ${value} looks like seconds`);
  if (value > 8.64e15) throw new RangeError(`${what} is further away than dates go`);
  return value;
}

/** An object of options, or none. */
function options(what, value) {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError(`${what} must be an object`);
  return value;
}

/** How many bytes a text has where it is kept. */
const bytes = (value) => require('web/encoding').encode(value).length;

module.exports = { text, json, milliseconds, options, kind, bytes };
