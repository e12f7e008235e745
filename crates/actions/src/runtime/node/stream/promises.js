'use strict';
// Node's `stream/promises`.
const { finished, pipeline } = require('node/stream');

module.exports = {
  finished: (stream, options) => new Promise((resolve, reject) => {
    finished(stream, options ?? {}, (error) => (error ? reject(error) : resolve()));
  }),
  pipeline: (...parts) => new Promise((resolve, reject) => {
    const options = parts.at(-1);
    const streams = options && typeof options === 'object' && !options.pipe && !options._writableState && !options[Symbol.asyncIterator] && !options[Symbol.iterator] ? parts.slice(0, -1) : parts;
    pipeline(...streams, (error) => (error ? reject(error) : resolve()));
  }),
};
