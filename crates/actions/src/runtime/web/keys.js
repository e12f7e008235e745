'use strict';
// Keys as bytes: DER read and written, PEM, JWK (RFC 7517, 7518, 8037), PKCS #1 and #8 (RFC 8017, 5958), SPKI and
// certificates (RFC 5280), SEC 1 (RFC 5915). A key here is { kind, curve, isPrivate, spki, pkcs8 }; only the host computes with it.
const { bytesOf, latin1Of } = require('web/encoding');
const { coded, unsupported } = require('web/errors');

const INTEGER = 0x02; const BIT_STRING = 0x03; const OCTET_STRING = 0x04; const NULL = 0x05; const OID = 0x06; const SEQUENCE = 0x30;

const RSA = '2a864886f70d010101';
const RSA_PSS = '2a864886f70d01010a';
const EC = '2a8648ce3d0201';
const ED25519 = '2b6570';
const X25519 = '2b656e';
const curves = {
  '2a8648ce3d030107': { name: 'P-256', node: 'prime256v1', size: 32 },
  '2b81040022': { name: 'P-384', node: 'secp384r1', size: 48 },
  '2b81040023': { name: 'P-521', node: 'secp521r1', size: 66 },
  '2b8104000a': { name: 'secp256k1', node: 'secp256k1', size: 32 },
};
const curveNamed = (name) => {
  const oid = Object.keys(curves).find((key) => curves[key].name === name || curves[key].node === name);
  if (!oid) throw unsupported(`The curve ${name}`);
  return { oid, ...curves[oid] };
};

const unreadable = (why) => coded(Error, 'ERR_OSSL_UNSUPPORTED', `the key could not be read: ${why}`);

const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
const fromHex = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

/** The elements of DER that stand beside each other, without reading into them. */
function read(bytes) {
  const list = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at];
    let length = bytes[at + 1];
    let head = 2;
    if (length >= 0x80) {
      const count = length & 0x7F;
      if (count === 0 || count > 4) throw unreadable('not DER');
      length = 0;
      for (let place = 0; place < count; place += 1) length = length * 256 + bytes[at + 2 + place];
      head += count;
    }
    const end = at + head + length;
    if (!(end <= bytes.length)) throw unreadable('not DER');
    list.push({ tag, content: bytes.subarray(at + head, end), whole: bytes.subarray(at, end) });
    at = end;
  }
  return list;
}

function inside(element, tag = SEQUENCE) {
  if (element?.tag !== tag) throw unreadable('its structure is another one');
  return tag === SEQUENCE ? read(element.content) : element.content;
}

function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

function der(tag, ...parts) {
  const content = concat(...parts);
  const { length } = content;
  if (length < 0x80) return concat([tag, length], content);
  const count = length < 0x100 ? 1 : length < 0x10000 ? 2 : 3;
  const head = [tag, 0x80 | count];
  for (let shift = (count - 1) * 8; shift >= 0; shift -= 8) head.push(length >> shift & 0xFF);
  return concat(head, content);
}

const trim = (bytes) => {
  let at = 0;
  while (at < bytes.length - 1 && bytes[at] === 0) at += 1;
  return bytes.subarray(at);
};
const integer = (bytes) => {
  const short = trim(bytes);
  return der(INTEGER, short[0] >= 0x80 ? [0] : [], short);
};
const oid = (hex) => der(OID, fromHex(hex));
const zero = new Uint8Array([INTEGER, 1, 0]);
const pad = (bytes, size) => {
  const short = trim(bytes);
  if (short.length > size) throw unreadable('a number is longer than its curve');
  return concat(new Uint8Array(size - short.length), short);
};

function algorithm(key) {
  if (key.kind === 'rsa') return der(SEQUENCE, oid(RSA), [NULL, 0]);
  if (key.kind === 'ec') return der(SEQUENCE, oid(EC), oid(curveNamed(key.curve).oid));
  return der(SEQUENCE, oid(key.kind === 'ed25519' ? ED25519 : X25519));
}

const spkiOf = (key, bits) => der(SEQUENCE, algorithm(key), der(BIT_STRING, [0], bits));
const pkcs8Of = (key, content) => der(SEQUENCE, zero, algorithm(key), der(OCTET_STRING, content));

/** Which kind of key an AlgorithmIdentifier names. */
function kindOf(element) {
  const [name, parameter] = inside(element);
  const id = hexOf(inside(name, OID));
  if (id === RSA || id === RSA_PSS) return { kind: 'rsa' };
  if (id === ED25519) return { kind: 'ed25519' };
  if (id === X25519) return { kind: 'x25519' };
  if (id !== EC) throw unsupported('This kind of key', 'RSA, EC, Ed25519 and X25519 are.');
  const curve = curves[hexOf(inside(parameter, OID))];
  if (!curve) throw unsupported('This curve', 'P-256, P-384, P-521 and secp256k1 are.');
  return { kind: 'ec', curve: curve.name };
}

function fromSpki(spki) {
  const [element, bits] = inside(read(spki)[0]);
  const kind = kindOf(element);
  inside(bits, BIT_STRING);
  return { ...kind, isPrivate: false, spki: kind.kind === 'rsa' ? spkiOf(kind, bits.content.subarray(1)) : new Uint8Array(spki), pkcs8: null };
}

function fromPkcs8(pkcs8) {
  const [, element, content] = inside(read(pkcs8)[0]);
  const kind = kindOf(element);
  const inner = inside(content, OCTET_STRING);
  if (kind.kind === 'rsa') return fromPkcs1(inner);
  if (kind.kind === 'ec') return fromSec1(inner, kind.curve);
  return fromSeed(kind.kind, inside(read(inner)[0], OCTET_STRING));
}

function fromPkcs1(bytes) {
  const kind = { kind: 'rsa' };
  const [, n, e] = inside(read(bytes)[0]);
  return { ...kind, isPrivate: true, spki: spkiOf(kind, der(SEQUENCE, n.whole, e.whole)), pkcs8: pkcs8Of(kind, bytes) };
}

function fromSec1(bytes, known) {
  const [, secret, ...more] = inside(read(bytes)[0]);
  const named = more.find(({ tag }) => tag === 0xA0);
  const curve = known ?? curves[named ? hexOf(inside(read(named.content)[0], OID)) : '']?.name;
  if (!curve) throw unsupported('This curve');
  const kind = { kind: 'ec', curve };
  const point = more.find(({ tag }) => tag === 0xA1);
  const d = pad(inside(secret, OCTET_STRING), curveNamed(curve).size);
  return ecPrivate(kind, d, point && inside(read(point.content)[0], BIT_STRING).subarray(1));
}

function ecPrivate(kind, d, point) {
  const write = (own) => pkcs8Of(kind, der(SEQUENCE, [INTEGER, 1, 1], der(OCTET_STRING, d), own ? der(0xA1, der(BIT_STRING, [0], own)) : []));
  const computed = host.crypto.publicKey('ec', kind.curve, write(point));
  if (point && hexOf(computed) !== hexOf(point)) throw unreadable('its public half belongs to another key');
  return { ...kind, isPrivate: true, spki: spkiOf(kind, computed), pkcs8: write(computed) };
}

function fromSeed(kind, seed) {
  if (seed.length !== 32) throw unreadable('32 bytes were expected');
  const pkcs8 = pkcs8Of({ kind }, der(OCTET_STRING, seed));
  return { kind, isPrivate: true, spki: spkiOf({ kind }, host.crypto.publicKey(kind, undefined, pkcs8)), pkcs8 };
}

function fromCertificate(bytes) {
  const [body] = inside(read(bytes)[0]);
  const fields = inside(body).filter(({ tag }) => tag !== 0xA0);
  // serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
  return fromSpki(fields[5].whole);
}

/** Bytes of a key whose form nobody named. */
function fromDer(bytes, type) {
  if (type === 'pkcs8') return fromPkcs8(bytes);
  if (type === 'spki') return fromSpki(bytes);
  if (type === 'sec1') return fromSec1(bytes);
  const fields = inside(read(bytes)[0]);
  if (type === 'pkcs1' && fields.length === 2) return fromSpki(spkiOf({ kind: 'rsa' }, bytes));
  if (type === 'pkcs1') return fromPkcs1(bytes);
  throw coded(TypeError, 'ERR_INVALID_ARG_VALUE', 'The property "options.type" must be "pkcs1", "pkcs8", "spki" or "sec1"');
}

function fromPem(text) {
  const match = /-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----/.exec(text);
  if (!match) throw unreadable('no PEM block');
  if (/ENCRYPTED/.test(match[1]) || /ENCRYPTED/.test(match[2])) throw unsupported('An encrypted private key', 'Give it without its passphrase, as a secret.');
  const bytes = host.text.base64Decode(match[2].replace(/\s+/g, ''));
  switch (match[1]) {
    case 'PUBLIC KEY': return fromSpki(bytes);
    case 'PRIVATE KEY': return fromPkcs8(bytes);
    case 'RSA PUBLIC KEY': return fromSpki(spkiOf({ kind: 'rsa' }, bytes));
    case 'RSA PRIVATE KEY': return fromPkcs1(bytes);
    case 'EC PRIVATE KEY': return fromSec1(bytes);
    case 'CERTIFICATE': return fromCertificate(bytes);
    default: throw unreadable(`"${match[1]}" is not a key`);
  }
}

function toPem(label, bytes) {
  const lines = host.text.base64Encode(bytes, false).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

const base64url = (bytes) => host.text.base64Encode(bytes, true);

function fromBase64url(text, what = 'a member') {
  if (typeof text !== 'string' || /[^A-Za-z0-9_\-=]/.test(text)) throw coded(TypeError, 'ERR_INVALID_ARG_VALUE', `JWK: ${what} is not base64url`);
  return host.text.base64Decode(text);
}

function fromJwk(jwk) {
  const get = (name) => fromBase64url(jwk[name], name);
  if (jwk.kty === 'RSA') {
    const kind = { kind: 'rsa' };
    const half = [integer(get('n')), integer(get('e'))];
    if (jwk.d === undefined) return { ...kind, isPrivate: false, spki: spkiOf(kind, der(SEQUENCE, ...half)), pkcs8: null };
    return fromPkcs1(der(SEQUENCE, zero, ...half, ...['d', 'p', 'q', 'dp', 'dq', 'qi'].map((name) => integer(get(name)))));
  }
  if (jwk.kty === 'EC') {
    const { name, size } = curveNamed(jwk.crv);
    const kind = { kind: 'ec', curve: name };
    const point = concat([4], pad(get('x'), size), pad(get('y'), size));
    if (jwk.d !== undefined) return ecPrivate(kind, pad(get('d'), size), point);
    return { ...kind, isPrivate: false, spki: spkiOf(kind, point), pkcs8: null };
  }
  if (jwk.kty === 'OKP' && (jwk.crv === 'Ed25519' || jwk.crv === 'X25519')) {
    const kind = jwk.crv.toLowerCase();
    if (jwk.d !== undefined) return fromSeed(kind, get('d'));
    return { kind, isPrivate: false, spki: spkiOf({ kind }, get('x')), pkcs8: null };
  }
  throw unsupported(`A JWK of the kind ${jwk.kty} ${jwk.crv ?? ''}`.trim(), 'RSA, EC and OKP with Ed25519 or X25519 are.');
}

/** What stands in the BIT STRING: PKCS #1 of an RSA key, the point of an EC key, the bytes of the others. */
const publicBits = (key) => inside(inside(read(key.spki)[0])[1], BIT_STRING).subarray(1);
const privateContent = (key) => inside(inside(read(key.pkcs8)[0])[2], OCTET_STRING);

function toJwk(key, withPrivate = key.isPrivate) {
  const bits = publicBits(key);
  if (key.kind === 'rsa') {
    const [n, e] = inside(read(bits)[0]).map(({ content }) => base64url(trim(content)));
    if (!withPrivate) return { kty: 'RSA', n, e };
    const [, , , ...rest] = inside(read(privateContent(key))[0]).map(({ content }) => base64url(trim(content)));
    const [d, p, q, dp, dq, qi] = rest;
    return { kty: 'RSA', n, e, d, p, q, dp, dq, qi };
  }
  if (key.kind === 'ec') {
    const { size } = curveNamed(key.curve);
    const jwk = { kty: 'EC', x: base64url(bits.subarray(1, 1 + size)), y: base64url(bits.subarray(1 + size)), crv: key.curve };
    if (withPrivate) jwk.d = base64url(inside(inside(read(privateContent(key))[0])[1], OCTET_STRING));
    return jwk;
  }
  const jwk = { crv: key.kind === 'ed25519' ? 'Ed25519' : 'X25519', x: base64url(bits), kty: 'OKP' };
  if (withPrivate) jwk.d = base64url(inside(read(privateContent(key))[0], OCTET_STRING));
  return jwk;
}

/** SEC 1's form of an EC key, which names its curve itself. */
function sec1(key) {
  const [version, secret, point] = inside(read(privateContent(key))[0]);
  return der(SEQUENCE, version.whole, secret.whole, der(0xA0, oid(curveNamed(key.curve).oid)), point.whole);
}

const toPublic = (key) => ({ ...key, isPrivate: false, pkcs8: null });

/** The bits of an RSA key's modulus, and its exponent. */
function rsaDetails(key) {
  const [n, e] = inside(read(publicBits(key))[0]).map(({ content }) => trim(content));
  let exponent = 0n;
  for (const byte of e) exponent = exponent << 8n | BigInt(byte);
  return { modulusLength: n.length * 8 - Math.clz32(n[0]) + 24, publicExponent: exponent };
}

/** An ECDSA signature as two numbers of the curve's size, and as the DER of X9.62. */
function signatureToDer(signature) {
  const half = signature.length / 2;
  return der(SEQUENCE, integer(signature.subarray(0, half)), integer(signature.subarray(half)));
}
function signatureFromDer(signature, size) {
  const [r, s] = inside(read(signature)[0]);
  return concat(pad(inside(r, INTEGER), size), pad(inside(s, INTEGER), size));
}

const keyBytes = (source) => (typeof source === 'string' ? require('web/encoding').encode(source) : bytesOf(source, 'The key'));

module.exports = {
  read, inside, der, concat, hexOf, fromDer, fromPem, fromSpki, fromPkcs8, fromJwk, fromSeed, toJwk, toPem, toPublic, publicBits, privateContent,
  sec1, spkiOf, curveNamed, rsaDetails, signatureToDer, signatureFromDer, base64url, fromBase64url, keyBytes, latin1Of, SEQUENCE,
};
