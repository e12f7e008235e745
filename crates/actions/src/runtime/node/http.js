'use strict';
// Node's `http` and `https` for those who ask: a request is collected, and sent when it ends, through the parent, as
// `fetch` does it. There are no servers, no sockets and no agents that would hold connections.
const { Readable, Writable } = require('node/stream');
const EventEmitter = require('node/events');
const { Buffer } = require('node/buffer');
const { URL } = require('web/url');
const { coded, unsupported } = require('web/errors');

const STATUS_CODES = {
  100: 'Continue', 101: 'Switching Protocols', 102: 'Processing', 103: 'Early Hints', 200: 'OK', 201: 'Created', 202: 'Accepted',
  203: 'Non-Authoritative Information', 204: 'No Content', 205: 'Reset Content', 206: 'Partial Content', 207: 'Multi-Status',
  300: 'Multiple Choices', 301: 'Moved Permanently', 302: 'Found', 303: 'See Other', 304: 'Not Modified', 307: 'Temporary Redirect',
  308: 'Permanent Redirect', 400: 'Bad Request', 401: 'Unauthorized', 402: 'Payment Required', 403: 'Forbidden', 404: 'Not Found',
  405: 'Method Not Allowed', 406: 'Not Acceptable', 407: 'Proxy Authentication Required', 408: 'Request Timeout', 409: 'Conflict', 410: 'Gone',
  411: 'Length Required', 412: 'Precondition Failed', 413: 'Payload Too Large', 414: 'URI Too Long', 415: 'Unsupported Media Type',
  416: 'Range Not Satisfiable', 417: 'Expectation Failed', 421: 'Misdirected Request', 422: 'Unprocessable Entity', 423: 'Locked',
  424: 'Failed Dependency', 425: 'Too Early', 426: 'Upgrade Required', 428: 'Precondition Required', 429: 'Too Many Requests',
  431: 'Request Header Fields Too Large', 451: 'Unavailable For Legal Reasons', 500: 'Internal Server Error', 501: 'Not Implemented',
  502: 'Bad Gateway', 503: 'Service Unavailable', 504: 'Gateway Timeout', 505: 'HTTP Version Not Supported', 507: 'Insufficient Storage',
  511: 'Network Authentication Required',
};
const METHODS = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT'];
const once = new Set([
  'age', 'authorization', 'content-length', 'content-type', 'etag', 'expires', 'from', 'host', 'if-modified-since', 'if-unmodified-since',
  'last-modified', 'location', 'max-forwards', 'proxy-authorization', 'referer', 'retry-after', 'server', 'user-agent',
]);
// What belongs to a connection, which is not ours.
const hopByHop = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'expect', 'content-length']);

class Agent extends EventEmitter {
  constructor(options = {}) {
    super();
    this.options = { ...options };
    this.keepAlive = !!options?.keepAlive;
    this.maxSockets = options?.maxSockets ?? Infinity;
    this.maxFreeSockets = 256;
    this.maxTotalSockets = Infinity;
    this.requests = {};
    this.sockets = {};
    this.freeSockets = {};
    this.defaultPort = 80;
    this.protocol = 'http:';
  }
  destroy() {}
  getName(options = {}) { return `${options.host ?? 'localhost'}:${options.port ?? ''}:${options.localAddress ?? ''}`; }
  createConnection() { throw unsupported('An agent that makes its own connections', 'A proxy cannot be used: requests leave through the server.'); }
}

/** The place of a socket: what packages ask one for. */
class Connection extends EventEmitter {
  constructor() {
    super();
    this.encrypted = true;
    this.authorized = true;
    this.destroyed = false;
    this.connecting = false;
    this.writable = true;
    this.remoteAddress = undefined;
  }
  setTimeout() { return this; }
  setKeepAlive() { return this; }
  setNoDelay() { return this; }
  ref() { return this; }
  unref() { return this; }
  address() { return {}; }
  getPeerCertificate() { throw unsupported('The certificate of the other side'); }
  destroy() { this.destroyed = true; return this; }
}

class IncomingMessage extends Readable {
  constructor(socket) {
    super();
    this.socket = socket;
    this.connection = socket;
    this.httpVersion = '1.1';
    this.httpVersionMajor = 1;
    this.httpVersionMinor = 1;
    this.complete = false;
    this.aborted = false;
    this.headers = {};
    this.rawHeaders = [];
    this.trailers = {};
    this.rawTrailers = [];
    this.statusCode = null;
    this.statusMessage = null;
    this.url = '';
    this.method = null;
  }
  get headersDistinct() {
    const all = {};
    for (let at = 0; at < this.rawHeaders.length; at += 2) (all[this.rawHeaders[at].toLowerCase()] ??= []).push(this.rawHeaders[at + 1]);
    return all;
  }
  setTimeout(_milliseconds, callback) { if (callback) this.on('timeout', callback); return this; }
  _read() {}
}

function fill(message, answer) {
  message.statusCode = answer.status;
  message.statusMessage = answer.statusText || STATUS_CODES[answer.status] || '';
  for (const [given, value] of answer.headers) {
    const name = given.toLowerCase();
    message.rawHeaders.push(given, value);
    if (name === 'set-cookie') (message.headers[name] ??= []).push(value);
    else if (message.headers[name] === undefined) message.headers[name] = value;
    else if (!once.has(name)) message.headers[name] += `${name === 'cookie' ? '; ' : ', '}${value}`;
  }
  if (answer.body.length > 0) message.push(Buffer.from(answer.body.buffer, answer.body.byteOffset, answer.body.byteLength));
  message.push(null);
  message.complete = true;
}

function checkName(name) {
  if (typeof name !== 'string' || !/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) throw coded(TypeError, 'ERR_INVALID_HTTP_TOKEN', `Header name must be a valid HTTP token ["${name}"]`);
}
function checkValue(name, value) {
  if (value === undefined) throw coded(TypeError, 'ERR_HTTP_INVALID_HEADER_VALUE', `Invalid value "undefined" for header "${name}"`);
  if (/[^\t\x20-\x7E\x80-\xFF]/.test(`${value}`)) throw coded(TypeError, 'ERR_INVALID_CHAR', `Invalid character in header content ["${name}"]`);
}

class OutgoingMessage extends Writable {
  #headers = new Map();

  constructor() {
    super({ highWaterMark: Infinity, autoDestroy: false });
    this.headersSent = false;
    this.sendDate = false;
    this.finished = false;
    this.chunkedEncoding = false;
    this.shouldKeepAlive = false;
  }
  setHeader(name, value) {
    checkName(name);
    for (const one of Array.isArray(value) ? value : [value]) checkValue(name, one);
    if (this.headersSent) throw coded(Error, 'ERR_HTTP_HEADERS_SENT', 'Cannot set headers after they are sent to the client');
    this.#headers.set(name.toLowerCase(), [name, value]);
    return this;
  }
  setHeaders(headers) {
    for (const [name, value] of headers) this.setHeader(name, value);
    return this;
  }
  appendHeader(name, value) {
    const held = this.getHeader(name);
    return this.setHeader(name, held === undefined ? value : [held, value].flat());
  }
  getHeader(name) { return this.#headers.get(`${name}`.toLowerCase())?.[1]; }
  hasHeader(name) { return this.#headers.has(`${name}`.toLowerCase()); }
  removeHeader(name) { this.#headers.delete(`${name}`.toLowerCase()); }
  getHeaderNames() { return [...this.#headers.keys()]; }
  getRawHeaderNames() { return [...this.#headers.values()].map(([name]) => name); }
  getHeaders() { return Object.assign(Object.create(null), Object.fromEntries([...this.#headers].map(([key, [, value]]) => [key, value]))); }
  flushHeaders() {}
  addTrailers() { throw unsupported('Trailers'); }
}

class ClientRequest extends OutgoingMessage {
  #chunks = []; #call; #timer; #options; #wait = 0;

  constructor(input, options, callback) {
    super();
    const given = options;
    const port = given.port ? Number(given.port) : given.defaultPort ?? given.agent?.defaultPort;
    this.protocol = given.protocol ?? given.agent?.protocol ?? 'http:';
    this.method = `${given.method ?? 'GET'}`.toUpperCase();
    checkName(this.method);
    this.path = given.path ?? '/';
    if (/[^\x21-\xFF]/.test(this.path)) throw coded(TypeError, 'ERR_UNESCAPED_CHARACTERS', 'Request path contains unescaped characters');
    if (given.socketPath) throw unsupported('A request over a UNIX socket');
    this.host = given.hostname ?? given.host ?? 'localhost';
    const name = this.host.includes(':') && !this.host.startsWith('[') ? `[${this.host}]` : this.host;
    this.agent = given.agent;
    this.aborted = false;
    this.reusedSocket = false;
    this.res = null;
    this.socket = new Connection();
    this.connection = this.socket;
    this.#options = { url: `${this.protocol}//${name}${port ? `:${port}` : ''}${this.path}` };
    if (Array.isArray(given.headers)) {
      for (let at = 0; at < given.headers.length; at += 2) this.appendHeader(given.headers[at], given.headers[at + 1]);
    } else {
      for (const key of Object.keys(given.headers ?? {})) if (given.headers[key] !== undefined) this.setHeader(key, given.headers[key]);
    }
    if (given.auth && !this.hasHeader('authorization')) this.setHeader('Authorization', `Basic ${Buffer.from(given.auth).toString('base64')}`);
    if (callback) this.once('response', callback);
    if (given.timeout) this.setTimeout(given.timeout);
    given.signal?.addEventListener('abort', () => this.destroy(given.signal.reason), { once: true });
    if (given.signal?.aborted) this.destroy(given.signal.reason);
    queueMicrotask(() => { if (!this.destroyed) this.emit('socket', this.socket); });
  }

  _write(chunk, encoding, done) {
    this.#chunks.push(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk);
    done();
  }

  _final(done) {
    this.finished = true;
    done();
    // The listeners of this turn come first, as they would before the network.
    queueMicrotask(() => { if (!this.destroyed) this.#send(); });
  }

  async #send() {
    const headers = [];
    for (const name of this.getRawHeaderNames()) {
      if (hopByHop.has(name.toLowerCase())) continue;
      const value = this.getHeader(name);
      if (name.toLowerCase() === 'accept-encoding') {
        const known = `${value}`.split(',').map((part) => part.trim()).filter((part) => /^(gzip|x-gzip|deflate|identity)\b/i.test(part));
        if (known.length > 0) headers.push([name, known.join(', ')]);
        continue;
      }
      for (const one of Array.isArray(value) && name.toLowerCase() !== 'cookie' ? value : [value]) headers.push([name, Array.isArray(one) ? one.join('; ') : `${one}`]);
    }
    this.headersSent = true;
    const body = this.#chunks.length > 0 ? Buffer.concat(this.#chunks) : undefined;
    let answer;
    try {
      const { id, promise } = host.fetch({ method: this.method, url: this.#options.url, headers, body: body && new Uint8Array(body.buffer, body.byteOffset, body.length) });
      this.#call = id;
      answer = await promise;
    } catch (error) {
      if (this.destroyed) return;
      this.#over();
      const failure = error instanceof Error ? error : Object.assign(coded(Error, error.code, error.message), { syscall: 'connect', hostname: this.host });
      this.destroy(failure);
      return;
    }
    if (this.destroyed) return;
    this.#over();
    const message = new IncomingMessage(this.socket);
    message.req = this;
    this.res = message;
    const heard = this.listenerCount('response') > 0;
    fill(message, this.method === 'HEAD' ? { ...answer, body: new Uint8Array(0) } : answer);
    message.on('close', () => this.destroy());
    this.emit('response', message);
    if (!heard) message.resume();
  }

  #over() {
    this.#call = undefined;
    this.#timer?.close();
  }

  setTimeout(milliseconds, callback) {
    if (callback) this.once('timeout', callback);
    this.#timer?.close();
    this.#wait = Number(milliseconds);
    if (this.#wait > 0) {
      this.#timer = require('web/timers').setTimeout(() => { if (!this.destroyed && !this.res) this.emit('timeout'); }, this.#wait);
    }
    return this;
  }
  setNoDelay() {}
  setSocketKeepAlive() {}
  abort() {
    this.aborted = true;
    queueMicrotask(() => this.emit('abort'));
    this.destroy();
  }
  _destroy(error, done) {
    if (this.#call !== undefined) host.forget(this.#call);
    this.#over();
    this.socket.destroy();
    const waiting = !this.res && !error;
    done(error ?? (waiting ? coded(Error, 'ECONNRESET', 'socket hang up') : null));
  }
}

function optionsOf(input, options, callback, protocol) {
  let [given, more, done] = [input, options, callback];
  if (typeof more === 'function') { done = more; more = undefined; }
  if (typeof given === 'string') given = new URL(given);
  const base = given instanceof URL ? require('node/url').urlToHttpOptions(given) : { ...given };
  const merged = { ...base, ...more };
  // With the host of its own (`host`), a name that came with the address gives way.
  if (more?.host && !more.hostname) merged.hostname = more.host;
  merged.protocol ??= merged.agent?.protocol ?? protocol;
  if (merged.protocol !== 'http:' && merged.protocol !== 'https:') {
    throw coded(TypeError, 'ERR_INVALID_PROTOCOL', `Protocol "${merged.protocol}" not supported. Expected "${protocol}"`);
  }
  if (merged.host?.includes(':') && !merged.hostname && /:\d+$/.test(merged.host)) {
    merged.hostname = merged.host.replace(/:\d+$/, '');
    merged.port ??= /:(\d+)$/.exec(merged.host)[1];
  }
  return [input, merged, done];
}

function made(protocol) {
  const request = (input, options, callback) => new ClientRequest(...optionsOf(input, options, callback, protocol));
  const get = (input, options, callback) => request(input, options, callback).end();
  class OwnAgent extends Agent {
    constructor(options) {
      super(options);
      this.protocol = protocol;
      this.defaultPort = protocol === 'https:' ? 443 : 80;
    }
  }
  Object.defineProperty(OwnAgent, 'name', { value: 'Agent' });
  const refuse = (name) => function refused() { throw unsupported(`${protocol.slice(0, -1)}.${name}`, 'An Action answers no requests.'); };
  return {
    request, get, Agent: OwnAgent, globalAgent: new OwnAgent({ keepAlive: true }), ClientRequest, IncomingMessage, OutgoingMessage,
    Server: refuse('Server'), ServerResponse: refuse('ServerResponse'), createServer: refuse('createServer'),
    METHODS, STATUS_CODES, maxHeaderSize: 16384,
    validateHeaderName: checkName, validateHeaderValue: checkValue, setMaxIdleHTTPParsers() {},
  };
}

module.exports = made('http:');
Object.defineProperty(module.exports, 'made', { value: made });
