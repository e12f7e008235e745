'use strict';
// `api.cache`: strings that outlive the execution, kept by the server for the trigger.
const { text, options, kind } = require('api/check');
const { isFinite } = Number;

const result = (answer) => (answer?.code === undefined ? { type: 'success', record: answer } : { type: 'error', code: answer.code });

/** A number of milliseconds that may be left out. */
function optional(what, value) {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !isFinite(value)) throw new TypeError(`${what} must be a number of milliseconds, not ${kind(value)}`);
  return Math.trunc(value);
}

module.exports = {
  cache: () => ({
    get(key) {
      const answer = host.cache('get', text('api.cache.get: the key', key));
      return answer?.code === undefined ? answer : undefined;
    },
    set(key, value, given) {
      text('api.cache.set: the key', key);
      if (typeof value !== 'string') throw new TypeError(`api.cache.set: the value must be a string, not ${kind(value)}. Use JSON.stringify`);
      const { ttl, expires_at } = options('api.cache.set: the options', given);
      return result(host.cache('set', key, value, optional('api.cache.set: ttl', ttl), optional('api.cache.set: expires_at', expires_at)));
    },
    delete(key) { return result(host.cache('delete', text('api.cache.delete: the key', key))); },
  }),
};
