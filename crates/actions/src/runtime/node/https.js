'use strict';
// Node's `https`.
module.exports = require('node/http').made('https:');
