// Node's built-in modules. Each function is one test; it holds in Node as it does here.
const assert = require('node:assert');
const { rejects, throws, deepStrictEqual: same, strictEqual: is, ok } = assert;

exports.buffer = () => {
  const { Buffer: Own, constants } = require('buffer');
  is(Own, Buffer);
  ok(constants.MAX_LENGTH > 0);
  is(Buffer.from('héllo').toString('base64'), 'aMOpbGxv');
  is(Buffer.from('aMOpbGxv', 'base64').toString(), 'héllo');
  is(Buffer.from('_-8', 'base64').toString('hex'), 'ffef');
  is(Buffer.from([255, 239]).toString('base64url'), '_-8');
  is(Buffer.from('ff0g11', 'hex').length, 1);
  is(Buffer.from('é', 'latin1').toString('hex'), 'e9');
  is(Buffer.from('hi', 'utf16le').toString('hex'), '68006900');
  const whole = Buffer.concat([Buffer.from('ab'), Buffer.alloc(2, 'x'), new Uint8Array([33])]);
  is(whole.toString(), 'abxx!');
  const part = whole.slice(1, 3);
  part[0] = 66;
  is(whole.toString(), 'aBxx!');
  ok(Buffer.isBuffer(part) && part instanceof Uint8Array && whole.subarray(1) instanceof Buffer);
  is(whole.indexOf('xx'), 2);
  is(whole.lastIndexOf('x'), 3);
  ok(whole.includes(Buffer.from('x!')) && !whole.includes('q'));
  same(JSON.parse(JSON.stringify(Buffer.from('a'))), { type: 'Buffer', data: [97] });
  same(Buffer.from({ type: 'Buffer', data: [97] }), Buffer.from('a'));
  const numbers = Buffer.alloc(16);
  numbers.writeUInt32BE(0xDEADBEEF, 0);
  numbers.writeInt16LE(-2, 4);
  numbers.writeDoubleLE(1.5, 8);
  is(numbers.readUInt32BE(0), 0xDEADBEEF);
  is(numbers.readInt16LE(4), -2);
  is(numbers.readDoubleLE(8), 1.5);
  is(numbers.readUIntBE(0, 3), 0xDEADBE);
  is(numbers.readInt8(0), -34);
  throws(() => numbers.readUInt32BE(14), { code: 'ERR_OUT_OF_RANGE' });
  is(Buffer.compare(Buffer.from('a'), Buffer.from('b')), -1);
  ok(Buffer.from('a').equals(new Uint8Array([97])));
  is(Buffer.byteLength('€'), 3);
  is(Buffer.alloc(4).fill('ab').toString(), 'abab');
  is(Buffer.alloc(5).write('€€', 0), 3);
  is(Buffer.from('abc').map((byte) => byte + 1).toString(), 'bcd');
  same([...Buffer.from('ab').entries()], [[0, 97], [1, 98]]);
  throws(() => Buffer.from(5), { code: 'ERR_INVALID_ARG_TYPE' });
  throws(() => Buffer.from('a', 'nonsense'), { code: 'ERR_UNKNOWN_ENCODING' });
  is(Buffer.from(new Uint16Array([1, 256])).toString('hex'), '0100');
  is(Buffer.from(new Uint8Array([1, 2, 3]).buffer, 1, 1)[0], 2);
};

exports.events = async () => {
  const EventEmitter = require('events');
  const { once, on } = EventEmitter;
  is(EventEmitter.EventEmitter, EventEmitter);
  class Own extends EventEmitter {}
  const emitter = new Own();
  const seen = [];
  emitter.on('a', (value) => seen.push(value));
  emitter.prependListener('a', (value) => seen.push(-value));
  emitter.once('a', () => seen.push('once'));
  ok(emitter.emit('a', 1) && emitter.emit('a', 2) && !emitter.emit('b'));
  same(seen, [-1, 1, 'once', -2, 2]);
  is(emitter.listenerCount('a'), 2);
  emitter.removeAllListeners('a');
  same(emitter.eventNames(), []);
  throws(() => emitter.emit('error', new Error('unheard')), /unheard/);
  setTimeout(() => emitter.emit('later', 5), 1);
  same(await once(emitter, 'later'), [5]);
  const failing = once(emitter, 'never');
  emitter.emit('error', new Error('instead'));
  await rejects(failing, /instead/);
  setTimeout(() => { emitter.emit('x', 1); emitter.emit('x', 2); }, 1);
  const got = [];
  for await (const [value] of on(emitter, 'x')) { got.push(value); if (value === 2) break; }
  same(got, [1, 2]);
  function Old() { EventEmitter.call(this); }
  require('util').inherits(Old, EventEmitter);
  is(new Old().on('a', () => {}).emit('a'), true);
};

exports.util = async () => {
  const util = require('util');
  is(util.inspect({ a: 1, b: 'x', c: [1, 2], d: { e: { f: { g: 1 } } } }), "{ a: 1, b: 'x', c: [ 1, 2 ], d: { e: { f: [Object] } } }");
  is(util.inspect([undefined, null, -0, 5n, Symbol('s')]), '[ undefined, null, -0, 5n, Symbol(s) ]');
  is(util.inspect(new Map([['a', new Set([1])]])), "Map(1) { 'a' => Set(1) { 1 } }");
  is(util.inspect(Object.create(null)), '[Object: null prototype] {}');
  is(util.inspect(function named() {}), '[Function: named]');
  is(util.inspect(class A {}), '[class A]');
  const circular = {};
  circular.self = circular;
  ok(util.inspect(circular).includes('[Circular *1]'));
  is(util.inspect({ [util.inspect.custom]() { return 'own'; } }), 'own');
  is(util.inspect(Buffer.from('ab')), '<Buffer 61 62>');
  is(util.inspect(new Date(0)), '1970-01-01T00:00:00.000Z');
  is(util.inspect("it's"), '"it\'s"');
  is(util.format('%s is %d years, %i, %f, %j %o%%', 'Bo', 42.5, 42.9, '1.5', { a: 1 }, [1]).startsWith('Bo is 42.5 years, 42, 1.5, {"a":1} [ 1'), true);
  is(util.format('a', 'b', { c: 1 }), 'a b { c: 1 }');
  is(util.format(1, 2), '1 2');
  is(await util.promisify((a, done) => done(null, a + 1))(1), 2);
  await rejects(util.promisify((done) => done(new Error('no')))(), /no/);
  is(await new Promise((resolve) => { util.callbackify(async (a) => a * 2)(4, (error, value) => resolve(value)); }), 8);
  is(util.deprecate((a) => a, 'old')(3), 3);
  ok(util.types.isPromise(Promise.resolve()) && util.types.isUint8Array(Buffer.alloc(0)) && !util.types.isDate({}));
  ok(util.isDeepStrictEqual({ a: [1, new Date(3)] }, { a: [1, new Date(3)] }) && !util.isDeepStrictEqual({ a: 1 }, { a: '1' }));
  is(require('util/types').isRegExp(/a/), true);
};

exports.asserts = async () => {
  throws(() => assert.strictEqual(1, 2), { code: 'ERR_ASSERTION', name: 'AssertionError' });
  throws(() => assert(false, 'said'), /said/);
  throws(() => same({ a: new Map([[1, 2]]) }, { a: new Map([[1, 3]]) }), assert.AssertionError);
  throws(() => throws(() => {}), /Missing expected exception/);
  await rejects(rejects(Promise.resolve(1)), /Missing expected rejection/);
  assert.deepEqual([1, '2'], [1, 2]);
  throws(() => same([1, '2'], [1, 2]));
  assert.match('abc', /b/);
  throws(() => { throws(() => { throw new TypeError('a'); }, RangeError); }, { code: 'ERR_ASSERTION' });
};

exports.paths = () => {
  const path = require('path');
  is(path.join('/a', '../b', './c/', 'd'), '/b/c/d');
  is(path.resolve('/a/b', '../c'), '/a/c');
  is(path.relative('/a/b/c', '/a/d'), '../../d');
  same([path.dirname('/a/b.txt'), path.basename('/a/b.txt', '.txt'), path.extname('.x/b.tar.gz')], ['/a', 'b', '.gz']);
  same(path.parse('/srv/a/file.txt'), { root: '/', dir: '/srv/a', base: 'file.txt', ext: '.txt', name: 'file' });
  is(path.normalize('a//b/../..'), '.');
  is(path.format({ dir: '/x', name: 'f', ext: '.e' }), '/x/f.e');
};

exports.urls = () => {
  const url = require('url');
  is(url.URL, URL);
  const parsed = url.parse('https://user:pa%20ss@Host.example:8080/p/a?x=1&y=%20#h', true);
  same([parsed.protocol, parsed.auth, parsed.host, parsed.port, parsed.hostname, parsed.hash, parsed.search, parsed.pathname, parsed.path, parsed.query.y],
    ['https:', 'user:pa ss', 'host.example:8080', '8080', 'host.example', '#h', '?x=1&y=%20', '/p/a', '/p/a?x=1&y=%20', ' ']);
  is(url.format({ protocol: 'https', hostname: 'h', pathname: 'p', query: { a: 'b c' } }), 'https://h/p?a=b%20c');
  is(url.resolve('https://h/a/b', '../c'), 'https://h/c');
  is(url.resolve('/one/two/three', 'four'), '/one/two/four');
  is(url.parse('/just/a/path?q').pathname, '/just/a/path');
  is(url.fileURLToPath('file:///a%20b'), '/a b');
  same(require('querystring').parse('a=1&a=2&b=%20+'), Object.assign(Object.create(null), { a: ['1', '2'], b: '  ' }));
  is(require('querystring').stringify({ a: [1, 'x y'], b: true }), 'a=1&a=x%20y&b=true');
};

exports.punycode = () => {
  const punycode = require('punycode');
  is(punycode.toASCII('mañana.com'), 'xn--maana-pta.com');
  is(punycode.toUnicode('xn--maana-pta.com'), 'mañana.com');
  is(punycode.encode('☃-⌘'), '--dqo34k');
  is(punycode.decode('--dqo34k'), '☃-⌘');
};

exports.streams = async () => {
  const { Readable, Writable, Transform, PassThrough, Duplex, pipeline, finished } = require('stream');
  const { pipeline: piped } = require('stream/promises');
  const read = async (stream) => { const list = []; for await (const chunk of stream) list.push(`${chunk}`); return list.join(''); };
  is(await read(Readable.from(['a', 'b'])), 'ab');
  const own = new Readable({ read() { this.push('x'); this.push(null); } });
  is(await read(own), 'x');
  const upper = new Transform({ transform(chunk, _encoding, done) { done(null, `${chunk}`.toUpperCase()); }, flush(done) { done(null, '!'); } });
  const out = [];
  await piped(Readable.from([Buffer.from('ab'), Buffer.from('c')]), upper, new Writable({ write(chunk, _encoding, done) { out.push(`${chunk}`); done(); } }));
  is(out.join(''), 'ABC!');
  await rejects(piped(new Readable({ read() { this.destroy(new Error('broken')); } }), new PassThrough()), /broken/);
  const text = await new Promise((resolve, reject) => {
    const stream = new PassThrough();
    let all = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk) => { all += chunk; });
    stream.on('end', () => resolve(all));
    stream.on('error', reject);
    stream.write(Buffer.from([0xE2, 0x82]));
    stream.end(Buffer.from([0xAC]));
  });
  is(text, '€');
  const big = new PassThrough();
  Readable.from(Array.from({ length: 300 }, (_, at) => `${at},`)).pipe(big);
  is((await read(big)).length, Array.from({ length: 300 }, (_, at) => `${at},`).join('').length);
  await new Promise((resolve, reject) => { finished(Readable.from(['z']).resume(), (error) => (error ? reject(error) : resolve())); });
  await new Promise((resolve, reject) => {
    pipeline(Readable.from(['q']), new PassThrough(), new Writable({ write(_chunk, _encoding, done) { done(new Error('full')); } }), (error) => {
      try { is(error.message, 'full'); resolve(); } catch (failed) { reject(failed); }
    });
  });
  function Old() { Duplex.call(this); this.got = []; }
  require('util').inherits(Old, Duplex);
  Old.prototype._read = function () {};
  Old.prototype._write = function (chunk, _encoding, done) { this.got.push(`${chunk}`); done(); };
  const old = new Old();
  old.end('w');
  await require('events').once(old, 'finish');
  same(old.got, ['w']);
  ok(old instanceof Writable && old instanceof Readable && !(own instanceof Writable));
  const writable = new Writable({ highWaterMark: 3, write(_chunk, _encoding, done) { setTimeout(done, 1); } });
  is(writable.write('abcd'), false);
  await require('events').once(writable, 'drain');
  writable.destroy();
  await require('events').once(writable, 'close');
  const late = new Writable({ write(_chunk, _encoding, done) { done(); } });
  late.on('error', () => {});
  late.end();
  is(await new Promise((resolve) => { late.write('x', (error) => resolve(error.code)); }), 'ERR_STREAM_WRITE_AFTER_END');
  const web = Readable.toWeb(Readable.from([Buffer.from('web')]));
  is(await new Response(web).text(), 'web');
  is(await read(Readable.fromWeb(new Response('back').body)), 'back');
  is(await require('stream/consumers').text(Readable.from(['c', 'd'])), 'cd');
};

exports.decoders = () => {
  const { StringDecoder } = require('string_decoder');
  const decoder = new StringDecoder('utf8');
  is(decoder.write(Buffer.from([0xE2, 0x82])) + decoder.write(Buffer.from([0xAC])) + decoder.end(), '€');
  const base64 = new StringDecoder('base64');
  is(base64.write(Buffer.from('abcd')) + base64.end(), 'YWJjZA==');
};

exports.zlib = async () => {
  const zlib = require('zlib');
  const text = 'compress me '.repeat(100);
  for (const [pack, unpack] of [['gzipSync', 'gunzipSync'], ['deflateSync', 'inflateSync'], ['deflateRawSync', 'inflateRawSync'], ['gzipSync', 'unzipSync']]) {
    const packed = zlib[pack](text);
    ok(packed.length < 100);
    is(zlib[unpack](packed).toString(), text);
  }
  is(zlib.gunzipSync(Buffer.from('H4sIAAAAAAAAA0vOzy0oSi0uVshNBQAQ5dGyCwAAAA==', 'base64')).toString(), 'compress me');
  throws(() => zlib.gunzipSync(Buffer.from('nonsense')), { code: 'Z_DATA_ERROR' });
  const stream = zlib.createGunzip();
  stream.end(zlib.gzipSync('streamed'));
  is(await require('stream/consumers').text(stream), 'streamed');
  is((await require('util').promisify(zlib.deflate)('x')).length > 0, true);
};

exports.timersAndProcess = async () => {
  is(await require('timers/promises').setTimeout(1, 'v'), 'v');
  const order = [];
  process.nextTick((value) => order.push(value), 'tick');
  await new Promise((resolve) => { setImmediate(resolve); });
  same(order, ['tick']);
  ok(/^v\d+\./.test(process.version) && process.versions.node && process.platform === 'linux');
  is(typeof process.env, 'object');
  ok(process.hrtime.bigint() >= 0n && process.hrtime()[0] >= 0);
  is(require('process'), process);
  is(require('os').EOL, '\n');
  is(typeof require('perf_hooks').performance.now(), 'number');
  is(require('module').isBuiltin('node:fs'), true);
};

exports.files = async () => {
  const fs = require('fs');
  is(fs.existsSync('/nowhere/at/all'), false);
  throws(() => fs.readFileSync('/nowhere/at/all'), { code: 'ENOENT' });
  await rejects(require('fs/promises').readFile('/nowhere/at/all'), { code: 'ENOENT' });
};
