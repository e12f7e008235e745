'use strict';
// Web Cryptography: `crypto` and `crypto.subtle` for the algorithms of JOSE and their neighbours.
const { DOMException, unsupported } = require('web/errors');
const { bytesOf, encode } = require('web/encoding');

const notSupported = (what) => new DOMException(`${what} is not supported`, 'NotSupportedError');
const dataError = (message) => new DOMException(message, 'DataError');

const HASHES = { 'SHA-1': 'sha1', 'SHA-256': 'sha256', 'SHA-384': 'sha384', 'SHA-512': 'sha512' };
const BLOCKS = { 'SHA-1': 512, 'SHA-256': 512, 'SHA-384': 1024, 'SHA-512': 1024 };
const NAMES = [
  'RSASSA-PKCS1-v1_5', 'RSA-PSS', 'RSA-OAEP', 'ECDSA', 'ECDH', 'Ed25519', 'X25519', 'HMAC', 'AES-GCM', 'AES-CBC', 'AES-CTR', 'AES-KW',
  'PBKDF2', 'HKDF', 'SHA-1', 'SHA-256', 'SHA-384', 'SHA-512',
];
const SIGNERS = new Set(['RSASSA-PKCS1-v1_5', 'RSA-PSS', 'ECDSA', 'Ed25519', 'HMAC']);

function normal(algorithm) {
  const given = typeof algorithm === 'string' ? { name: algorithm } : algorithm;
  const wanted = `${given?.name}`.toLowerCase();
  const name = NAMES.find((known) => known.toLowerCase() === wanted)
    ?? (wanted === 'eddsa' ? 'Ed25519' : undefined);
  if (!name) throw notSupported(`The algorithm ${given?.name}`);
  return { ...given, name };
}
function hashOf(hash) {
  const { name } = normal(hash);
  if (!HASHES[name]) throw notSupported(`The hash ${name}`);
  return name;
}

// The material behind a CryptoKey: bytes of a secret, or a key as web/keys has it.
const materials = new WeakMap();
const token = {};

class CryptoKey {
  #type; #extractable; #algorithm; #usages;
  constructor(key, type, extractable, algorithm, usages) {
    if (key !== token) throw new TypeError('Illegal constructor');
    this.#type = type;
    this.#extractable = extractable;
    this.#algorithm = algorithm;
    this.#usages = usages;
  }
  get type() { return this.#type; }
  get extractable() { return this.#extractable; }
  get algorithm() { return this.#algorithm; }
  get usages() { return [...this.#usages]; }
  get [Symbol.toStringTag]() { return 'CryptoKey'; }
}

function make(material, type, extractable, algorithm, usages) {
  const key = new CryptoKey(token, type, !!extractable, algorithm, [...usages]);
  materials.set(key, material);
  return key;
}

function material(key, usage, name) {
  const held = key instanceof CryptoKey ? materials.get(key) : undefined;
  if (!held) throw new TypeError('a CryptoKey was expected');
  if (name && key.algorithm.name !== name) throw new DOMException(`The key is for ${key.algorithm.name}, not for ${name}`, 'InvalidAccessError');
  if (usage && !key.usages.includes(usage)) throw new DOMException(`The key may not be used to ${usage}`, 'InvalidAccessError');
  return held;
}

const FAMILIES = {
  'RSASSA-PKCS1-v1_5': 'rsa', 'RSA-PSS': 'rsa', 'RSA-OAEP': 'rsa', ECDSA: 'ec', ECDH: 'ec', Ed25519: 'ed25519', X25519: 'x25519',
};

/** The algorithm that a key of two halves carries, once it is known which key it is. */
function describe(algorithm, key) {
  const { rsaDetails } = require('web/keys');
  const kind = FAMILIES[algorithm.name];
  if (kind !== key.kind) throw dataError(`The key is not one for ${algorithm.name}`);
  if (kind === 'rsa') {
    const { modulusLength, publicExponent } = rsaDetails(key);
    const exponent = [];
    for (let rest = publicExponent; rest > 0n; rest >>= 8n) exponent.unshift(Number(rest & 255n));
    return { name: algorithm.name, modulusLength, publicExponent: new Uint8Array(exponent), hash: { name: hashOf(algorithm.hash) } };
  }
  if (kind === 'ec') {
    if (algorithm.namedCurve !== undefined && algorithm.namedCurve !== key.curve) throw dataError(`The key is on ${key.curve}`);
    return { name: algorithm.name, namedCurve: key.curve };
  }
  return { name: algorithm.name };
}

function secret(algorithm, bytes, extractable, usages) {
  const { name } = algorithm;
  if (name === 'HMAC') {
    const hash = { name: hashOf(algorithm.hash) };
    if (bytes.length === 0) throw dataError('An HMAC key may not be empty');
    return make(bytes, 'secret', extractable, { name, hash, length: bytes.length * 8 }, usages);
  }
  if (name === 'PBKDF2' || name === 'HKDF') return make(bytes, 'secret', false, { name }, usages);
  if (!name.startsWith('AES-')) throw notSupported(`A secret key for ${name}`);
  if (![16, 24, 32].includes(bytes.length)) throw dataError('An AES key has 128, 192 or 256 bits');
  return make(bytes, 'secret', extractable, { name, length: bytes.length * 8 }, usages);
}

function importKey(format, data, algorithm, extractable, usages) {
  const keys = require('web/keys');
  const wanted = normal(algorithm);
  const { name } = wanted;
  if (!FAMILIES[name]) {
    if (format === 'raw' || format === 'raw-secret') return secret(wanted, new Uint8Array(bytesOf(data)), extractable, usages);
    if (format !== 'jwk') throw notSupported(`The format ${format} for ${name}`);
    if (data?.kty !== 'oct') throw dataError('The JWK is not a secret');
    return secret(wanted, keys.fromBase64url(data.k, 'k'), extractable, usages);
  }
  let key;
  try {
    if (format === 'jwk') key = keys.fromJwk(data);
    else if (format === 'spki') key = keys.fromSpki(bytesOf(data));
    else if (format === 'pkcs8') key = keys.fromPkcs8(bytesOf(data));
    else if (format === 'raw' || format === 'raw-public') key = rawPublic(wanted, new Uint8Array(bytesOf(data)));
    else throw notSupported(`The format ${format}`);
  } catch (error) {
    if (error instanceof DOMException || error?.code === 'ERR_FEATURE_UNAVAILABLE') throw error;
    throw new DOMException(error.message, { name: 'DataError', cause: error });
  }
  return make(key, key.isPrivate ? 'private' : 'public', extractable, describe(wanted, key), usages);
}

function rawPublic({ name, namedCurve }, bytes) {
  const { spkiOf } = require('web/keys');
  const kind = FAMILIES[name];
  if (kind === 'rsa') throw notSupported('A raw RSA key');
  const key = kind === 'ec' ? { kind, curve: namedCurve } : { kind };
  return { ...key, isPrivate: false, spki: spkiOf(key, bytes), pkcs8: null };
}

function exportKey(format, key) {
  const held = material(key);
  const keys = require('web/keys');
  if (!key.extractable) throw new DOMException('The key is not extractable', 'InvalidAccessError');
  if (key.type === 'secret') {
    if (format === 'raw' || format === 'raw-secret') return held.slice().buffer;
    if (format !== 'jwk') throw notSupported(`The format ${format} for a secret`);
    return { kty: 'oct', k: keys.base64url(held), ...jwkAlg(key), key_ops: key.usages, ext: true };
  }
  if (format === 'jwk') return { ...keys.toJwk(held), key_ops: key.usages, ext: true };
  if (format === 'pkcs8' && held.isPrivate) return held.pkcs8.slice().buffer;
  if (format === 'spki' && !held.isPrivate) return held.spki.slice().buffer;
  if ((format === 'raw' || format === 'raw-public') && !held.isPrivate && held.kind !== 'rsa') return keys.publicBits(held).slice().buffer;
  throw new DOMException(`A ${key.type} key has no format ${format}`, 'InvalidAccessError');
}

function jwkAlg({ algorithm }) {
  if (algorithm.name === 'HMAC') return { alg: `HS${algorithm.hash.name.slice(4)}` };
  return { alg: `A${algorithm.length}${algorithm.name.slice(4)}` };
}

/** The host's name for a signature with this key. */
function scheme(algorithm, key) {
  const { name } = key.algorithm;
  if (name === 'Ed25519') return 'ed25519';
  if (name === 'ECDSA') return `ecdsa-${key.algorithm.namedCurve.toLowerCase()}-${HASHES[hashOf(algorithm.hash)]}`;
  const hash = HASHES[key.algorithm.hash.name];
  if (name === 'RSASSA-PKCS1-v1_5') return `rsa-pkcs1-${hash}`;
  return `rsa-pss-${hash}`;
}

function sign(algorithm, key, data) {
  const wanted = normal(algorithm);
  const held = material(key, 'sign', wanted.name);
  const bytes = bytesOf(data);
  if (wanted.name === 'HMAC') return host.crypto.hmac(HASHES[key.algorithm.hash.name], held, bytes);
  if (!SIGNERS.has(wanted.name)) throw notSupported(`Signing with ${wanted.name}`);
  saltFits(wanted, key);
  return host.crypto.sign(scheme(wanted, key), held.pkcs8, bytes);
}

function verify(algorithm, key, signature, data) {
  const wanted = normal(algorithm);
  const held = material(key, 'verify', wanted.name);
  const bytes = bytesOf(data);
  if (wanted.name === 'HMAC') {
    return host.crypto.equal(host.crypto.hmac(HASHES[key.algorithm.hash.name], held, bytes), bytesOf(signature));
  }
  if (!SIGNERS.has(wanted.name)) throw notSupported(`Verifying with ${wanted.name}`);
  saltFits(wanted, key);
  return host.crypto.verify(scheme(wanted, key), held.spki, bytes, bytesOf(signature));
}

/** The salt of RSA-PSS is as long as the hash: what JOSE demands, and the only length that the host signs with. */
function saltFits({ name, saltLength }, key) {
  if (name === 'RSA-PSS' && saltLength !== Number(HASHES[key.algorithm.hash.name].slice(3)) / 8) {
    throw notSupported('A salt of another length than the hash');
  }
}

function cipher(encrypting, algorithm, key, data, usage = encrypting ? 'encrypt' : 'decrypt') {
  const wanted = normal(algorithm);
  const held = material(key, usage, wanted.name);
  const bytes = bytesOf(data);
  const failed = () => new DOMException('The operation failed for an operation-specific reason', 'OperationError');
  if (wanted.name === 'RSA-OAEP') {
    if (wanted.label !== undefined && bytesOf(wanted.label).length > 0) throw notSupported('A label');
    const name = `oaep-${HASHES[key.algorithm.hash.name]}`;
    const out = encrypting ? host.crypto.rsaEncrypt(name, held.spki, bytes) : host.crypto.rsaDecrypt(name, held.pkcs8, bytes);
    if (!out) throw failed();
    return out;
  }
  const mode = { 'AES-GCM': 'gcm', 'AES-CBC': 'cbc', 'AES-CTR': 'ctr' }[wanted.name];
  if (!mode) throw notSupported(`${wanted.name} for data`);
  if (mode === 'gcm' && (wanted.tagLength ?? 128) !== 128) throw notSupported('A tag of less than 128 bits');
  const iv = bytesOf(mode === 'ctr' ? wanted.counter : wanted.iv);
  const extra = wanted.additionalData === undefined ? new Uint8Array(0) : bytesOf(wanted.additionalData);
  const out = host.crypto.cipher(`aes-${held.length * 8}-${mode}`, encrypting, held, iv, extra, bytes);
  if (!out) throw failed();
  return out;
}

function deriveBits(algorithm, key, length) {
  const wanted = normal(algorithm);
  if (wanted.name === 'ECDH' || wanted.name === 'X25519') {
    const held = material(key, undefined, wanted.name);
    const { publicBits } = require('web/keys');
    const shared = host.crypto.agree(held.kind, held.curve, held.pkcs8, publicBits(material(wanted.public, undefined, wanted.name)));
    if (!shared) throw new DOMException('The keys do not fit', 'OperationError');
    if (length === null || length === undefined) return shared;
    if (length > shared.byteLength * 8) throw new DOMException('More bits than there are', 'OperationError');
    return shared.slice(0, Math.ceil(length / 8));
  }
  const held = material(key, undefined, wanted.name);
  if (!Number.isInteger(length) || length % 8 !== 0) throw new DOMException('A length in whole bytes is needed', 'OperationError');
  const hash = HASHES[hashOf(wanted.hash)];
  const salt = bytesOf(wanted.salt);
  if (wanted.name === 'PBKDF2') return host.crypto.pbkdf2(hash, held, salt, wanted.iterations, length / 8);
  if (wanted.name === 'HKDF') return host.crypto.hkdf(hash, held, salt, bytesOf(wanted.info), length / 8);
  throw notSupported(`Deriving with ${wanted.name}`);
}

function generateKey(algorithm, extractable, usages) {
  const wanted = normal(algorithm);
  const { name } = wanted;
  const kind = FAMILIES[name];
  if (!kind) {
    const bits = wanted.length ?? (name === 'HMAC' ? BLOCKS[hashOf(wanted.hash)] : 0);
    return secret(wanted, host.crypto.random(bits / 8), extractable, usages);
  }
  if (kind === 'rsa' && [...wanted.publicExponent ?? []].join() !== '1,0,1') throw notSupported('Another public exponent than 65537');
  const keys = require('web/keys');
  const key = keys.fromPkcs8(host.crypto.generateKey(kind, wanted.namedCurve ?? wanted.modulusLength));
  const described = describe(wanted, key);
  const own = (list) => [...usages].filter((usage) => list.includes(usage));
  return {
    publicKey: make(keys.toPublic(key), 'public', true, described, own(['verify', 'encrypt', 'wrapKey'])),
    privateKey: make(key, 'private', extractable, described, own(['sign', 'decrypt', 'unwrapKey', 'deriveKey', 'deriveBits'])),
  };
}

async function wrapKey(format, key, wrapping, algorithm) {
  const exported = exportKey(format, key);
  const bytes = format === 'jwk' ? encode(JSON.stringify(exported)) : new Uint8Array(exported);
  if (normal(algorithm).name !== 'AES-KW') return cipher(true, algorithm, wrapping, bytes, 'wrapKey');
  return host.crypto.wrap(true, material(wrapping, 'wrapKey', 'AES-KW'), bytes);
}

async function unwrapKey(format, wrapped, wrapping, algorithm, keyAlgorithm, extractable, usages) {
  const bytes = normal(algorithm).name === 'AES-KW'
    ? host.crypto.wrap(false, material(wrapping, 'unwrapKey', 'AES-KW'), bytesOf(wrapped))
    : cipher(false, algorithm, wrapping, wrapped, 'unwrapKey');
  if (!bytes) throw new DOMException('The operation failed for an operation-specific reason', 'OperationError');
  const data = format === 'jwk' ? JSON.parse(require('web/encoding').decode(new Uint8Array(bytes))) : bytes;
  return importKey(format, data, keyAlgorithm, extractable, usages);
}

function deriveKey(algorithm, key, derived, extractable, usages) {
  const wanted = normal(derived);
  const bits = wanted.length ?? (wanted.name === 'HMAC' ? BLOCKS[hashOf(wanted.hash)] : null);
  return secret(wanted, new Uint8Array(deriveBits(algorithm, key, bits)), extractable, usages);
}

/** The host answers arrays; what leaves `subtle` are their buffers. */
const buffer = (value) => (value instanceof Uint8Array ? value.buffer : value);

class SubtleCrypto {
  async digest(algorithm, data) { return buffer(host.crypto.digest(HASHES[hashOf(algorithm)], bytesOf(data))); }
  async importKey(...values) { return importKey(...values); }
  async exportKey(format, key) { return exportKey(format, key); }
  async sign(algorithm, key, data) { return buffer(sign(algorithm, key, data)); }
  async verify(algorithm, key, signature, data) { return verify(algorithm, key, signature, data); }
  async encrypt(algorithm, key, data) { return buffer(cipher(true, algorithm, key, data)); }
  async decrypt(algorithm, key, data) { return buffer(cipher(false, algorithm, key, data)); }
  async deriveBits(algorithm, key, length) { return buffer(deriveBits(algorithm, key, length)); }
  async deriveKey(...values) { return deriveKey(...values); }
  async generateKey(...values) { return generateKey(...values); }
  async wrapKey(...values) { return buffer(await wrapKey(...values)); }
  async unwrapKey(...values) { return unwrapKey(...values); }
  get [Symbol.toStringTag]() { return 'SubtleCrypto'; }
}

const RANDOM_MAX = 65536;

class Crypto {
  #subtle = new SubtleCrypto();
  get subtle() { return this.#subtle; }
  getRandomValues(array) {
    if (!ArrayBuffer.isView(array) || array instanceof DataView || array instanceof Float32Array || array instanceof Float64Array) {
      throw new DOMException('An array of integers was expected', 'TypeMismatchError');
    }
    if (array.byteLength > RANDOM_MAX) throw new DOMException(`More than ${RANDOM_MAX} bytes were asked for`, 'QuotaExceededError');
    bytesOf(array).set(host.crypto.random(array.byteLength));
    return array;
  }
  randomUUID() {
    const bytes = host.crypto.random(16);
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    return require('web/keys').hexOf(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  }
  get [Symbol.toStringTag]() { return 'Crypto'; }
}

module.exports = { crypto: new Crypto(), Crypto, SubtleCrypto, CryptoKey, make, material, unsupported };
