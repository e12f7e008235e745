'use strict';
// Node's `tty`: there is none.
const { unsupported } = require('web/errors');
class ReadStream { constructor() { throw unsupported('tty.ReadStream'); } }
class WriteStream { constructor() { throw unsupported('tty.WriteStream'); } }
module.exports = { isatty: () => false, ReadStream, WriteStream };
