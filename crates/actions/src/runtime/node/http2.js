'use strict';
// Node's `http2`: its names, for packages that look at them. Nothing of it connects.
const { unsupported } = require('web/errors');
const refuse = (name) => () => { throw unsupported(`http2.${name}`, 'Use fetch or https.'); };
module.exports = {
  connect: refuse('connect'), createServer: refuse('createServer'), createSecureServer: refuse('createSecureServer'),
  getDefaultSettings: refuse('getDefaultSettings'), getPackedSettings: refuse('getPackedSettings'), getUnpackedSettings: refuse('getUnpackedSettings'),
  sensitiveHeaders: Symbol.for('nodejs.http2.sensitiveHeaders'),
  constants: {
    HTTP2_HEADER_SCHEME: ':scheme', HTTP2_HEADER_METHOD: ':method', HTTP2_HEADER_PATH: ':path', HTTP2_HEADER_STATUS: ':status', HTTP2_HEADER_AUTHORITY: ':authority',
    HTTP2_HEADER_CONTENT_TYPE: 'content-type', HTTP2_HEADER_CONTENT_LENGTH: 'content-length', NGHTTP2_CANCEL: 8, NGHTTP2_NO_ERROR: 0, NGHTTP2_REFUSED_STREAM: 7,
  },
};
