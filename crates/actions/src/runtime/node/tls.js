'use strict';
// Node's `tls`: no sockets.
const { unsupported } = require('web/errors');
const { Socket } = require('node/net');
const hint = 'Use fetch or https: requests leave through the server.';
const refuse = (name) => () => { throw unsupported(`tls.${name}`, hint); };
class TLSSocket extends Socket {}
module.exports = {
  TLSSocket, connect: refuse('connect'), createServer: refuse('createServer'), createSecureContext: refuse('createSecureContext'),
  checkServerIdentity: refuse('checkServerIdentity'), getCiphers: () => [], rootCertificates: [],
  DEFAULT_MIN_VERSION: 'TLSv1.2', DEFAULT_MAX_VERSION: 'TLSv1.3',
};
