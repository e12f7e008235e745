// Node's `crypto`. Each function is one test; it holds in Node as it does here.
const crypto = require('node:crypto');
const { rejects, throws, deepStrictEqual: same, strictEqual: is, ok } = require('assert');

exports.hashes = () => {
  const of = (name) => crypto.createHash(name).update('a').update(Buffer.from('bc')).digest('hex');
  is(of('md5'), '900150983cd24fb0d6963f7d28e17f72');
  is(of('sha1'), 'a9993e364706816aba3e25717850c26c9cd0d89d');
  is(of('SHA256'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  is(of('RSA-SHA384').slice(0, 16), 'cb00753f45a35e8b');
  is(of('sha512').slice(0, 16), 'ddaf35a193617aba');
  is(of('sha3-256').slice(0, 16), '3a985da74fe225b2');
  for (const length of [0, 55, 56, 63, 64, 119, 120, 1000]) {
    is(crypto.createHash('md5').update('x'.repeat(length)).digest('hex').length, 32);
  }
  is(crypto.createHash('md5').update('x'.repeat(1000)).digest('base64'), 'OYUz1IER6fZksfZMsQxLYw==');
  const hash = crypto.createHash('sha256').update('a');
  is(hash.copy().digest('base64'), 'ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=');
  hash.digest();
  throws(() => hash.update('x'), { code: 'ERR_CRYPTO_HASH_FINALIZED' });
  throws(() => crypto.createHash('nonsense'), /not supported/);
  is(crypto.createHmac('sha256', 'key').update('data').digest('hex'), '5031fe3d989c6d1537a013fa6e739da23463fdaec3b70137d828e36ace221bd0');
  is(crypto.createHmac('md5', 'key').update('data').digest('hex'), '9d5c73ef85594d34ec4438b7c97e51d8');
  is(crypto.createHmac('sha1', crypto.createSecretKey(Buffer.from('key'))).update('data').digest('base64'), 'EEFSxb/coHvGM+69RhmfAlXJ9J0=');
};

exports.signatures = () => {
  const data = Buffer.from('signed');
  for (const [type, options, hash] of [
    ['rsa', { modulusLength: 2048 }, 'RSA-SHA256'], ['rsa', { modulusLength: 2048 }, 'sha512'], ['ec', { namedCurve: 'P-256' }, 'sha256'],
    ['ec', { namedCurve: 'secp384r1' }, 'sha384'], ['ec', { namedCurve: 'P-521' }, 'sha512'], ['ed25519', {}, null],
  ]) {
    const { privateKey, publicKey } = crypto.generateKeyPairSync(type, options);
    const signature = crypto.sign(hash, data, privateKey);
    ok(crypto.verify(hash, data, publicKey, signature), type);
    ok(!crypto.verify(hash, Buffer.from('other'), publicKey, signature), type);
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
    const again = crypto.createPrivateKey(pem);
    ok(again.equals(privateKey) && crypto.createPublicKey(pem).equals(publicKey), `${type} by PEM`);
    ok(crypto.createPublicKey(publicKey.export({ type: 'spki', format: 'der' }).length ? { key: publicKey.export({ type: 'spki', format: 'der' }), format: 'der', type: 'spki' } : '').equals(publicKey));
    ok(crypto.createPrivateKey({ key: privateKey.export({ format: 'jwk' }), format: 'jwk' }).equals(privateKey), `${type} by JWK`);
    ok(crypto.createPublicKey({ key: publicKey.export({ format: 'jwk' }), format: 'jwk' }).equals(publicKey), `${type} by public JWK`);
    if (hash) {
      const made = crypto.createSign(hash).update('sig').update('ned').sign(pem, 'base64');
      ok(crypto.createVerify(hash).update(data).verify(publicKey.export({ type: 'spki', format: 'pem' }), made, 'base64'), `${type} in parts`);
      is(crypto.createVerify(hash).update('else').verify(publicKey, made, 'base64'), false);
    }
  }
  const { privateKey, publicKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  is(privateKey.asymmetricKeyType, 'ec');
  is(privateKey.asymmetricKeyDetails.namedCurve, 'prime256v1');
  const plain = crypto.sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  is(plain.length, 64);
  ok(crypto.verify('sha256', data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, plain));
  const sec1 = privateKey.export({ type: 'sec1', format: 'pem' });
  ok(sec1.startsWith('-----BEGIN EC PRIVATE KEY-----') && crypto.createPrivateKey(sec1).equals(privateKey));
  const rsa = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  same([rsa.publicKey.asymmetricKeyDetails.modulusLength, rsa.publicKey.asymmetricKeyDetails.publicExponent], [2048, 65537n]);
  const pkcs1 = rsa.privateKey.export({ type: 'pkcs1', format: 'pem' });
  ok(crypto.createPrivateKey(pkcs1).equals(rsa.privateKey));
  ok(crypto.createPublicKey(rsa.publicKey.export({ type: 'pkcs1', format: 'pem' })).equals(rsa.publicKey));
  const pss = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST };
  ok(crypto.verify('sha256', data, { key: rsa.publicKey, ...pss }, crypto.sign('sha256', data, { key: rsa.privateKey, ...pss })));
  throws(() => crypto.createPrivateKey('nonsense'), Error);
  throws(() => crypto.createPrivateKey(rsa.publicKey.export({ type: 'spki', format: 'pem' })), Error);
  throws(() => crypto.sign('sha256', data, crypto.createSecretKey(Buffer.from('x'))), { code: 'ERR_CRYPTO_INVALID_KEY_OBJECT_TYPE' });
};

// Made by OpenSSL: a certificate (P-256) and a signature of "signed" by its key (SHA-256, DER).
const certificate = `-----BEGIN CERTIFICATE-----
MIIBdjCCARugAwIBAgIUGwzrl7OBqLJxl6N8GTURsFsZhJEwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjIxMTEzNDNaGA8yMTI2MTAyOTExMTM0
M1owDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCNq
eP/fGhHBS3V/O+vZK5Rn3P0NwsiEU7YQAJ4ZVZduh5p3hs+VJc3kmbc4giftFHRT
kGJ/uRvv4cbItHgiCaSjUzBRMB0GA1UdDgQWBBS2/Vihqr5tQQCSGaacNFSfG58J
rDAfBgNVHSMEGDAWgBS2/Vihqr5tQQCSGaacNFSfG58JrDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0kAMEYCIQDOwmlQoT/xvjNSbXtr4r0RkSoBFIouYwX1
bPBIPmqcMwIhAI0Kp/bargxXs9Idy6wvoOsMvoV6kgXD4hcG6ToIrcI2
-----END CERTIFICATE-----`;
const signature = 'MEQCIHdxr/zqmVNZ1DD1KG7pE49lirY1K2ls+hu4PsVTgMJjAiBUsv9Wpeb9o1DAMHP+dejh+grBFRFUjPozSv9XQRiY/Q==';

exports.certificates = () => {
  const key = crypto.createPublicKey(certificate);
  ok(crypto.verify('sha256', Buffer.from('signed'), key, Buffer.from(signature, 'base64')));
  ok(crypto.createVerify('SHA256').update('signed').verify(certificate, signature, 'base64'));
  const read = new crypto.X509Certificate(certificate);
  ok(read.publicKey.equals(key));
  is(read.fingerprint256.length, 95);
};

exports.ciphers = () => {
  for (const [name, size] of [['aes-128-cbc', 16], ['aes-256-cbc', 32], ['aes-256-ctr', 32]]) {
    const [key, iv] = [Buffer.alloc(size, 1), Buffer.alloc(16, 2)];
    const cipher = crypto.createCipheriv(name, key, iv);
    const sealed = cipher.update('some text', 'utf8', 'hex') + cipher.final('hex');
    is(sealed, { 'aes-128-cbc': 'e46aa016236de6cba116fdbcc93784a3', 'aes-256-cbc': 'a8c28ee010d403e9875c5cd95938f1a4', 'aes-256-ctr': '11c17f9604cb8f70a1' }[name], name);
    const decipher = crypto.createDecipheriv(name, key, iv);
    is(decipher.update(sealed, 'hex', 'utf8') + decipher.final('utf8'), 'some text', name);
  }
  for (const name of ['aes-192-cbc', 'aes-192-ctr', 'aes-192-gcm']) {
    const [key, iv] = [Buffer.alloc(24, 1), Buffer.alloc(name.endsWith('gcm') ? 12 : 16, 255)];
    const text = Buffer.from('x'.repeat(100));
    const whole = crypto.createCipheriv(name, key, iv);
    const at_once = Buffer.concat([whole.update(text), whole.final()]);
    const parts = crypto.createCipheriv(name, key, iv);
    const pieces = [1, 15, 16, 17, 50, 100].map((end, at, ends) => parts.update(text.subarray(ends[at - 1] ?? 0, end)));
    ok(pieces[4].length > 0, `${name} gives what there is`);
    same(Buffer.concat([...pieces, parts.final()]), at_once, name);
    const back = crypto.createDecipheriv(name, key, iv);
    if (name.endsWith('gcm')) back.setAuthTag(whole.getAuthTag());
    const opened = [7, 32, 33, at_once.length].map((end, at, ends) => back.update(at_once.subarray(ends[at - 1] ?? 0, end)));
    same(Buffer.concat([...opened, back.final()]), text, name);
  }
  const plain = crypto.createCipheriv('aes-128-cbc', Buffer.alloc(16), Buffer.alloc(16)).setAutoPadding(false);
  is(plain.update(Buffer.alloc(32)).length, 32);
  is(plain.final().length, 0);
  const wrong = crypto.createDecipheriv('aes-128-cbc', Buffer.alloc(16), Buffer.alloc(16));
  wrong.update(Buffer.alloc(16, 9));
  throws(() => wrong.final(), /bad decrypt/);
  const key = crypto.createSecretKey(Buffer.alloc(32, 3));
  const cipher = crypto.createCipheriv('aes-256-gcm', key, Buffer.alloc(12, 4));
  cipher.setAAD(Buffer.from('aad'));
  const sealed = Buffer.concat([cipher.update('gcm text'), cipher.final()]);
  is(Buffer.concat([sealed, cipher.getAuthTag()]).toString('hex'), '27447eedd9fb7f6a4ae4fec9b5a815253f4173f96299bd8f');
  const open = (tag) => {
    const decipher = crypto.createDecipheriv('aes-256-gcm', key, Buffer.alloc(12, 4));
    decipher.setAAD(Buffer.from('aad')).setAuthTag(tag);
    return Buffer.concat([decipher.update(sealed), decipher.final()]).toString();
  };
  is(open(cipher.getAuthTag()), 'gcm text');
  throws(() => open(Buffer.alloc(16)), /unable to authenticate/);
  throws(() => crypto.createCipheriv('aes-256-gcm', Buffer.alloc(16), Buffer.alloc(12)), { code: 'ERR_CRYPTO_INVALID_KEYLEN' });
  const { publicKey, privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  is(crypto.privateDecrypt(privateKey, crypto.publicEncrypt(publicKey, Buffer.from('oaep'))).toString(), 'oaep');
  const padding = { padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
  is(crypto.privateDecrypt({ key: privateKey, ...padding }, crypto.publicEncrypt({ key: publicKey, ...padding }, Buffer.from('256'))).toString(), '256');
};

exports.derivations = async () => {
  is(crypto.pbkdf2Sync('password', 'salt', 2, 20, 'sha1').toString('hex'), 'ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957');
  is(Buffer.from(crypto.hkdfSync('sha256', Buffer.alloc(22, 0x0B), Buffer.from('000102030405060708090a0b0c', 'hex'), Buffer.from('f0f1f2f3f4f5f6f7f8f9', 'hex'), 42)).toString('hex'),
    '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865');
  const derived = await require('util').promisify(crypto.pbkdf2)('p', 's', 1, 16, 'sha256');
  is(derived.length, 16);
  const [one, other] = [crypto.generateKeyPairSync('x25519'), crypto.generateKeyPairSync('x25519')];
  same(crypto.diffieHellman({ privateKey: one.privateKey, publicKey: other.publicKey }), crypto.diffieHellman({ privateKey: other.privateKey, publicKey: one.publicKey }));
};

exports.random = async () => {
  is(crypto.randomBytes(70000).length, 70000);
  ok(crypto.randomInt(10) < 10 && crypto.randomInt(5, 6) === 5);
  is((await new Promise((resolve, reject) => { crypto.randomBytes(8, (error, bytes) => (error ? reject(error) : resolve(bytes))); })).length, 8);
  ok(crypto.timingSafeEqual(Buffer.from('a'), Buffer.from('a')) && !crypto.timingSafeEqual(Buffer.from('a'), Buffer.from('b')));
  throws(() => crypto.timingSafeEqual(Buffer.from('a'), Buffer.from('ab')), RangeError);
  is(crypto.randomUUID().length, 36);
  is(crypto.webcrypto, globalThis.crypto);
};
