'use strict';
// Node's `assert/strict`.
module.exports = require('node/assert').strict;
