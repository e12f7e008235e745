'use strict';
// Node's `util/types`.
module.exports = require('node/util').types;
