// A throw-away certificate authority, and one certificate of it that Curfew and all sites serve.

import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const paths = (folder) => ({
  authority: join(folder, 'authority.pem'),
  certificate: join(folder, 'certificate.pem'),
  key: join(folder, 'key.pem'),
});

/** Makes the authority and the certificate in `folder` and returns their paths. */
export function makeCertificates(folder) {
  const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const { authority, certificate, key } = paths(folder);
  const authorityKey = join(folder, 'authority-key.pem');
  const request = join(folder, 'request.pem');
  const extensions = join(folder, 'extensions.cnf');
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...newKey, '-keyout', authorityKey, '-out', authority, '-days', '2',
    '-subj', '/CN=Throw-away authority', '-addext', 'keyUsage=critical,keyCertSign');
  openssl('req', ...newKey, '-keyout', key, '-out', request, '-subj', '/CN=localhost');
  writeFileSync(extensions, 'subjectAltName = DNS:localhost, DNS:app.localhost, IP:127.0.0.1\nextendedKeyUsage = serverAuth\nbasicConstraints = CA:FALSE\n');
  openssl('x509', '-req', '-in', request, '-CA', authority, '-CAkey', authorityKey, '-CAcreateserial',
    '-out', certificate, '-days', '2', '-extfile', extensions);
  return paths(folder);
}

/** The certificates of this run. */
export function certificates() {
  const folder = process.env.CURFEW_E2E_SCRATCH;
  if (!folder) throw new Error('start the suites with `npm test`, which makes the certificate authority first');
  return paths(folder);
}

/** What Chromium calls the certificate by: base64 of SHA-256 over its public key. */
export function publicKeyHash() {
  const { publicKey } = new X509Certificate(readFileSync(certificates().certificate));
  return createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64');
}
