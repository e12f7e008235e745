'use strict';
// Node's `path/posix`.
module.exports = require('node/path');
