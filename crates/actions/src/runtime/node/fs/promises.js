'use strict';
// Node's `fs/promises`.
module.exports = require('node/fs').promises;
