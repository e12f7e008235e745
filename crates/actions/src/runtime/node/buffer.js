'use strict';
// Buffer (Node's `buffer`), over Uint8Array.
const { bytesOf, latin1Of, encode, decode, atob, btoa } = require('web/encoding');
const { coded } = require('web/errors');

const wrongType = (what, value) => coded(TypeError, 'ERR_INVALID_ARG_TYPE', `The ${what} is of a wrong type. Received ${value === null ? 'null' : typeof value}`);
const outOfRange = (what) => coded(RangeError, 'ERR_OUT_OF_RANGE', `The value of "${what}" is out of range.`);

function kindOf(encoding) {
  switch (`${encoding ?? 'utf8'}`.toLowerCase()) {
    case 'utf8': case 'utf-8': return 'utf8';
    case 'hex': return 'hex';
    case 'base64': return 'base64';
    case 'base64url': return 'base64url';
    case 'latin1': case 'binary': return 'latin1';
    case 'ascii': return 'ascii';
    case 'ucs2': case 'ucs-2': case 'utf16le': case 'utf-16le': return 'utf16le';
    default: return undefined;
  }
}
function needKind(encoding) {
  const kind = kindOf(encoding);
  if (!kind) throw coded(TypeError, 'ERR_UNKNOWN_ENCODING', `Unknown encoding: ${encoding}`);
  return kind;
}

function fromString(text, encoding) {
  switch (needKind(encoding)) {
    case 'utf8': return encode(text);
    case 'base64': case 'base64url': return host.text.base64Decode(text);
    case 'hex': {
      const digits = /^(?:[0-9a-fA-F]{2})*/.exec(text)[0];
      const bytes = new Uint8Array(digits.length / 2);
      for (let at = 0; at < bytes.length; at += 1) bytes[at] = Number.parseInt(digits.slice(at * 2, at * 2 + 2), 16);
      return bytes;
    }
    case 'utf16le': {
      const bytes = new Uint8Array(text.length * 2);
      for (let at = 0; at < text.length; at += 1) {
        const code = text.charCodeAt(at);
        bytes[at * 2] = code & 0xFF;
        bytes[at * 2 + 1] = code >> 8;
      }
      return bytes;
    }
    default: {
      const bytes = new Uint8Array(text.length);
      for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
      return bytes;
    }
  }
}

const digits = '0123456789abcdef';

function toText(bytes, encoding) {
  switch (needKind(encoding)) {
    case 'utf8': return decode(bytes);
    case 'base64': return host.text.base64Encode(bytes, false);
    case 'base64url': return host.text.base64Encode(bytes, true);
    case 'latin1': return latin1Of(bytes);
    case 'ascii': return latin1Of(Uint8Array.prototype.map.call(new Uint8Array(bytes), (byte) => byte & 0x7F));
    case 'hex': {
      let text = '';
      for (const byte of bytes) text += digits[byte >> 4] + digits[byte & 15];
      return text;
    }
    default: {
      let text = '';
      for (let at = 0; at + 1 < bytes.length; at += 2) text += String.fromCharCode(bytes[at] | bytes[at + 1] << 8);
      return text;
    }
  }
}

const own = (bytes) => new Real(bytes.buffer, bytes.byteOffset, bytes.byteLength);

class Real extends Uint8Array {
  get parent() { return this.buffer; }
  get offset() { return this.byteOffset; }

  toString(encoding, start = 0, end = this.length) {
    const from = Math.max(0, Math.trunc(start) || 0);
    const to = Math.min(this.length, end === undefined ? this.length : Math.trunc(end) || 0);
    return to <= from ? '' : toText(from === 0 && to === this.length ? this : this.subarray(from, to), encoding);
  }
  toLocaleString(encoding, start, end) { return this.toString(encoding, start, end); }
  toJSON() { return { type: 'Buffer', data: Array.from(this) }; }

  slice(start, end) { return this.subarray(start, end); }

  equals(other) {
    if (!(other instanceof Uint8Array)) throw wrongType('"otherBuffer" argument', other);
    return compare(this, other) === 0;
  }

  compare(target, targetStart = 0, targetEnd = target.length, sourceStart = 0, sourceEnd = this.length) {
    return compare(this.subarray(sourceStart, sourceEnd), target.subarray(targetStart, targetEnd));
  }

  copy(target, targetStart = 0, sourceStart = 0, sourceEnd = this.length) {
    const part = this.subarray(sourceStart, Math.min(sourceEnd, sourceStart + Math.max(0, target.length - targetStart)));
    Uint8Array.prototype.set.call(target, part, targetStart);
    return part.length;
  }

  write(text, offset, length, encoding) {
    if (typeof text !== 'string') throw wrongType('"string" argument', text);
    let start = offset; let most = length; let kind = encoding;
    if (typeof offset === 'string') { kind = offset; start = 0; most = undefined; }
    else if (typeof length === 'string') { kind = length; most = undefined; }
    start = start === undefined ? 0 : start;
    if (!(start >= 0 && start <= this.length)) throw outOfRange('offset');
    let room = Math.min(this.length - start, most === undefined ? Infinity : most);
    const bytes = fromString(text, kind);
    if (room < bytes.length && needKind(kind) === 'utf8') while (room > 0 && (bytes[room] & 0xC0) === 0x80) room -= 1;
    const part = bytes.subarray(0, room);
    this.set(part, start);
    return part.length;
  }

  fill(value, start, end, encoding) {
    let from = start; let to = end; let kind = encoding;
    if (typeof from === 'string') { kind = from; from = 0; to = undefined; }
    else if (typeof to === 'string') { kind = to; to = undefined; }
    const begin = from ?? 0;
    const stop = to ?? this.length;
    if (!(begin >= 0 && stop <= this.length)) throw outOfRange('offset');
    if (typeof value === 'string' || value instanceof Uint8Array) {
      const bytes = typeof value === 'string' ? fromString(value, kind) : value;
      if (bytes.length === 0) return super.fill(0, begin, stop);
      for (let at = begin; at < stop; at += 1) this[at] = bytes[(at - begin) % bytes.length];
      return this;
    }
    return super.fill(Number(value) & 0xFF, begin, stop);
  }

  indexOf(value, offset, encoding) { return search(this, value, offset, encoding, 1); }
  lastIndexOf(value, offset, encoding) { return search(this, value, offset, encoding, -1); }
  includes(value, offset, encoding) { return this.indexOf(value, offset, encoding) >= 0; }

  swap16() { return swap(this, 2); }
  swap32() { return swap(this, 4); }
  swap64() { return swap(this, 8); }

  readUIntBE(offset, size) { return number(this, offset, size, false); }
  readUIntLE(offset, size) { return number(this, offset, size, true); }
  readIntBE(offset, size) { return signed(number(this, offset, size, false), size); }
  readIntLE(offset, size) { return signed(number(this, offset, size, true), size); }
  writeUIntBE(value, offset, size) { return store(this, value, offset, size, false); }
  writeUIntLE(value, offset, size) { return store(this, value, offset, size, true); }
  writeIntBE(value, offset, size) { return store(this, value, offset, size, false); }
  writeIntLE(value, offset, size) { return store(this, value, offset, size, true); }
}

function number(bytes, offset, size, little) {
  if (!(offset >= 0 && offset + size <= bytes.length)) throw outOfRange('offset');
  let value = 0;
  for (let at = 0; at < size; at += 1) value = value * 256 + bytes[little ? offset + size - 1 - at : offset + at];
  return value;
}
const signed = (value, size) => (value >= 2 ** (size * 8 - 1) ? value - 2 ** (size * 8) : value);
function store(bytes, value, offset, size, little) {
  if (!(offset >= 0 && offset + size <= bytes.length)) throw outOfRange('offset');
  let rest = Number(value);
  if (rest < 0) rest += 2 ** (size * 8);
  for (let at = 0; at < size; at += 1) {
    bytes[little ? offset + at : offset + size - 1 - at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return offset + size;
}

// readUInt8, writeInt32BE, readDoubleLE… over DataView, with both spellings of "UInt".
for (const [name, method, size] of [
  ['UInt8', 'Uint8', 1], ['Int8', 'Int8', 1], ['UInt16', 'Uint16', 2], ['Int16', 'Int16', 2], ['UInt32', 'Uint32', 4], ['Int32', 'Int32', 4],
  ['BigUInt64', 'BigUint64', 8], ['BigInt64', 'BigInt64', 8], ['Float', 'Float32', 4], ['Double', 'Float64', 8],
]) {
  for (const end of size === 1 ? [''] : ['LE', 'BE']) {
    const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const fits = (bytes, offset) => {
      if (!(offset >= 0 && offset + size <= bytes.length)) throw outOfRange('offset');
    };
    const read = function (offset = 0) { fits(this, offset); return view(this)[`get${method}`](offset, end === 'LE'); };
    const write = function (value, offset = 0) { fits(this, offset); view(this)[`set${method}`](offset, value, end === 'LE'); return offset + size; };
    for (const spelled of new Set([name, name.replace('UInt', 'Uint')])) {
      for (const [verb, value] of [['read', read], ['write', write]]) {
        Object.defineProperty(Real.prototype, `${verb}${spelled}${end}`, { value, configurable: true, writable: true });
      }
    }
  }
}
for (const end of ['LE', 'BE']) {
  for (const verb of ['read', 'write']) {
    Object.defineProperty(Real.prototype, `${verb}Uint${end}`, { value: Real.prototype[`${verb}UInt${end}`], configurable: true, writable: true });
  }
}
for (const kind of ['utf8', 'hex', 'base64', 'base64url', 'latin1', 'ascii', 'ucs2']) {
  Object.defineProperty(Real.prototype, `${kind}Slice`, { value(start, end) { return this.toString(kind, start, end); }, configurable: true, writable: true });
  Object.defineProperty(Real.prototype, `${kind}Write`, { value(text, offset, length) { return this.write(text, offset, length, kind); }, configurable: true, writable: true });
}

function swap(bytes, size) {
  if (bytes.length % size !== 0) throw coded(RangeError, 'ERR_INVALID_BUFFER_SIZE', `Buffer size must be a multiple of ${size * 8}-bits`);
  for (let at = 0; at < bytes.length; at += size) Uint8Array.prototype.reverse.call(bytes.subarray(at, at + size));
  return bytes;
}

function search(bytes, value, offset, encoding, step) {
  let from = offset; let kind = encoding;
  if (typeof from === 'string') { kind = from; from = undefined; }
  const wanted = typeof value === 'number' ? new Uint8Array([value & 0xFF]) : typeof value === 'string' ? fromString(value, kind) : value;
  if (!(wanted instanceof Uint8Array)) throw wrongType('"value" argument', value);
  const last = bytes.length - wanted.length;
  let at = from === undefined || Number.isNaN(Number(from)) ? (step > 0 ? 0 : last) : Math.trunc(Number(from));
  if (at < 0) at = Math.max(step > 0 ? 0 : -1, at + bytes.length);
  if (step < 0) at = Math.min(at, last);
  outer: for (; at >= 0 && at <= last; at += step) {
    for (let place = 0; place < wanted.length; place += 1) if (bytes[at + place] !== wanted[place]) continue outer;
    return at;
  }
  return -1;
}

function compare(one, other) {
  if (!(one instanceof Uint8Array)) throw wrongType('"buf1" argument', one);
  if (!(other instanceof Uint8Array)) throw wrongType('"buf2" argument', other);
  const most = Math.min(one.length, other.length);
  for (let at = 0; at < most; at += 1) if (one[at] !== other[at]) return one[at] < other[at] ? -1 : 1;
  return Math.sign(one.length - other.length);
}

const LENGTH_MAX = 2 ** 31 - 1;

function sized(size) {
  if (typeof size !== 'number') throw wrongType('"size" argument', size);
  if (!(size >= 0 && size <= LENGTH_MAX)) throw outOfRange('size');
  return new Real(size);
}

function from(value, encodingOrOffset, length) {
  if (typeof value === 'string') return own(fromString(value, encodingOrOffset));
  if (typeof value === 'object' && value !== null) {
    if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return new Real(value, encodingOrOffset, length);
    if (ArrayBuffer.isView(value)) {
      const made = new Real(value.length ?? value.byteLength);
      made.set(value instanceof DataView ? bytesOf(value) : value);
      return made;
    }
    const plain = value.valueOf?.();
    if (plain !== undefined && plain !== null && plain !== value) return from(plain, encodingOrOffset, length);
    if (value.type === 'Buffer' && Array.isArray(value.data)) return from(value.data);
    if (typeof value.length === 'number' || Array.isArray(value)) {
      const made = new Real(Math.max(0, Math.trunc(value.length) || 0));
      for (let at = 0; at < made.length; at += 1) made[at] = value[at];
      return made;
    }
    const primitive = value[Symbol.toPrimitive]?.('string');
    if (typeof primitive === 'string') return from(primitive, encodingOrOffset);
  }
  throw coded(
    TypeError, 'ERR_INVALID_ARG_TYPE',
    `The first argument must be of type string or an instance of Buffer, ArrayBuffer, or Array or an Array-like Object. Received ${value === null ? 'null' : typeof value}`,
  );
}

/** Callable without `new`, as old packages do. */
function Buffer(value, encodingOrOffset, length) {
  if (typeof value === 'number') {
    // What a method of Uint8Array makes for its result comes here with `new`.
    return new Real(value);
  }
  return from(value, encodingOrOffset, length);
}
Object.setPrototypeOf(Buffer, Uint8Array);
Buffer.prototype = Real.prototype;
Object.defineProperty(Real.prototype, 'constructor', { value: Buffer, configurable: true, writable: true });
Object.defineProperty(Buffer, Symbol.species, { get: () => Real, configurable: true });

Object.assign(Buffer, {
  from,
  of: (...values) => from(values),
  alloc(size, fill, encoding) {
    const made = sized(size);
    return fill === undefined || fill === 0 ? made : made.fill(fill, encoding);
  },
  allocUnsafe: (size) => sized(size),
  allocUnsafeSlow: (size) => sized(size),
  isBuffer: (value) => value instanceof Real,
  isEncoding: (encoding) => typeof encoding === 'string' && kindOf(encoding) !== undefined,
  byteLength(value, encoding) {
    if (typeof value !== 'string') return bytesOf(value, 'The "string" argument').length;
    const kind = kindOf(encoding) ?? 'utf8';
    if (kind === 'latin1' || kind === 'ascii') return value.length;
    return fromString(value, kind).length;
  },
  concat(list, length) {
    if (!Array.isArray(list)) throw wrongType('"list" argument', list);
    const made = sized(length ?? list.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of list) {
      if (!(part instanceof Uint8Array)) throw wrongType('"list" argument', part);
      const fitting = part.subarray(0, made.length - at);
      made.set(fitting, at);
      at += fitting.length;
    }
    return made;
  },
  compare,
  copyBytesFrom: (view, offset = 0, length = undefined) => {
    const part = view.subarray(offset, length === undefined ? undefined : offset + length);
    return from(bytesOf(part));
  },
  poolSize: 8192,
});

function SlowBuffer(size) { return sized(size); }

module.exports = {
  Buffer, SlowBuffer, atob, btoa,
  kMaxLength: LENGTH_MAX, kStringMaxLength: 2 ** 29 - 24, INSPECT_MAX_BYTES: 50,
  constants: { MAX_LENGTH: LENGTH_MAX, MAX_STRING_LENGTH: 2 ** 29 - 24 },
  isUtf8: (bytes) => host.text.utf8Decode(bytesOf(bytes), true) !== undefined,
  isAscii: (bytes) => bytesOf(bytes).every((byte) => byte < 0x80),
  get Blob() { return require('web/body').Blob; },
  get File() { return require('web/body').File; },
};
