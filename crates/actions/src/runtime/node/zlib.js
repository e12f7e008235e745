'use strict';
// Node's `zlib`: gzip, deflate and their reverses, whole texts and streams. A stream works when it has everything.
const { Transform } = require('node/stream');
const { Buffer } = require('node/buffer');
const { bytesOf } = require('web/encoding');
const { coded, unsupported } = require('web/errors');

const constants = {
  Z_NO_FLUSH: 0, Z_PARTIAL_FLUSH: 1, Z_SYNC_FLUSH: 2, Z_FULL_FLUSH: 3, Z_FINISH: 4, Z_BLOCK: 5, Z_OK: 0, Z_STREAM_END: 1, Z_NEED_DICT: 2,
  Z_ERRNO: -1, Z_STREAM_ERROR: -2, Z_DATA_ERROR: -3, Z_MEM_ERROR: -4, Z_BUF_ERROR: -5, Z_VERSION_ERROR: -6, Z_NO_COMPRESSION: 0, Z_BEST_SPEED: 1,
  Z_BEST_COMPRESSION: 9, Z_DEFAULT_COMPRESSION: -1, Z_FILTERED: 1, Z_HUFFMAN_ONLY: 2, Z_RLE: 3, Z_FIXED: 4, Z_DEFAULT_STRATEGY: 0,
  Z_MIN_WINDOWBITS: 8, Z_MAX_WINDOWBITS: 15, Z_DEFAULT_WINDOWBITS: 15, Z_MIN_CHUNK: 64, Z_MAX_CHUNK: Infinity, Z_DEFAULT_CHUNK: 16384,
  BROTLI_OPERATION_PROCESS: 0, BROTLI_OPERATION_FLUSH: 1, BROTLI_OPERATION_FINISH: 2, BROTLI_PARAM_QUALITY: 1, BROTLI_PARAM_MODE: 0, BROTLI_PARAM_SIZE_HINT: 5,
};

function run(mode, data, options) {
  const bytes = typeof data === 'string' ? Buffer.from(data) : bytesOf(data, 'The "buffer" argument');
  const level = options?.level ?? -1;
  const most = options?.maxOutputLength ?? 2 ** 31 - 1;
  if (options?.dictionary) throw unsupported('A dictionary of zlib');
  const result = host.zlib(mode, bytes, level, most);
  if (typeof result === 'string') {
    if (result === 'too-large') throw coded(RangeError, 'ERR_BUFFER_TOO_LARGE', `Cannot create a Buffer larger than ${most} bytes`);
    throw Object.assign(coded(Error, result === 'short' ? 'Z_BUF_ERROR' : 'Z_DATA_ERROR', result === 'short' ? 'unexpected end of file' : 'incorrect header check or data'), { errno: result === 'short' ? -5 : -3 });
  }
  return Buffer.from(result.buffer, result.byteOffset, result.byteLength);
}

class Zlib extends Transform {
  #mode; #options; #chunks = [];
  constructor(mode, options) {
    super(options);
    this.#mode = mode;
    this.#options = options;
    this.bytesWritten = 0;
  }
  _transform(chunk, encoding, done) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
    this.bytesWritten += bytes.length;
    this.#chunks.push(bytes);
    done();
  }
  _flush(done) {
    const bytes = Buffer.concat(this.#chunks);
    // As in Node, nothing at all unpacks to nothing.
    if (bytes.length === 0 && !/^(gzip|deflate)/.test(this.#mode)) { done(); return; }
    let result;
    try { result = run(this.#mode, bytes, this.#options); } catch (error) { done(error); return; }
    this.push(result);
    done();
  }
  flush(_kind, callback) { const done = typeof _kind === 'function' ? _kind : callback; if (done) queueMicrotask(done); }
  close(callback) { if (callback) queueMicrotask(callback); this.destroy(); }
  reset() { this.#chunks = []; }
  params(_level, _strategy, callback) { queueMicrotask(callback); }
}

const zlib = { constants, codes: { Z_OK: 0, Z_STREAM_END: 1, Z_DATA_ERROR: -3, Z_BUF_ERROR: -5 }, ...constants };
const modes = { Gzip: 'gzip', Gunzip: 'gunzip', Deflate: 'deflate', Inflate: 'inflate', DeflateRaw: 'deflate-raw', InflateRaw: 'inflate-raw', Unzip: 'unzip' };
for (const [name, mode] of Object.entries(modes)) {
  const lower = name[0].toLowerCase() + name.slice(1);
  const Type = function (options) { return new Zlib(mode, options); };
  Type.prototype = Zlib.prototype;
  zlib[name] = Type;
  zlib[`create${name}`] = (options) => new Zlib(mode, options);
  zlib[`${lower}Sync`] = (data, options) => run(mode, data, options);
  zlib[lower] = (data, options, callback) => {
    const [given, done] = typeof options === 'function' ? [{}, options] : [options, callback];
    queueMicrotask(() => {
      let result;
      try { result = run(mode, data, given); } catch (error) { done(error); return; }
      done(null, result);
    });
  };
}
for (const name of ['brotliCompress', 'brotliDecompress', 'brotliCompressSync', 'brotliDecompressSync', 'createBrotliCompress', 'createBrotliDecompress', 'BrotliCompress', 'BrotliDecompress']) {
  // By a function of the usual kind: packages ask whether there is one, and call it only for an answer of that encoding.
  zlib[name] = function refused() { throw unsupported(`zlib.${name}`); };
}
zlib.crc32 = (data, value = 0) => {
  let crc = ~value;
  for (const byte of typeof data === 'string' ? Buffer.from(data) : data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc >>> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  return ~crc >>> 0;
};

module.exports = zlib;
