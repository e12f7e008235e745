'use strict';
// Node's `stream/consumers`.
async function buffer(stream) {
  const { Buffer } = require('node/buffer');
  const parts = [];
  for await (const chunk of stream) parts.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
  return Buffer.concat(parts);
}
const text = async (stream) => (await buffer(stream)).toString();
module.exports = {
  buffer, text,
  json: async (stream) => JSON.parse(await text(stream)),
  arrayBuffer: async (stream) => (await buffer(stream)).slice().buffer,
  blob: async (stream) => new (require('web/body').Blob)([await buffer(stream)]),
};
