'use strict';
// URL and URLSearchParams (URL Standard). Parsing and setting is the host's; this keeps the objects around it.
const { coded } = require('web/errors');

// In the order in which the host answers.
const HREF = 0; const PROTOCOL = 1; const USERNAME = 2; const PASSWORD = 3; const HOST = 4; const HOSTNAME = 5;
const PORT = 6; const PATHNAME = 7; const SEARCH = 8; const HASH = 9; const ORIGIN = 10;

const hex = '0123456789ABCDEF';

function decodeComponent(text) {
  const plain = text.replaceAll('+', ' ');
  if (!plain.includes('%')) return plain;
  const { encode, decode } = require('web/encoding');
  const bytes = encode(plain);
  const out = new Uint8Array(bytes.length);
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1, length += 1) {
    const pair = bytes[at] === 0x25 ? String.fromCharCode(bytes[at + 1] ?? 0, bytes[at + 2] ?? 0) : '';
    if (/^[0-9A-Fa-f]{2}$/.test(pair)) {
      out[length] = Number.parseInt(pair, 16);
      at += 2;
    } else {
      out[length] = bytes[at];
    }
  }
  return decode(out.subarray(0, length));
}

function encodeComponent(text) {
  if (/^[A-Za-z0-9*\-._]*$/.test(text)) return text;
  let out = '';
  for (const byte of require('web/encoding').encode(text)) {
    const character = String.fromCharCode(byte);
    if (character === ' ') out += '+';
    else if (/[A-Za-z0-9*\-._]/.test(character)) out += character;
    else out += `%${hex[byte >> 4]}${hex[byte & 15]}`;
  }
  return out;
}

class URLSearchParams {
  #list = []; #changed = undefined;

  constructor(init = '') {
    if (init === null || (typeof init !== 'object' && typeof init !== 'function')) {
      this.#list = parse(`${init}`.replace(/^\?/, ''));
    } else if (typeof init[Symbol.iterator] === 'function') {
      for (const pair of init) {
        const entry = [...pair];
        if (entry.length !== 2) {
          throw coded(TypeError, 'ERR_INVALID_TUPLE', 'Each query pair must be an iterable [name, value] tuple');
        }
        this.#list.push([`${entry[0]}`.toWellFormed(), `${entry[1]}`.toWellFormed()]);
      }
    } else {
      for (const name of Reflect.ownKeys(init)) {
        if (typeof name === 'symbol' || !Object.prototype.propertyIsEnumerable.call(init, name)) continue;
        this.#list.push([name.toWellFormed(), `${init[name]}`.toWellFormed()]);
      }
    }
  }

  /** Parameters that write back to the URL they belong to. */
  static bind(search, changed) {
    const params = new URLSearchParams(search);
    params.#changed = changed;
    return params;
  }

  static reset(params, search) { params.#list = parse(search.replace(/^\?/, '')); }

  #update() { this.#changed?.(this.toString()); }

  get size() { return this.#list.length; }
  append(name, value) { this.#list.push([`${name}`.toWellFormed(), `${value}`.toWellFormed()]); this.#update(); }
  delete(name, value) {
    this.#list = this.#list.filter(([own, held]) => own !== `${name}` || (value !== undefined && held !== `${value}`));
    this.#update();
  }
  get(name) { return this.#list.find(([own]) => own === `${name}`)?.[1] ?? null; }
  getAll(name) { return this.#list.filter(([own]) => own === `${name}`).map(([, value]) => value); }
  has(name, value) {
    return this.#list.some(([own, held]) => own === `${name}` && (value === undefined || held === `${value}`));
  }
  set(name, value) {
    const at = this.#list.findIndex(([own]) => own === `${name}`);
    if (at < 0) { this.append(name, value); return; }
    this.#list[at] = [`${name}`, `${value}`.toWellFormed()];
    this.#list = this.#list.filter(([own], place) => place <= at || own !== `${name}`);
    this.#update();
  }
  sort() {
    this.#list.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
    this.#update();
  }
  forEach(callback, self) { for (const [name, value] of this.#list) callback.call(self, value, name, this); }
  * entries() { for (const [name, value] of this.#list) yield [name, value]; }
  * keys() { for (const [name] of this.#list) yield name; }
  * values() { for (const [, value] of this.#list) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  toString() { return this.#list.map(([name, value]) => `${encodeComponent(name)}=${encodeComponent(value)}`).join('&'); }
  get [Symbol.toStringTag]() { return 'URLSearchParams'; }
}
const { bind, reset } = URLSearchParams;
delete URLSearchParams.bind;
delete URLSearchParams.reset;

function parse(text) {
  return text.split('&').filter((part) => part !== '').map((part) => {
    const at = part.indexOf('=');
    return at < 0 ? [decodeComponent(part), ''] : [decodeComponent(part.slice(0, at)), decodeComponent(part.slice(at + 1))];
  });
}

class URL {
  #parts; #params;

  constructor(url, base) {
    if (arguments.length === 0) throw coded(TypeError, 'ERR_MISSING_ARGS', 'The "url" argument must be specified');
    this.#parts = host.url.parse(`${url}`, base === undefined ? undefined : `${base}`);
    if (!this.#parts) {
      const error = coded(TypeError, 'ERR_INVALID_URL', 'Invalid URL');
      error.input = `${url}`;
      if (base !== undefined) error.base = `${base}`;
      throw error;
    }
  }

  static canParse(url, base) {
    return host.url.parse(`${url}`, base === undefined ? undefined : `${base}`) !== undefined;
  }

  static parse(url, base) {
    try { return new URL(url, base); } catch { return null; }
  }

  #set(what, value) {
    const parts = host.url.set(this.#parts[HREF], what, `${value}`);
    if (parts) this.#parts = parts;
  }

  get href() { return this.#parts[HREF]; }
  set href(value) {
    const parts = host.url.parse(`${value}`, undefined);
    if (!parts) throw coded(TypeError, 'ERR_INVALID_URL', 'Invalid URL');
    this.#parts = parts;
    this.#refresh();
  }
  get origin() { return this.#parts[ORIGIN]; }
  get protocol() { return this.#parts[PROTOCOL]; }
  set protocol(value) { this.#set('protocol', value); }
  get username() { return this.#parts[USERNAME]; }
  set username(value) { this.#set('username', value); }
  get password() { return this.#parts[PASSWORD]; }
  set password(value) { this.#set('password', value); }
  get host() { return this.#parts[HOST]; }
  set host(value) { this.#set('host', value); }
  get hostname() { return this.#parts[HOSTNAME]; }
  set hostname(value) { this.#set('hostname', value); }
  get port() { return this.#parts[PORT]; }
  set port(value) { this.#set('port', value); }
  get pathname() { return this.#parts[PATHNAME]; }
  set pathname(value) { this.#set('pathname', value); }
  get search() { return this.#parts[SEARCH]; }
  set search(value) { this.#set('search', value); this.#refresh(); }
  get hash() { return this.#parts[HASH]; }
  set hash(value) { this.#set('hash', value); }

  get searchParams() {
    this.#params ??= bind(this.#parts[SEARCH], (text) => this.#set('search', text));
    return this.#params;
  }

  #refresh() { if (this.#params) reset(this.#params, this.#parts[SEARCH]); }

  toString() { return this.href; }
  toJSON() { return this.href; }
  get [Symbol.toStringTag]() { return 'URL'; }
}
// As in Node: what is enumerated when a URL is copied.
for (const name of ['href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'searchParams', 'hash', 'toString', 'toJSON']) {
  Object.defineProperty(URL.prototype, name, { enumerable: true });
}

module.exports = { URL, URLSearchParams };
