'use strict';
// Node's `stream/web`.
const { isDisturbed, isErrored, ...streams } = require('web/streams');
module.exports = streams;
