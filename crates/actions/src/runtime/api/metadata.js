'use strict';
// The small metadata of sessions and refresh tokens, of transactions, and those of users.
const { text, json, kind, bytes } = require('api/check');
const { stringify } = JSON;

const ENTRIES_MAX = 25;
const CHARACTERS_MAX = 255;
const TOO_MUCH = `Metadata must not exceed ${ENTRIES_MAX} entries. Each key and value must be ≤ ${CHARACTERS_MAX} characters.`;

/** `setMetadata`, `deleteMetadata`, `evictMetadata` of `api.session` and `api.refreshToken`. */
function entries(name, held, command) {
  const failed = (why) => new Error(`Failed to set ${name === 'session' ? 'session' : 'refresh token'} metadata: ${why}`);
  const keys = new Set(Object.keys(held ?? {}));
  const keyOf = (call, key) => {
    text(`api.${name}.${call}: the key`, key);
    if (key.length > CHARACTERS_MAX) throw failed(TOO_MUCH);
    if (!/^[A-Za-z0-9_-]+$/.test(key)) throw failed(`the key "${key}" may have letters, digits, "_" and "-" only`);
    return key;
  };
  return {
    setMetadata(key, value) {
      keyOf('setMetadata', key);
      if (value === null) {
        keys.delete(key);
        command(`${name}.deleteMetadata`, key);
        return;
      }
      if (typeof value !== 'string') throw failed(`the value of "${key}" must be a string, not ${kind(value)}`);
      if (value.length > CHARACTERS_MAX || (!keys.has(key) && keys.size >= ENTRIES_MAX)) throw failed(TOO_MUCH);
      keys.add(key);
      command(`${name}.setMetadata`, key, value);
    },
    deleteMetadata(key) {
      keys.delete(keyOf('deleteMetadata', key));
      command(`${name}.deleteMetadata`, key);
    },
    evictMetadata() {
      keys.clear();
      command(`${name}.evictMetadata`);
    },
  };
}

const KEY_MAX = 64;
const VALUE_MAX = 8 * 1024;
const TOTAL_MAX = 16 * 1024;

/** `api.transaction.setMetadata`: what it sets is in `event.transaction.metadata` at once. */
function transaction(event, command) {
  return {
    setMetadata(key, value) {
      text('api.transaction.setMetadata: the key', key, KEY_MAX);
      if (!['string', 'number', 'boolean'].includes(typeof value)) {
        throw new TypeError(`api.transaction.setMetadata: the value must be a string, a number or a boolean, not ${kind(value)}`);
      }
      if (bytes(`${value}`) > VALUE_MAX) throw new RangeError(`api.transaction.setMetadata: a value may be ${VALUE_MAX / 1024} KB`);
      event.transaction ??= {};
      const after = { ...event.transaction.metadata, [key]: value };
      const total = Object.keys(after).reduce((sum, name) => sum + bytes(name) + bytes(`${after[name]}`), 0);
      if (total > TOTAL_MAX) throw new RangeError(`api.transaction.setMetadata: the metadata of a transaction may be ${TOTAL_MAX / 1024} KB in all`);
      event.transaction.metadata = after;
      command('transaction.setMetadata', key, value);
    },
  };
}

const USER_BYTES_MAX = 32 * 1024;

/** `setAppMetadata` and `setUserMetadata`: written after the Actions, key by key; `null` removes a key. */
function user(command) {
  const setter = (call) => {
    const sizes = new Map();
    return (key, value) => {
      text(`api.user.${call}: the key`, key);
      if (value !== undefined && value !== null) json(`api.user.${call}: the value of "${key}"`, value);
      const before = sizes.get(key);
      sizes.set(key, bytes(stringify(key)) + bytes(stringify(value ?? null)) + 2);
      let total = 0;
      for (const size of sizes.values()) total += size;
      if (total > USER_BYTES_MAX) {
        if (before === undefined) sizes.delete(key); else sizes.set(key, before);
        throw new RangeError(`api.user.${call}: with "${key}" it is more than the ${USER_BYTES_MAX / 1024} KB that may be set in all`);
      }
      command(`user.${call}`, key, value ?? null);
    };
  };
  return { setAppMetadata: setter('setAppMetadata'), setUserMetadata: setter('setUserMetadata') };
}

module.exports = { entries, transaction, user };
