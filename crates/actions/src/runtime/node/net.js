'use strict';
// Node's `net`: no sockets. The functions that only look at text are there.
const { unsupported } = require('web/errors');
const { Duplex } = require('node/stream');
const EventEmitter = require('node/events');

const hint = 'Use fetch or https: requests leave through the server.';
function isIPv4(text) {
  const parts = `${text}`.split('.');
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
}
function isIPv6(text) {
  const plain = `${text}`.replace(/%.+$/, '');
  return plain.includes(':') && /^[0-9a-fA-F:.]+$/.test(plain) && host.url.parse(`http://[${plain}]/`, undefined) !== undefined;
}

class Socket extends Duplex {
  connect() { throw unsupported('net.Socket', hint); }
  _read() {}
}
class Server extends EventEmitter {
  listen() { throw unsupported('net.Server', hint); }
}
const refuse = (name) => () => { throw unsupported(`net.${name}`, hint); };
module.exports = {
  Socket, Stream: Socket, Server, isIPv4, isIPv6,
  isIP: (text) => (isIPv4(text) ? 4 : isIPv6(text) ? 6 : 0),
  connect: refuse('connect'), createConnection: refuse('createConnection'), createServer: refuse('createServer'),
  getDefaultAutoSelectFamily: () => true, setDefaultAutoSelectFamily() {},
};
