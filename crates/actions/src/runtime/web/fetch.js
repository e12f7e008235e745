'use strict';
// Headers, Request, Response and fetch (Fetch Standard). Each hop of a redirect is a request of its own to the host,
// which applies the policy of addresses to it; here the next hop is made, and credentials stay with their origin.
const { Body, split, take, isEmpty, extract } = require('web/body');
const { coded } = require('web/errors');
const { URL } = require('web/url');

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const redirects = new Set([301, 302, 303, 307, 308]);
const REDIRECTS_MAX = 20;
const { defineProperty } = Object;

function nameOf(name) {
  const text = `${name}`;
  if (!token.test(text)) throw coded(TypeError, 'ERR_INVALID_ARG_VALUE', `Headers: "${text}" is not a name of a header`);
  return text.toLowerCase();
}

function valueOf(value) {
  const text = `${value}`.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, '');
  if (/[\0\r\n]/.test(text) || /[^\0-\xFF]/.test(text)) {
    throw coded(TypeError, 'ERR_INVALID_ARG_VALUE', 'Headers: a value may not contain line breaks or characters beyond Latin-1');
  }
  return text;
}

class Headers {
  #map = new Map();

  constructor(init) {
    if (init === undefined || init === null) return;
    if (typeof init !== 'object') throw new TypeError('Headers: the argument must be an object or a list of pairs');
    if (typeof init[Symbol.iterator] === 'function') {
      for (const pair of init) {
        const [name, value, more] = [...pair];
        if (value === undefined || more !== undefined) throw new TypeError('Headers: each entry must be a pair of a name and a value');
        this.append(name, value);
      }
    } else {
      for (const name of Object.keys(init)) this.append(name, init[name]);
    }
  }

  append(name, value) {
    const own = nameOf(name);
    const list = this.#map.get(own);
    if (list) list.push(valueOf(value));
    else this.#map.set(own, [valueOf(value)]);
  }
  delete(name) { this.#map.delete(nameOf(name)); }
  get(name) { return this.#map.get(nameOf(name))?.join(', ') ?? null; }
  getSetCookie() { return [...this.#map.get('set-cookie') ?? []]; }
  has(name) { return this.#map.has(nameOf(name)); }
  set(name, value) { this.#map.set(nameOf(name), [valueOf(value)]); }
  forEach(callback, self) { for (const [name, value] of this) callback.call(self, value, name, this); }
  * entries() {
    for (const name of [...this.#map.keys()].sort()) {
      const values = this.#map.get(name) ?? [];
      if (name === 'set-cookie') for (const value of values) yield [name, value];
      else yield [name, values.join(', ')];
    }
  }
  * keys() { for (const [name] of this) yield name; }
  * values() { for (const [, value] of this) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  get [Symbol.toStringTag]() { return 'Headers'; }
}

class Request extends Body {
  #fields;

  constructor(input, init = {}) {
    const other = input instanceof Request ? input : undefined;
    const given = init?.body !== undefined && init.body !== null;
    const method = normal(init?.method ?? other?.method ?? 'GET');
    if (given && (method === 'GET' || method === 'HEAD')) throw new TypeError('Request with GET/HEAD method cannot have body.');
    const url = other ? other.url : new URL(`${input}`).href;
    if (!other && /^[^/]*\/\/[^/]*@/.test(url)) {
      throw new TypeError(`Request cannot be constructed from a URL that includes credentials: ${url}`);
    }
    const content = given ? extract(init.body) : other ? { ...split(other), type: null } : { bytes: null, stream: null, type: null };
    super(content);
    const headers = new Headers(init?.headers ?? other?.headers);
    if (content.type && !headers.has('content-type')) headers.set('content-type', content.type);
    this.#fields = {
      method, url, headers,
      signal: init?.signal ?? other?.signal ?? new (require('web/events').AbortController)().signal,
      redirect: init?.redirect ?? other?.redirect ?? 'follow',
    };
  }

  get method() { return this.#fields.method; }
  get url() { return this.#fields.url; }
  get headers() { return this.#fields.headers; }
  get signal() { return this.#fields.signal; }
  get redirect() { return this.#fields.redirect; }
  get credentials() { return 'same-origin'; }
  get cache() { return 'default'; }
  get mode() { return 'cors'; }
  get duplex() { return 'half'; }
  clone() { return new Request(this); }
  get [Symbol.toStringTag]() { return 'Request'; }
}

function normal(method) {
  const text = `${method}`;
  if (!token.test(text) || /^(connect|trace|track)$/i.test(text)) throw new TypeError(`'${text}' is not a valid HTTP method.`);
  return /^(delete|get|head|options|post|put|patch)$/i.test(text) ? text.toUpperCase() : text;
}

class Response extends Body {
  #fields;

  constructor(body = null, init = {}) {
    const status = init?.status ?? 200;
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new RangeError(`init["status"] must be in the range of 200 to 599, inclusive.`);
    }
    if (body !== null && [204, 205, 304].includes(status)) throw new TypeError(`Response with status ${status} cannot have a body`);
    const content = extract(body);
    super(content);
    const headers = new Headers(init?.headers);
    if (content.type && !headers.has('content-type')) headers.set('content-type', content.type);
    this.#fields = { status, statusText: `${init?.statusText ?? ''}`, headers, url: '', redirected: false, type: 'default' };
  }

  static dress(response, fields) { Object.assign(response.#fields, fields); return response; }

  static error() { return dress(new Response(null), { type: 'error', status: 0 }); }
  static json(data, init = {}) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError('Value is not JSON serializable');
    const response = new Response(text, init);
    if (!new Headers(init?.headers).has('content-type')) response.headers.set('content-type', 'application/json');
    return response;
  }
  static redirect(url, status = 302) {
    if (!redirects.has(status)) throw new RangeError(`Invalid status code ${status}`);
    return dress(new Response(null, { headers: { location: new URL(`${url}`).href } }), { status });
  }

  get status() { return this.#fields.status; }
  get ok() { return this.status >= 200 && this.status < 300; }
  get statusText() { return this.#fields.statusText; }
  get headers() { return this.#fields.headers; }
  get url() { return this.#fields.url; }
  get redirected() { return this.#fields.redirected; }
  get type() { return this.#fields.type; }
  clone() {
    const half = split(this);
    return dress(new Response(half.stream ?? half.bytes), { ...this.#fields, headers: new Headers(this.headers) });
  }
  get [Symbol.toStringTag]() { return 'Response'; }
}
const { dress } = Response;
delete Response.dress;

/** Fills in why a request failed. The error was made when it was asked for: later nobody knows whose line that was. */
function failed(asked, cause) {
  defineProperty(asked, 'cause', { value: cause, writable: true, configurable: true });
  return asked;
}

/** One request without redirects: what the host answers, or its refusal as Node's fetch would say it. */
async function hop(method, url, headers, bytes, signal, asked = new TypeError('fetch failed')) {
  if (signal?.aborted) throw signal.reason;
  const { id, promise } = host.fetch({ method, url, headers, body: bytes ?? undefined });
  const stopped = Promise.withResolvers();
  const stop = () => {
    host.forget(id);
    stopped.reject(signal.reason);
  };
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([promise, stopped.promise]);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw failed(asked, coded(Error, error.code, error.message));
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

async function fetch(input, init) {
  const asked = new TypeError('fetch failed');
  const request = new Request(input, init);
  const { redirect, signal } = request;
  let { method } = request;
  let url = new URL(request.url);
  const headers = new Headers(request.headers);
  if (!headers.has('accept')) headers.set('accept', '*/*');
  if (!headers.has('user-agent')) headers.set('user-agent', 'node');
  let bytes = isEmpty(request) ? null : await take(request);
  for (let count = 0; ; count += 1) {
    if (url.protocol === 'data:') return local(url);
    if (url.protocol !== 'https:' && url.protocol !== 'http:') {
      throw failed(asked, new Error(`unknown scheme: ${url.protocol}`));
    }
    const target = new URL(url);
    target.hash = '';
    const answer = await hop(method, target.href, [...headers], bytes, signal, asked);
    const location = answer.headers.find(([name]) => name.toLowerCase() === 'location')?.[1];
    if (!redirects.has(answer.status) || location === undefined || redirect === 'manual') {
      const none = method === 'HEAD' || [204, 205, 304].includes(answer.status);
      const response = new Response(none ? null : answer.body, { headers: answer.headers });
      return dress(response, {
        status: answer.status, statusText: answer.statusText ?? '', url: url.href, redirected: count > 0, type: 'basic',
      });
    }
    if (redirect === 'error') throw failed(asked, new Error('unexpected redirect'));
    if (count >= REDIRECTS_MAX) throw failed(asked, new Error('redirect count exceeded'));
    const next = new URL(location, url);
    if ((answer.status === 303 && method !== 'HEAD') || ((answer.status === 301 || answer.status === 302) && method === 'POST')) {
      method = 'GET';
      bytes = null;
      for (const name of ['content-encoding', 'content-language', 'content-location', 'content-type', 'content-length']) headers.delete(name);
    }
    if (next.origin !== url.origin) for (const name of ['authorization', 'proxy-authorization', 'cookie', 'host']) headers.delete(name);
    url = next;
  }
}

function local(url) {
  const match = /^data:([^,]*?)(;base64)?,(.*)$/s.exec(url.href);
  if (!match) throw new TypeError('fetch failed', { cause: new Error('invalid data: URL') });
  const text = decodeURIComponent(match[3].replace(/#.*$/s, ''));
  const { atob, encode } = require('web/encoding');
  const bytes = match[2] ? Uint8Array.from(atob(text), (character) => character.charCodeAt(0)) : encode(text);
  return new Response(bytes, { headers: { 'content-type': match[1] || 'text/plain;charset=US-ASCII' } });
}

module.exports = { Headers, Request, Response, fetch, hop };
