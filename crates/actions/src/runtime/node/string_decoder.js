'use strict';
// StringDecoder (Node's `string_decoder`).
const { TextDecoder } = require('web/encoding');
const { Buffer } = require('node/buffer');

class StringDecoder {
  #decoder; #kind; #rest = Buffer.alloc(0);
  constructor(encoding = 'utf8') {
    const name = `${encoding}`.toLowerCase().replace('-', '');
    this.encoding = name;
    this.#kind = /^(utf8|utf16le|ucs2|ucs-2)$/.test(name) ? 'text' : name.startsWith('base64') ? 'base64' : 'plain';
    if (!Buffer.isEncoding(encoding)) throw require('web/errors').coded(TypeError, 'ERR_UNKNOWN_ENCODING', `Unknown encoding: ${encoding}`);
    if (this.#kind === 'text') this.#decoder = new TextDecoder(name === 'utf8' ? 'utf-8' : 'utf-16le', { ignoreBOM: true });
  }
  write(chunk) {
    if (typeof chunk === 'string') return chunk;
    if (this.#decoder) return this.#decoder.decode(chunk, { stream: true });
    const bytes = Buffer.concat([this.#rest, chunk]);
    const keep = this.#kind === 'base64' ? bytes.length % 3 : 0;
    this.#rest = bytes.subarray(bytes.length - keep);
    return bytes.toString(this.encoding, 0, bytes.length - keep);
  }
  end(chunk) {
    const text = chunk === undefined ? '' : this.write(chunk);
    const rest = this.#decoder ? this.#decoder.decode() : this.#rest.toString(this.encoding);
    this.#rest = Buffer.alloc(0);
    return text + rest;
  }
}

module.exports = { StringDecoder };
