'use strict';
// Node's `dns/promises`.
module.exports = require('node/dns').promises;
