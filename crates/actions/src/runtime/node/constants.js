'use strict';
// Node's `constants`.
module.exports = { ...require('node/fs').constants, ...require('node/crypto').constants, ...require('node/os').constants.signals };
