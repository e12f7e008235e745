'use strict';
// TextEncoder and TextDecoder (Encoding Standard), atob and btoa (HTML §8.3).
const { DOMException, coded } = require('web/errors');

/** The bytes of a buffer source, without a copy. */
function bytesOf(source, what = 'the argument') {
  if (source instanceof Uint8Array) return source;
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (source instanceof ArrayBuffer || source instanceof SharedArrayBuffer) return new Uint8Array(source);
  throw coded(TypeError, 'ERR_INVALID_ARG_TYPE', `${what} must be an ArrayBuffer or a view of one`);
}

class TextEncoder {
  get encoding() { return 'utf-8'; }

  encode(text = '') { return host.text.utf8Encode(`${text}`); }

  encodeInto(text, into) {
    let read = 0;
    let written = 0;
    for (const character of `${text}`) {
      const bytes = host.text.utf8Encode(character);
      if (written + bytes.length > into.length) break;
      into.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }

  get [Symbol.toStringTag]() { return 'TextEncoder'; }
}

const utf8 = new Set(['utf-8', 'utf8', 'unicode-1-1-utf-8', 'unicode11utf8', 'unicode20utf8', 'x-unicode20utf8']);
const utf16 = new Set(['utf-16le', 'utf-16', 'ucs-2', 'unicode', 'iso-10646-ucs-2', 'csunicode']);
const latin1 = new Set(['latin1', 'iso-8859-1', 'iso8859-1', 'ascii', 'us-ascii', 'windows-1252', 'cp1252', 'l1']);
// What windows-1252 has in place of the controls 0x80 to 0x9F.
const windows1252 = '\u20AC\x81\u201A\u0192\u201E\u2026\u2020\u2021\u02C6\u2030\u0160\u2039\u0152\x8D\u017D\x8F'
  + '\x90\u2018\u2019\u201C\u201D\u2022\u2013\u2014\u02DC\u2122\u0161\u203A\u0153\x9D\u017E\u0178';

/** How many bytes at the end begin a character of UTF-8 that is not over yet. */
function unfinished(bytes) {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back];
    if ((byte & 0xC0) === 0x80) continue;
    const length = byte >= 0xF0 && byte < 0xF5 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 1;
    return length > back && byte < 0xF5 ? back : 0;
  }
  return 0;
}

class TextDecoder {
  #kind; #fatal; #ignoreBOM; #rest = new Uint8Array(0); #begun = false;

  constructor(label = 'utf-8', options) {
    const name = `${label}`.trim().toLowerCase();
    if (utf8.has(name)) this.#kind = 'utf-8';
    else if (utf16.has(name)) this.#kind = 'utf-16le';
    else if (latin1.has(name)) this.#kind = 'windows-1252';
    else throw coded(RangeError, 'ERR_ENCODING_NOT_SUPPORTED', `The "${label}" encoding is not supported`);
    this.#fatal = !!options?.fatal;
    this.#ignoreBOM = !!options?.ignoreBOM;
  }

  get encoding() { return this.#kind; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }

  decode(source = new Uint8Array(0), options) {
    const more = !!options?.stream;
    let bytes = bytesOf(source, 'TextDecoder.decode: the input');
    if (this.#rest.length > 0) {
      const joined = new Uint8Array(this.#rest.length + bytes.length);
      joined.set(this.#rest);
      joined.set(bytes, this.#rest.length);
      bytes = joined;
    }
    let keep = 0;
    if (more) keep = this.#kind === 'utf-8' ? unfinished(bytes) : this.#kind === 'utf-16le' ? bytes.length % 2 : 0;
    this.#rest = bytes.slice(bytes.length - keep);
    let text = this.#text(bytes.subarray(0, bytes.length - keep));
    if (text === undefined) {
      this.#rest = new Uint8Array(0);
      this.#begun = false;
      throw coded(TypeError, 'ERR_ENCODING_INVALID_ENCODED_DATA', `The encoded data was not valid for encoding ${this.#kind}`);
    }
    if (!this.#begun && !this.#ignoreBOM && text.charCodeAt(0) === 0xFEFF) text = text.slice(1);
    this.#begun = more && (this.#begun || text.length > 0);
    return text;
  }

  #text(bytes) {
    if (this.#kind === 'utf-8') return host.text.utf8Decode(bytes, this.#fatal);
    let text = '';
    if (this.#kind === 'utf-16le') {
      if (bytes.length % 2 === 1 && this.#fatal) return undefined;
      for (let at = 0; at + 1 < bytes.length; at += 2) text += String.fromCharCode(bytes[at] | bytes[at + 1] << 8);
      if (bytes.length % 2 === 1) text += '\uFFFD';
      if (this.#fatal && !text.isWellFormed()) return undefined;
      return text.toWellFormed();
    }
    for (const byte of bytes) {
      text += byte >= 0x80 && byte < 0xA0 ? windows1252[byte - 0x80] : String.fromCharCode(byte);
    }
    return text;
  }

  get [Symbol.toStringTag]() { return 'TextDecoder'; }
}

function btoa(input) {
  const text = `${input}`;
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code > 255) throw new DOMException('The string contains characters outside of the Latin1 range', 'InvalidCharacterError');
    bytes[at] = code;
  }
  return host.text.base64Encode(bytes, false);
}

function atob(input) {
  let text = `${input}`.replace(/[\t\n\f\r ]/g, '');
  if (text.length % 4 === 0) text = text.replace(/={1,2}$/, '');
  if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) {
    throw new DOMException('The string to be decoded is not correctly encoded', 'InvalidCharacterError');
  }
  return latin1Of(host.text.base64Decode(text));
}

/** One character for each byte. */
function latin1Of(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + 4096));
  }
  return text;
}

const encode = (text) => host.text.utf8Encode(text);
const decode = (bytes) => host.text.utf8Decode(bytes, false);

module.exports = { TextEncoder, TextDecoder, atob, btoa, bytesOf, latin1Of, encode, decode };
