'use strict';
// Node's `querystring`.
const { Buffer } = require('node/buffer');

function escape(text) {
  return encodeURIComponent(`${text}`.toWellFormed());
}
function unescape(text) {
  try { return decodeURIComponent(text); } catch { return unescapeBuffer(text).toString(); }
}
function unescapeBuffer(text) {
  const bytes = Buffer.from(`${text}`);
  const out = [];
  for (let at = 0; at < bytes.length; at += 1) {
    const pair = bytes[at] === 0x25 ? bytes.toString('latin1', at + 1, at + 3) : '';
    if (/^[0-9A-Fa-f]{2}$/.test(pair)) { out.push(Number.parseInt(pair, 16)); at += 2; } else out.push(bytes[at]);
  }
  return Buffer.from(out);
}

const primitive = (value) => (typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value)) || typeof value === 'bigint' || typeof value === 'boolean' ? `${value}` : '');

function stringify(object, separator, equals, options) {
  const encode = options?.encodeURIComponent ?? querystring.escape;
  const pair = (key, value) => `${encode(key)}${equals || '='}${encode(primitive(value))}`;
  if (typeof object !== 'object' || object === null) return '';
  return Object.keys(object)
    .flatMap((key) => (Array.isArray(object[key]) ? object[key].map((value) => pair(key, value)) : [pair(key, object[key])]))
    .join(separator || '&');
}

function parse(text, separator, equals, options) {
  const out = Object.create(null);
  if (typeof text !== 'string' || text === '') return out;
  const decode = options?.decodeURIComponent ?? querystring.unescape;
  const most = options?.maxKeys ?? 1000;
  const parts = text.split(separator || '&');
  for (const part of most > 0 ? parts.slice(0, most) : parts) {
    if (part === '') continue;
    const plain = part.replaceAll('+', ' ');
    const at = plain.indexOf(equals || '=');
    const key = decode(at < 0 ? plain : plain.slice(0, at));
    const value = at < 0 ? '' : decode(plain.slice(at + (equals || '=').length));
    if (!(key in out)) out[key] = value;
    else if (Array.isArray(out[key])) out[key].push(value);
    else out[key] = [out[key], value];
  }
  return out;
}

const querystring = { escape, unescape, unescapeBuffer, stringify, parse, encode: stringify, decode: parse };
module.exports = querystring;
