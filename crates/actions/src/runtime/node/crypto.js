'use strict';
// Node's `crypto`: hashes, HMAC, signatures, ciphers, keys. What it computes, the host computes.
const { Buffer } = require('node/buffer');
const { bytesOf } = require('web/encoding');
const { coded, unsupported } = require('web/errors');
const keys = require('web/keys');
const { Transform } = require('node/stream');

const buffer = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const wrongType = (what, expected, value) => coded(TypeError, 'ERR_INVALID_ARG_TYPE', `The "${what}" argument must be ${expected}. Received ${value === null ? 'null' : typeof value}`);

function dataOf(data, encoding, what = 'data') {
  if (typeof data === 'string') return Buffer.from(data, encoding === 'buffer' ? 'utf8' : encoding);
  if (ArrayBuffer.isView(data) || data instanceof ArrayBuffer) return bytesOf(data);
  throw wrongType(what, 'of type string or an instance of Buffer, TypedArray, or DataView', data);
}
const out = (bytes, encoding) => (encoding && encoding !== 'buffer' ? buffer(bytes).toString(encoding) : buffer(bytes));

// ---- Hashes

const hashes = {
  md5: 'md5', sha1: 'sha1', sha224: 'sha224', sha256: 'sha256', sha384: 'sha384', sha512: 'sha512', 'sha512-256': 'sha512-256',
  'sha3-256': 'sha3-256', 'sha3-384': 'sha3-384', 'sha3-512': 'sha3-512',
};
function hashNamed(name) {
  const plain = `${name}`.toLowerCase().replace(/^rsa-/, '').replace(/^sha-(?=\d)/, 'sha').replace('/', '-');
  const known = hashes[plain];
  if (!known) throw coded(Error, 'ERR_OSSL_EVP_UNSUPPORTED', `Digest method not supported: ${name}`);
  return known;
}
const digest = (name, bytes) => (name === 'md5' ? require('web/md5').md5(bytes) : host.crypto.digest(name, bytes));

function updated(chunks, data, encoding) { chunks.push(Uint8Array.prototype.slice.call(dataOf(data, encoding))); }
const joined = (chunks) => (chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
const finished = () => coded(Error, 'ERR_CRYPTO_HASH_FINALIZED', 'Digest already called');

class Hash extends Transform {
  #name; #chunks; #done = false;
  constructor(name, chunks = []) {
    super();
    this.#name = hashNamed(name);
    this.#chunks = chunks;
  }
  update(data, encoding) {
    if (this.#done) throw finished();
    updated(this.#chunks, data, encoding);
    return this;
  }
  copy() {
    if (this.#done) throw finished();
    return new Hash(this.#name, [...this.#chunks]);
  }
  digest(encoding) {
    if (this.#done) throw finished();
    this.#done = true;
    return out(digest(this.#name, joined(this.#chunks)), encoding);
  }
  _transform(chunk, encoding, done) { this.update(chunk, encoding); done(); }
  _flush(done) { this.push(this.digest()); done(); }
}

class Hmac extends Transform {
  #name; #key; #chunks = []; #done = false;
  constructor(name, key) {
    super();
    this.#name = hashNamed(name);
    this.#key = key instanceof KeyObject ? secretOf(key) : dataOf(key, 'utf8', 'key');
  }
  update(data, encoding) {
    if (this.#done) throw finished();
    updated(this.#chunks, data, encoding);
    return this;
  }
  digest(encoding) {
    if (this.#done) return encoding ? '' : Buffer.alloc(0);
    this.#done = true;
    return out(hmac(this.#name, this.#key, joined(this.#chunks)), encoding);
  }
  _transform(chunk, encoding, done) { this.update(chunk, encoding); done(); }
  _flush(done) { this.push(this.digest()); done(); }
}

/** RFC 2104, by hand where the host has no such HMAC. */
function hmac(name, key, bytes) {
  if (/^sha(1|224|256|384|512)$/.test(name)) return host.crypto.hmac(name, key, bytes);
  const block = { 'sha3-256': 136, 'sha3-384': 104, 'sha3-512': 72, 'sha512-256': 128 }[name] ?? 64;
  const padded = Buffer.alloc(block);
  padded.set(key.length > block ? digest(name, key) : key);
  const inner = digest(name, Buffer.concat([padded.map((byte) => byte ^ 0x36), bytes]));
  return digest(name, Buffer.concat([padded.map((byte) => byte ^ 0x5C), inner]));
}

// ---- Keys

const material = new WeakMap();
const token = {};

class KeyObject {
  constructor(key, type, held) {
    if (key !== token) throw coded(TypeError, 'ERR_INVALID_ARG_VALUE', 'KeyObject: use createSecretKey, createPublicKey or createPrivateKey');
    material.set(this, held);
    Object.defineProperty(this, 'type', { value: type, enumerable: true });
    if (type !== 'secret') {
      Object.defineProperty(this, 'asymmetricKeyType', { value: held.kind, enumerable: true });
      const details = held.kind === 'rsa' ? keys.rsaDetails(held) : held.kind === 'ec' ? { namedCurve: keys.curveNamed(held.curve).node } : {};
      Object.defineProperty(this, 'asymmetricKeyDetails', { value: details, enumerable: true });
    } else {
      Object.defineProperty(this, 'symmetricKeySize', { value: held.length, enumerable: true });
    }
  }

  static from(key) {
    const { material: of } = require('web/crypto');
    const held = of(key);
    return held instanceof Uint8Array ? secretKey(held) : asymmetric(held);
  }

  export(options = {}) {
    const held = material.get(this);
    if (this.type === 'secret') return options.format === 'jwk' ? { kty: 'oct', k: keys.base64url(held) } : buffer(held.slice());
    if (options.format === 'jwk') return keys.toJwk(held);
    if (options.cipher || options.passphrase) throw unsupported('Exporting a key under a passphrase');
    const [label, bytes] = exported(held, options.type ?? (held.isPrivate ? 'pkcs8' : 'spki'));
    if (options.format === 'der') return buffer(bytes.slice());
    if (options.format !== 'pem') throw coded(TypeError, 'ERR_INVALID_ARG_VALUE', 'The property "options.format" must be "pem", "der" or "jwk"');
    return keys.toPem(label, bytes);
  }

  equals(other) {
    if (!(other instanceof KeyObject) || other.type !== this.type) return false;
    const own = material.get(this);
    const its = material.get(other);
    if (this.type === 'secret') return own.length === its.length && host.crypto.equal(own, its);
    return host.crypto.equal(own.pkcs8 ?? own.spki, its.pkcs8 ?? its.spki);
  }

  toCryptoKey(algorithm, extractable, usages) {
    const { crypto: { subtle } } = require('web/crypto');
    const jwk = this.export({ format: 'jwk' });
    return subtle.importKey('jwk', jwk, algorithm, extractable, usages);
  }

  get [Symbol.toStringTag]() { return 'KeyObject'; }
}

function exported(held, type) {
  if (type === 'spki') return ['PUBLIC KEY', held.spki];
  if (type === 'pkcs1' && held.kind === 'rsa') {
    return held.isPrivate ? ['RSA PRIVATE KEY', keys.privateContent(held)] : ['RSA PUBLIC KEY', keys.publicBits(held)];
  }
  if (type === 'pkcs8' && held.isPrivate) return ['PRIVATE KEY', held.pkcs8];
  if (type === 'sec1' && held.kind === 'ec' && held.isPrivate) return ['EC PRIVATE KEY', keys.sec1(held)];
  throw coded(Error, 'ERR_CRYPTO_INCOMPATIBLE_KEY_OPTIONS', `A ${held.isPrivate ? 'private' : 'public'} ${held.kind} key cannot be exported as ${type}`);
}

const secretKey = (bytes) => new KeyObject(token, 'secret', new Uint8Array(bytes));
const asymmetric = (held) => new KeyObject(token, held.isPrivate ? 'private' : 'public', held);

function createSecretKey(key, encoding) { return secretKey(dataOf(key, encoding, 'key')); }

/** A key however it is given: an object with options, PEM, DER, JWK. */
function readKey(given) {
  const { CryptoKey, material: of } = require('web/crypto');
  if (given instanceof KeyObject) return material.get(given);
  if (given instanceof CryptoKey) return of(given);
  if (typeof given === 'string') return keys.fromPem(given);
  if (ArrayBuffer.isView(given) || given instanceof ArrayBuffer) return keys.fromPem(Buffer.from(bytesOf(given)).toString());
  if (typeof given === 'object' && given !== null && given.key !== undefined) {
    if (given.format === 'jwk') return keys.fromJwk(given.key);
    if (given.format === 'der') {
      const bytes = bytesOf(given.key);
      if (given.type) return keys.fromDer(bytes, given.type);
      return keys.fromDer(bytes, 'spki');
    }
    return readKey(given.key);
  }
  throw wrongType('key', 'of type string or an instance of ArrayBuffer, Buffer, TypedArray, DataView, KeyObject, or CryptoKey', given);
}

function createPrivateKey(given) {
  const held = readKey(given);
  if (held instanceof Uint8Array || !held.isPrivate) throw coded(TypeError, 'ERR_INVALID_ARG_VALUE', 'createPrivateKey: the key is not a private one');
  return asymmetric(held);
}
function createPublicKey(given) {
  const held = readKey(given);
  if (held instanceof Uint8Array) throw coded(TypeError, 'ERR_CRYPTO_INVALID_KEY_OBJECT_TYPE', 'Invalid key object type secret, expected private.');
  return asymmetric(keys.toPublic(held));
}

function secretOf(key) {
  if (key.type !== 'secret') throw coded(TypeError, 'ERR_CRYPTO_INVALID_KEY_OBJECT_TYPE', `Invalid key object type ${key.type}, expected secret.`);
  return material.get(key);
}
function privateOf(given) {
  const held = readKey(given);
  if (held instanceof Uint8Array || !held.isPrivate) {
    throw coded(TypeError, 'ERR_CRYPTO_INVALID_KEY_OBJECT_TYPE', 'Invalid key object type, expected private.');
  }
  return held;
}
function publicOf(given) {
  const held = readKey(given);
  if (held instanceof Uint8Array) throw coded(TypeError, 'ERR_CRYPTO_INVALID_KEY_OBJECT_TYPE', 'Invalid key object type secret, expected public.');
  return held;
}

// ---- Signatures

const constants = {
  RSA_PKCS1_PADDING: 1, RSA_NO_PADDING: 3, RSA_PKCS1_OAEP_PADDING: 4, RSA_PKCS1_PSS_PADDING: 6,
  RSA_PSS_SALTLEN_DIGEST: -1, RSA_PSS_SALTLEN_MAX_SIGN: -2, RSA_PSS_SALTLEN_AUTO: -2,
  defaultCipherList: '', TLS1_2_VERSION: 771, TLS1_3_VERSION: 772,
};

function scheme(hash, held, options) {
  if (held.kind === 'ed25519') return 'ed25519';
  const name = hash === null || hash === undefined ? 'sha256' : hashNamed(hash);
  if (held.kind === 'ec') return `ecdsa-${held.curve.toLowerCase()}-${name}`;
  if (held.kind !== 'rsa') throw unsupported(`A signature with a key of the kind ${held.kind}`);
  const padding = options?.padding ?? constants.RSA_PKCS1_PADDING;
  if (padding === constants.RSA_PKCS1_PADDING) return `rsa-pkcs1-${name}`;
  if (padding !== constants.RSA_PKCS1_PSS_PADDING) throw unsupported('This padding of signatures');
  return `rsa-pss-${name}`;
}

/** With RSA-PSS the host signs with a salt as long as the hash, and verifies nothing else. */
function pssFits(name, options, verifying) {
  const salt = options?.saltLength;
  if (!name.startsWith('rsa-pss-') || salt === undefined || salt === constants.RSA_PSS_SALTLEN_DIGEST) return;
  if (verifying && salt === constants.RSA_PSS_SALTLEN_AUTO) return;
  if (salt !== Number(name.slice('rsa-pss-sha'.length)) / 8) throw unsupported('A salt of another length than the hash');
}

function signBytes(hash, bytes, given) {
  const held = privateOf(given);
  const name = scheme(hash, held, given);
  pssFits(name, given, false);
  const signature = host.crypto.sign(name, held.pkcs8, bytes);
  return buffer(held.kind === 'ec' && given?.dsaEncoding !== 'ieee-p1363' ? keys.signatureToDer(signature) : signature);
}

function verifyBytes(hash, bytes, given, signature) {
  const held = publicOf(given);
  const name = scheme(hash, held, given);
  pssFits(name, given, true);
  let plain = signature;
  if (held.kind === 'ec' && given?.dsaEncoding !== 'ieee-p1363') {
    try { plain = keys.signatureFromDer(signature, keys.curveNamed(held.curve).size); } catch { return false; }
  }
  return host.crypto.verify(name, held.spki, bytes, plain);
}

function later(callback, compute) {
  if (typeof callback !== 'function') return compute();
  queueMicrotask(() => {
    let value;
    try { value = compute(); } catch (error) { callback(error); return; }
    callback(null, value);
  });
  return undefined;
}

const { Writable } = require('node/stream');

class Sign extends Writable {
  #hash; #chunks = [];
  constructor(hash) { super(); this.#hash = hashNamed(hash); }
  update(data, encoding) { updated(this.#chunks, data, encoding); return this; }
  sign(key, encoding) { return out(signBytes(this.#hash, joined(this.#chunks), key), encoding); }
  _write(chunk, encoding, done) { this.update(chunk, encoding); done(); }
}
class Verify extends Writable {
  #hash; #chunks = [];
  constructor(hash) { super(); this.#hash = hashNamed(hash); }
  update(data, encoding) { updated(this.#chunks, data, encoding); return this; }
  verify(key, signature, encoding) { return verifyBytes(this.#hash, joined(this.#chunks), key, dataOf(signature, encoding, 'signature')); }
  _write(chunk, encoding, done) { this.update(chunk, encoding); done(); }
}

const sign = (hash, data, key, callback) => later(callback, () => signBytes(hash, dataOf(data), key));
const verify = (hash, data, key, signature, callback) => later(callback, () => verifyBytes(hash, dataOf(data), key, dataOf(signature)));

// ---- Ciphers

const cipherPattern = /^(?:id-)?aes-?(128|192|256)-(gcm|cbc|ctr|wrap)$/;
const BLOCK = 16;
const nothing = new Uint8Array(0);

/** The counter block that is `blocks` behind another. */
function counterAt(base, blocks) {
  const counter = new Uint8Array(base);
  let carry = blocks;
  for (let at = BLOCK - 1; at >= 0 && carry > 0; at -= 1) {
    carry += counter[at];
    counter[at] = carry % 256;
    carry = Math.floor(carry / 256);
  }
  return counter;
}

class Cipher extends Transform {
  #name; #encrypting; #key; #iv; #mode; #done = false; #padded = true;
  // Of CBC: what is no whole block yet. Of the others: how far the counter is, and for GCM everything, which its tag is over.
  #rest = nothing; #offset = 0; #all = []; #extra = nothing; #tag;

  constructor(encrypting, name, key, iv) {
    super();
    const match = cipherPattern.exec(`${name}`.toLowerCase());
    if (!match) {
      throw coded(Error, 'ERR_CRYPTO_UNKNOWN_CIPHER', `Unknown cipher: ${name}. Actions have AES with 128, 192 and 256 bits in the modes gcm, cbc and ctr`);
    }
    this.#mode = match[2];
    this.#name = `aes-${match[1]}`;
    this.#encrypting = encrypting;
    this.#key = key instanceof KeyObject ? secretOf(key) : new Uint8Array(dataOf(key, 'utf8', 'key'));
    this.#iv = new Uint8Array(dataOf(iv, 'utf8', 'iv'));
    if (this.#key.length !== Number(match[1]) / 8) throw coded(RangeError, 'ERR_CRYPTO_INVALID_KEYLEN', 'Invalid key length');
    const size = { gcm: 12, wrap: 8 }[this.#mode] ?? BLOCK;
    if (this.#iv.length !== size) throw coded(TypeError, 'ERR_CRYPTO_INVALID_IV', `Invalid initialization vector: ${size} bytes are needed`);
  }

  setAAD(bytes) { this.#extra = new Uint8Array(dataOf(bytes)); return this; }
  setAutoPadding(padded = true) { this.#padded = padded; return this; }
  setAuthTag(tag, encoding) {
    this.#tag = new Uint8Array(dataOf(tag, encoding));
    if (this.#tag.length !== BLOCK) throw coded(TypeError, 'ERR_CRYPTO_INVALID_AUTH_TAG', 'An authentication tag has 16 bytes here');
    return this;
  }
  getAuthTag() {
    if (!this.#tag || !this.#encrypting) throw coded(Error, 'ERR_CRYPTO_INVALID_STATE', 'Invalid state for operation getAuthTag');
    return buffer(this.#tag.slice());
  }

  update(data, encoding, outEncoding) {
    if (this.#done) throw coded(Error, 'ERR_CRYPTO_INVALID_STATE', 'Invalid state for operation update');
    const bytes = new Uint8Array(dataOf(data, encoding));
    if (this.#mode === 'cbc') return out(this.#blocks(bytes), outEncoding);
    if (this.#mode === 'wrap') return out(this.#wrapped(bytes), outEncoding);
    if (this.#mode === 'gcm') this.#all.push(bytes);
    return out(this.#stream(bytes), outEncoding);
  }

  /** A key wrapped by another (RFC 3394), which is one piece. */
  #wrapped(bytes) {
    if (this.#iv.some((byte) => byte !== 0xA6)) throw unsupported('Key wrapping with another initial value');
    const result = host.crypto.wrap(this.#encrypting, this.#key, bytes);
    if (!result) throw coded(Error, 'ERR_OSSL_BAD_DECRYPT', 'bad decrypt');
    return result;
  }

  /** With a counter. That of GCM stands at 2 where the text begins (NIST SP 800-38D §7.1). */
  #stream(bytes) {
    const base = this.#mode === 'gcm' ? Uint8Array.from([...this.#iv, 0, 0, 0, 2]) : this.#iv;
    const skipped = this.#offset % BLOCK;
    const padded = new Uint8Array(skipped + bytes.length);
    padded.set(bytes, skipped);
    const result = host.crypto.cipher(`${this.#name}-ctr`, true, this.#key, counterAt(base, Math.floor(this.#offset / BLOCK)), nothing, padded);
    this.#offset += bytes.length;
    return result.slice(skipped);
  }

  /** The whole blocks there are. The last one waits where it may hold the padding. */
  #blocks(bytes) {
    const held = Buffer.concat([this.#rest, bytes]);
    let size = held.length - held.length % BLOCK;
    if (!this.#encrypting && this.#padded && size === held.length && size > 0) size -= BLOCK;
    this.#rest = new Uint8Array(held.subarray(size));
    if (size === 0) return nothing;
    const blocks = new Uint8Array(held.subarray(0, size));
    const result = host.crypto.cipher(`${this.#name}-cbc-unpadded`, this.#encrypting, this.#key, this.#iv, nothing, blocks);
    this.#iv = (this.#encrypting ? result : blocks).slice(-BLOCK);
    return result;
  }

  final(encoding) {
    if (this.#done) throw coded(Error, 'ERR_CRYPTO_INVALID_STATE', 'Unsupported state or unable to authenticate data');
    this.#done = true;
    if (this.#mode === 'ctr' || this.#mode === 'wrap') return out(nothing, encoding);
    if (this.#mode === 'gcm') {
      this.#authenticate();
      return out(nothing, encoding);
    }
    if (!this.#padded) {
      if (this.#rest.length > 0) throw coded(Error, 'ERR_OSSL_WRONG_FINAL_BLOCK_LENGTH', 'wrong final block length');
      return out(nothing, encoding);
    }
    const result = host.crypto.cipher(`${this.#name}-cbc`, this.#encrypting, this.#key, this.#iv, nothing, this.#rest);
    if (!result) throw coded(Error, 'ERR_OSSL_BAD_DECRYPT', 'bad decrypt');
    return out(result, encoding);
  }

  #authenticate() {
    const all = new Uint8Array(Buffer.concat(this.#encrypting ? this.#all : [...this.#all, this.#tag ?? nothing]));
    const result = host.crypto.cipher(`${this.#name}-gcm`, this.#encrypting, this.#key, this.#iv, this.#extra, all);
    if (!result) throw new Error('Unsupported state or unable to authenticate data');
    if (this.#encrypting) this.#tag = result.slice(-BLOCK);
  }

  _transform(chunk, encoding, done) { this.push(this.update(chunk, encoding)); done(); }
  _flush(done) {
    let last;
    try { last = this.final(); } catch (error) { done(error); return; }
    this.push(last);
    done();
  }
}

const oaepHash = (given) => hashNamed(given?.oaepHash ?? 'sha1');
function rsaName(given) {
  const padding = given?.padding ?? constants.RSA_PKCS1_OAEP_PADDING;
  if (padding === constants.RSA_PKCS1_PADDING) return 'pkcs1';
  if (padding !== constants.RSA_PKCS1_OAEP_PADDING) throw unsupported('This padding of RSA');
  if (given?.oaepLabel !== undefined) throw unsupported('A label of RSA-OAEP');
  return `oaep-${oaepHash(given)}`;
}
function publicEncrypt(given, data) {
  const result = host.crypto.rsaEncrypt(rsaName(given), publicOf(given).spki, dataOf(data));
  if (!result) throw coded(Error, 'ERR_OSSL_RSA_DATA_TOO_LARGE_FOR_KEY_SIZE', 'data too large for key size');
  return buffer(result);
}
function privateDecrypt(given, data) {
  const result = host.crypto.rsaDecrypt(rsaName(given), privateOf(given).pkcs8, dataOf(data));
  if (!result) throw coded(Error, 'ERR_OSSL_RSA_OAEP_DECODING_ERROR', 'oaep decoding error');
  return buffer(result);
}

// ---- Derivation, agreement, generation

const secretBytes = (given, what) => (given instanceof KeyObject ? secretOf(given) : dataOf(given, 'utf8', what));
const pbkdf2Sync = (password, salt, iterations, length, hash) => buffer(host.crypto.pbkdf2(hashNamed(hash), secretBytes(password, 'password'), dataOf(salt), iterations, length));
const hkdfSync = (hash, key, salt, info, length) => host.crypto.hkdf(hashNamed(hash), secretBytes(key, 'ikm'), dataOf(salt), dataOf(info), length).buffer;

function diffieHellman({ privateKey, publicKey }, callback) {
  return later(callback, () => {
    const own = privateOf(privateKey);
    const shared = host.crypto.agree(own.kind, own.curve, own.pkcs8, keys.publicBits(publicOf(publicKey)));
    if (!shared) throw coded(Error, 'ERR_CRYPTO_INCOMPATIBLE_KEY', 'Incompatible key for Diffie-Hellman');
    return buffer(shared);
  });
}

function generateKeyPairSync(type, options = {}) {
  const kind = { rsa: 'rsa', 'rsa-pss': 'rsa', ec: 'ec', ed25519: 'ed25519', x25519: 'x25519' }[type];
  if (!kind) throw unsupported(`A key pair of the type ${type}`);
  if (options.publicExponent !== undefined && options.publicExponent !== 65537) throw unsupported('Another public exponent than 65537');
  const parameter = kind === 'rsa' ? options.modulusLength : kind === 'ec' ? keys.curveNamed(options.namedCurve).name : undefined;
  const held = keys.fromPkcs8(host.crypto.generateKey(kind, parameter));
  const pair = { publicKey: asymmetric(keys.toPublic(held)), privateKey: asymmetric(held) };
  if (options.publicKeyEncoding) pair.publicKey = pair.publicKey.export(options.publicKeyEncoding);
  if (options.privateKeyEncoding) pair.privateKey = pair.privateKey.export(options.privateKeyEncoding);
  return pair;
}
function generateKeyPair(type, options, callback) {
  const done = typeof options === 'function' ? options : callback;
  const given = typeof options === 'function' ? {} : options;
  later((error, pair) => (error ? done(error) : done(null, pair.publicKey, pair.privateKey)), () => generateKeyPairSync(type, given));
}
Object.defineProperty(generateKeyPair, Symbol.for('nodejs.util.promisify.custom'), {
  value: async (type, options) => generateKeyPairSync(type, options),
});
function generateKeySync(type, { length }) {
  if (type !== 'hmac' && type !== 'aes') throw coded(TypeError, 'ERR_INVALID_ARG_VALUE', 'The argument "type" must be "hmac" or "aes"');
  return secretKey(randomBytes(Math.trunc(length / 8)));
}

// ---- Random

const AT_ONCE = 65536;

function randomFillSync(array, offset = 0, size = undefined) {
  const bytes = bytesOf(array).subarray(offset, size === undefined ? undefined : offset + size);
  for (let at = 0; at < bytes.length; at += AT_ONCE) bytes.set(host.crypto.random(Math.min(AT_ONCE, bytes.length - at)), at);
  return array;
}
function randomBytes(size, callback) {
  if (!(Number.isInteger(size) && size >= 0)) throw coded(RangeError, 'ERR_OUT_OF_RANGE', 'The value of "size" is out of range.');
  return later(callback, () => randomFillSync(Buffer.alloc(size)));
}
function randomFill(array, ...values) {
  const callback = values.pop();
  return later(callback, () => randomFillSync(array, ...values));
}
function randomInt(...values) {
  const callback = typeof values.at(-1) === 'function' ? values.pop() : undefined;
  const [low, high] = values.length === 1 ? [0, values[0]] : values;
  const range = high - low;
  if (!(Number.isSafeInteger(low) && Number.isSafeInteger(high) && range > 0 && range < 2 ** 48)) {
    throw coded(RangeError, 'ERR_OUT_OF_RANGE', 'The value of "max" is out of range.');
  }
  return later(callback, () => {
    // What would favour small numbers is drawn anew.
    const limit = 2 ** 48 - 2 ** 48 % range;
    for (;;) {
      const drawn = randomBytes(6).readUIntBE(0, 6);
      if (drawn < limit) return low + drawn % range;
    }
  });
}

function timingSafeEqual(one, other) {
  const [left, right] = [bytesOf(one), bytesOf(other)];
  if (left.length !== right.length) throw coded(RangeError, 'ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH', 'Input buffers must have the same byte length');
  return host.crypto.equal(left, right);
}

class X509Certificate {
  #bytes;
  constructor(given) {
    const bytes = dataOf(given, 'utf8', 'buffer');
    const pem = /-----BEGIN CERTIFICATE-----([^-]*)-----END/.exec(Buffer.from(bytes).toString('latin1'));
    this.#bytes = pem ? Buffer.from(pem[1], 'base64') : Buffer.from(bytes);
    Object.defineProperty(this, 'publicKey', { value: createPublicKey(this.toString()) });
  }
  get raw() { return this.#bytes; }
  get fingerprint() { return colons(digest('sha1', this.#bytes)); }
  get fingerprint256() { return colons(digest('sha256', this.#bytes)); }
  get fingerprint512() { return colons(digest('sha512', this.#bytes)); }
  toString() { return keys.toPem('CERTIFICATE', this.#bytes); }
}
for (const name of ['subject', 'issuer', 'validFrom', 'validTo', 'serialNumber', 'subjectAltName', 'verify', 'checkHost', 'checkIssued']) {
  Object.defineProperty(X509Certificate.prototype, name, { get() { throw unsupported(`X509Certificate.${name}`); }, configurable: true });
}
const colons = (bytes) => buffer(bytes).toString('hex').toUpperCase().match(/../g).join(':');

const refuse = (name, instead) => () => { throw unsupported(`crypto.${name}`, instead); };
const promised = (compute) => (...values) => {
  const callback = values.pop();
  if (typeof callback !== 'function') throw wrongType('callback', 'of type function', callback);
  return later(callback, () => compute(...values));
};

module.exports = {
  Hash, Hmac, Sign, Verify, KeyObject, X509Certificate, constants,
  createHash: (name) => new Hash(name),
  createHmac: (name, key) => new Hmac(name, key),
  hash: (name, data, encoding = 'hex') => out(digest(hashNamed(name), dataOf(data)), encoding),
  createSign: (hash) => new Sign(hash), createVerify: (hash) => new Verify(hash), sign, verify,
  createCipheriv: (name, key, iv) => new Cipher(true, name, key, iv),
  createDecipheriv: (name, key, iv) => new Cipher(false, name, key, iv),
  publicEncrypt, privateDecrypt, publicDecrypt: refuse('publicDecrypt'), privateEncrypt: refuse('privateEncrypt'),
  createSecretKey, createPublicKey, createPrivateKey, generateKeyPair, generateKeyPairSync, generateKeySync, generateKey: promised(generateKeySync),
  pbkdf2Sync, pbkdf2: promised(pbkdf2Sync), hkdfSync, hkdf: promised(hkdfSync), diffieHellman,
  scrypt: refuse('scrypt', 'Use pbkdf2.'), scryptSync: refuse('scryptSync', 'Use pbkdf2Sync.'),
  createDiffieHellman: refuse('createDiffieHellman'), getDiffieHellman: refuse('getDiffieHellman'), createECDH: refuse('createECDH', 'Use diffieHellman.'),
  randomBytes, pseudoRandomBytes: randomBytes, randomFill, randomFillSync, randomInt, timingSafeEqual,
  randomUUID: () => require('web/crypto').crypto.randomUUID(),
  getRandomValues: (array) => require('web/crypto').crypto.getRandomValues(array),
  getHashes: () => Object.keys(hashes),
  getCiphers: () => ['aes-128-cbc', 'aes-128-ctr', 'aes-128-gcm', 'aes-192-cbc', 'aes-192-ctr', 'aes-192-gcm', 'aes-256-cbc', 'aes-256-ctr', 'aes-256-gcm', 'aes128-wrap', 'aes256-wrap'],
  getCipherInfo(name) {
    const match = cipherPattern.exec(`${name}`.toLowerCase());
    return match ? { name: match[0], mode: match[2], keyLength: Number(match[1]) / 8, ivLength: { gcm: 12, wrap: 8 }[match[2]] ?? BLOCK } : undefined;
  },
  getCurves: () => ['prime256v1', 'secp256k1', 'secp384r1', 'secp521r1'],
  getFips: () => 0,
  get webcrypto() { return require('web/crypto').crypto; },
  get subtle() { return require('web/crypto').crypto.subtle; },
};
