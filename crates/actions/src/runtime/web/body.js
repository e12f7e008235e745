'use strict';
// Blob, File, FormData (File API, XHR §5) and what Request and Response have in common: a body (Fetch §5.3).
const { bytesOf, encode, decode } = require('web/encoding');
const { coded } = require('web/errors');

function join(parts) {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

const blobBytes = new WeakMap();

class Blob {
  #type;
  constructor(parts = [], options = {}) {
    const list = [...parts].map((part) => {
      if (part instanceof Blob) return blobBytes.get(part);
      if (part instanceof ArrayBuffer || ArrayBuffer.isView(part)) return bytesOf(part);
      return encode(`${part}`.toWellFormed());
    });
    blobBytes.set(this, list.length === 0 ? new Uint8Array(0) : new Uint8Array(join(list)));
    const type = `${options?.type ?? ''}`;
    this.#type = /[^\x20-\x7E]/.test(type) ? '' : type.toLowerCase();
  }
  get size() { return blobBytes.get(this).length; }
  get type() { return this.#type; }
  async arrayBuffer() { return blobBytes.get(this).slice().buffer; }
  async bytes() { return blobBytes.get(this).slice(); }
  async text() { return decode(blobBytes.get(this)); }
  slice(start, end, type = '') { return new Blob([blobBytes.get(this).slice(start, end)], { type }); }
  stream() { return streamOf(blobBytes.get(this)); }
  get [Symbol.toStringTag]() { return 'Blob'; }
}

class File extends Blob {
  #name; #lastModified;
  constructor(parts, name, options = {}) {
    if (arguments.length < 2) throw new TypeError('File: parts and a name are required');
    super(parts, options);
    this.#name = `${name}`;
    this.#lastModified = options?.lastModified ?? Date.now();
  }
  get name() { return this.#name; }
  get lastModified() { return this.#lastModified; }
  get [Symbol.toStringTag]() { return 'File'; }
}

class FormData {
  #list = [];
  constructor(form) { if (form !== undefined) throw new TypeError('FormData: there are no forms in Actions'); }
  #entry(name, value, filename) {
    if (!(value instanceof Blob)) return [`${name}`, `${value}`];
    if (value instanceof File && filename === undefined) return [`${name}`, value];
    return [`${name}`, new File([value], filename ?? 'blob', { type: value.type })];
  }
  append(name, value, filename) { this.#list.push(this.#entry(name, value, filename)); }
  set(name, value, filename) {
    const at = this.#list.findIndex(([own]) => own === `${name}`);
    this.delete(name);
    this.#list.splice(at < 0 ? this.#list.length : at, 0, this.#entry(name, value, filename));
  }
  delete(name) { this.#list = this.#list.filter(([own]) => own !== `${name}`); }
  get(name) { return this.#list.find(([own]) => own === `${name}`)?.[1] ?? null; }
  getAll(name) { return this.#list.filter(([own]) => own === `${name}`).map(([, value]) => value); }
  has(name) { return this.#list.some(([own]) => own === `${name}`); }
  forEach(callback, self) { for (const [name, value] of this.#list) callback.call(self, value, name, this); }
  * entries() { for (const [name, value] of this.#list) yield [name, value]; }
  * keys() { for (const [name] of this.#list) yield name; }
  * values() { for (const [, value] of this.#list) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  get [Symbol.toStringTag]() { return 'FormData'; }
}

/** multipart/form-data (RFC 7578), names escaped as browsers do. */
function multipart(form) {
  const boundary = `----formdata-${require('web/crypto').crypto.randomUUID().replaceAll('-', '')}`;
  const quoted = (text) => text.replace(/\r\n?|\n/g, '%0D%0A').replaceAll('"', '%22');
  const parts = [];
  for (const [name, value] of form) {
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"`;
    if (typeof value === 'string') {
      parts.push(encode(`${head}\r\n\r\n${value.replace(/\r\n?|\n/g, '\r\n')}\r\n`));
    } else {
      const type = value.type || 'application/octet-stream';
      parts.push(encode(`${head}; filename="${quoted(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`), blobBytes.get(value), encode('\r\n'));
    }
  }
  parts.push(encode(`--${boundary}--\r\n`));
  return { bytes: join(parts), type: `multipart/form-data; boundary=${boundary}` };
}

function find(bytes, wanted, from) {
  outer: for (let at = from; at + wanted.length <= bytes.length; at += 1) {
    for (let place = 0; place < wanted.length; place += 1) if (bytes[at + place] !== wanted[place]) continue outer;
    return at;
  }
  return -1;
}

function parseMultipart(bytes, boundary) {
  const form = new FormData();
  const mark = encode(`--${boundary}`);
  let at = find(bytes, mark, 0);
  while (at >= 0) {
    const from = at + mark.length + 2;
    const headEnd = find(bytes, [13, 10, 13, 10], at + mark.length);
    const next = find(bytes, mark, from);
    if (next < 0 || headEnd < 0 || headEnd > next) break;
    const head = decode(bytes.subarray(from, headEnd));
    const name = /name="([^"]*)"/i.exec(head)?.[1];
    const filename = /filename="([^"]*)"/i.exec(head)?.[1];
    const content = bytes.slice(headEnd + 4, next - 2);
    if (name === undefined) throw new TypeError('Response.formData: a part without a name');
    if (filename === undefined) form.append(name, decode(content));
    else form.append(name, new File([content], filename, { type: /content-type:\s*([^\r\n]+)/i.exec(head)?.[1] ?? '' }));
    at = next;
  }
  return form;
}

function streamOf(bytes) {
  const { ReadableStream } = require('web/streams');
  return new ReadableStream({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(new Uint8Array(bytes));
      controller.close();
    },
  });
}

async function collect(stream) {
  const parts = [];
  for await (const chunk of stream) parts.push(typeof chunk === 'string' ? encode(chunk) : bytesOf(chunk, 'A chunk of a body'));
  return parts.length === 0 ? new Uint8Array(0) : join(parts);
}

/** What may be given as a body: its bytes, or the stream that brings them, and the type it has by itself. */
function extract(body) {
  if (body === null || body === undefined) return { bytes: null, stream: null, type: null };
  if (typeof body === 'object') {
    if (body instanceof Blob) return { bytes: blobBytes.get(body), stream: null, type: body.type || null };
    if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return { bytes: new Uint8Array(bytesOf(body)), stream: null, type: null };
    if (body instanceof FormData) return { stream: null, ...multipart(body) };
    if (body instanceof require('web/url').URLSearchParams) {
      return { bytes: encode(body.toString()), stream: null, type: 'application/x-www-form-urlencoded;charset=UTF-8' };
    }
    if (body instanceof require('web/streams').ReadableStream) return { bytes: null, stream: body, type: null };
    if (typeof body[Symbol.asyncIterator] === 'function') {
      return { bytes: null, stream: require('web/streams').ReadableStream.from(body), type: null };
    }
  }
  return { bytes: encode(`${body}`.toWellFormed()), stream: null, type: 'text/plain;charset=UTF-8' };
}

class Body {
  #bytes; #stream; #used = false;

  constructor({ bytes, stream }) { this.#bytes = bytes; this.#stream = stream; }

  get body() {
    if (this.#stream === null && this.#bytes !== null) this.#stream = streamOf(this.#bytes);
    return this.#stream;
  }

  get bodyUsed() { return this.#used || (this.#stream !== null && require('web/streams').isDisturbed(this.#stream)); }

  async #take() {
    if (this.bodyUsed || this.#stream?.locked) {
      throw coded(TypeError, 'ERR_INVALID_STATE', 'Body is unusable: Body has already been read');
    }
    if (this.#bytes === null && this.#stream === null) return new Uint8Array(0);
    this.#used = true;
    if (this.#bytes === null) return collect(this.#stream);
    if (this.#stream) this.#stream.cancel();
    return this.#bytes;
  }

  /** The body twice: one half stays here. */
  static split(body) {
    if (body.bodyUsed || body.#stream?.locked) throw coded(TypeError, 'ERR_INVALID_STATE', 'Body has already been consumed');
    if (body.#bytes !== null || body.#stream === null) return { bytes: body.#bytes, stream: null };
    const [one, other] = body.#stream.tee();
    body.#stream = one;
    return { bytes: null, stream: other };
  }

  static take(body) { return body.#take(); }
  static isEmpty(body) { return body.#bytes === null && body.#stream === null; }

  async arrayBuffer() { return (await this.#take()).slice().buffer; }
  async bytes() { return (await this.#take()).slice(); }
  async blob() { return new Blob([await this.#take()], { type: this.headers.get('content-type') ?? '' }); }
  async text() { return decode(await this.#take()).replace(/^\uFEFF/, ''); }
  async json() { return JSON.parse(await this.text()); }
  async formData() {
    const type = this.headers.get('content-type') ?? '';
    const boundary = /^multipart\/form-data.*;\s*boundary="?([^";]+)"?/i.exec(type)?.[1];
    if (boundary) return parseMultipart(await this.#take(), boundary);
    if (!/^application\/x-www-form-urlencoded/i.test(type)) throw new TypeError('formData: the body is not a form');
    const form = new FormData();
    for (const [name, value] of new (require('web/url').URLSearchParams)(await this.text())) form.append(name, value);
    return form;
  }
}
const { split, take, isEmpty } = Body;
for (const name of ['split', 'take', 'isEmpty']) delete Body[name];

module.exports = { Blob, File, FormData, Body, split, take, isEmpty, extract };
