'use strict';
// DOMException (WebIDL §3.14.1), where the engine does not bring its own.
const codes = {
  IndexSizeError: 1, HierarchyRequestError: 3, InvalidCharacterError: 5, NotFoundError: 8, NotSupportedError: 9,
  InvalidStateError: 11, SyntaxError: 12, InvalidModificationError: 13, NamespaceError: 14, InvalidAccessError: 15,
  SecurityError: 18, NetworkError: 19, AbortError: 20, URLMismatchError: 21, QuotaExceededError: 22, TimeoutError: 23,
  InvalidNodeTypeError: 24, DataCloneError: 25,
};

class DOMException extends Error {
  #name;

  constructor(message = '', options = 'Error') {
    const { name = 'Error', cause } = typeof options === 'object' && options !== null ? options : { name: options };
    super(`${message}`, cause === undefined ? undefined : { cause });
    this.#name = `${name}`;
  }

  get name() { return this.#name; }

  get code() { return codes[this.#name] ?? 0; }

  get [Symbol.toStringTag]() { return 'DOMException'; }
}

/** An error with one of Node's codes, as packages test them. */
function coded(Type, code, message) {
  const error = new Type(message);
  Object.defineProperty(error, 'code', { value: code, configurable: true, enumerable: true, writable: true });
  return error;
}

/** What is called and is not there says so by its name. */
function unsupported(what, instead) {
  const hint = instead ? ` ${instead}` : '';
  return coded(Error, 'ERR_FEATURE_UNAVAILABLE', `${what} is not available in Actions.${hint}`);
}

// The engine's own, where it has one: what is looked up here is not the getter that leads here.
const native = Object.getOwnPropertyDescriptor(globalThis, 'DOMException')?.value;

module.exports = { DOMException: native ?? DOMException, coded, unsupported };
