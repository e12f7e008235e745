'use strict';
// Node's `stream`: Readable, Writable, Duplex, Transform, PassThrough, pipeline, finished.
const EventEmitter = require('node/events');
const { coded } = require('web/errors');

const { prototype: emitterOf } = EventEmitter;
const tick = (run) => queueMicrotask(run);
const HIGH_WATER = 65536;

// Callable without `new`, as packages of the old style do (`Stream.call(this)`, `util.inherits`).
function Stream(options) { EventEmitter.call(this, options); }
Object.setPrototypeOf(Stream.prototype, emitterOf);
Object.setPrototypeOf(Stream, EventEmitter);

Stream.prototype.pipe = function pipe(destination, options) {
  this.on('data', (chunk) => { if (destination.writable && destination.write(chunk) === false && this.pause) this.pause(); });
  destination.on('drain', () => { if (this.readable && this.resume) this.resume(); });
  if (options?.end !== false) {
    this.on('end', () => destination.end());
    this.on('close', () => { if (typeof destination.destroy === 'function' && !destination._isStdio) destination.destroy(); });
  }
  destination.emit('pipe', this);
  return destination;
};

function take(target, options, names) {
  for (const name of names) if (typeof options?.[name] === 'function') target[`_${name}`] = options[name];
}

function destroyed(stream, error, callback) {
  if (stream.destroyed) return;
  stream.destroyed = true;
  stream.readable = false;
  stream.writable = false;
  if (error) stream.errored = error;
  stream._destroy(error ?? null, (failure) => {
    const thrown = failure ?? null;
    if (thrown) stream.errored = thrown;
    callback?.(thrown);
    tick(() => {
      if (thrown) {
        if (stream._readableState) stream._readableState.errorEmitted = true;
        stream.emit('error', thrown);
      }
      stream.closed = true;
      stream.emit('close');
    });
  });
}

// ---- Readable

function Readable(options) {
  if (!(this instanceof Readable)) return new Readable(options);
  Stream.call(this, options);
  initReadable(this, options);
  return this;
}
Object.setPrototypeOf(Readable.prototype, Stream.prototype);
Object.setPrototypeOf(Readable, Stream);

function initReadable(stream, options = {}) {
  const objectMode = !!(options?.objectMode || options?.readableObjectMode);
  stream._readableState = {
    buffer: [], length: 0, flowing: null, ended: false, endEmitted: false, reading: false, objectMode, sync: false, readableListening: false,
    highWaterMark: options?.readableHighWaterMark ?? options?.highWaterMark ?? (objectMode ? 16 : HIGH_WATER),
    decoder: null, encoding: null, pipes: [], errorEmitted: false, resumeScheduled: false, readableScheduled: false,
  };
  stream.readable = true;
  stream.destroyed ??= false;
  stream.closed ??= false;
  stream.errored ??= null;
  stream._autoDestroy = options?.autoDestroy !== false;
  take(stream, options, ['read', 'destroy']);
  if (options?.encoding) stream.setEncoding(options.encoding);
  options?.signal?.addEventListener('abort', () => stream.destroy(options.signal.reason), { once: true });
}

function sizeOf(state, chunk) { return state.objectMode ? 1 : chunk.length; }

function addChunk(stream, given, encoding, front) {
  const state = stream._readableState;
  let chunk = given;
  if (chunk === null) {
    state.reading = false;
    if (state.ended) return false;
    state.ended = true;
    const rest = state.decoder?.end();
    if (rest) { state.buffer.push(rest); state.length += sizeOf(state, rest); }
    announce(stream);
    return false;
  }
  if (!state.objectMode) {
    const { Buffer } = require('node/buffer');
    if (typeof chunk === 'string') chunk = state.encoding && (encoding ?? 'utf8') === state.encoding ? chunk : Buffer.from(chunk, encoding);
    else if (chunk instanceof Uint8Array) chunk = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    else if (chunk !== undefined) {
      destroyed(stream, coded(TypeError, 'ERR_INVALID_ARG_TYPE', 'The "chunk" argument must be of type string or an instance of Buffer or Uint8Array'));
      return false;
    }
    if (chunk !== undefined && state.decoder && typeof chunk !== 'string') chunk = state.decoder.write(chunk);
  }
  state.reading = false;
  if (state.ended) {
    destroyed(stream, coded(Error, 'ERR_STREAM_PUSH_AFTER_EOF', 'stream.push() after EOF'));
    return false;
  }
  if (chunk === undefined || (!state.objectMode && chunk.length === 0)) return state.length < state.highWaterMark;
  if (front) state.buffer.unshift(chunk);
  else state.buffer.push(chunk);
  state.length += sizeOf(state, chunk);
  announce(stream);
  return state.length < state.highWaterMark;
}

/** Tells of what is there: to those who listen for data, or to those who call `read`. */
function announce(stream) {
  const state = stream._readableState;
  if (state.flowing && !state.readableListening) {
    if (!state.resumeScheduled) { state.resumeScheduled = true; tick(() => flow(stream)); }
  } else if (!state.readableScheduled) {
    state.readableScheduled = true;
    tick(() => {
      state.readableScheduled = false;
      if (stream.destroyed) return;
      if (state.length > 0 || state.ended) stream.emit('readable');
      if (state.flowing) flow(stream);
      if (state.ended && state.length === 0) endReadable(stream);
      else more(stream);
    });
  }
}

function more(stream) {
  const state = stream._readableState;
  if (state.reading || state.ended || stream.destroyed || state.length >= state.highWaterMark) return;
  state.reading = true;
  try { stream._read(state.highWaterMark); } catch (error) { destroyed(stream, error); }
}

function flow(stream) {
  const state = stream._readableState;
  state.resumeScheduled = false;
  while (state.flowing && !stream.destroyed && state.buffer.length > 0) {
    const chunk = state.buffer.shift();
    state.length -= sizeOf(state, chunk);
    stream.emit('data', chunk);
  }
  if (stream.destroyed || !state.flowing) return;
  if (state.ended && state.length === 0) endReadable(stream);
  else more(stream);
}

function endReadable(stream) {
  const state = stream._readableState;
  if (state.endEmitted || stream.destroyed) return;
  state.endEmitted = true;
  tick(() => {
    if (stream.errored) return;
    stream.readable = false;
    stream.emit('end');
    const writing = stream._writableState;
    if (writing && stream.allowHalfOpen === false && !writing.ending) stream.end();
    if (stream._autoDestroy && (!writing || writing.finished)) stream.destroy();
  });
}

Object.assign(Readable.prototype, {
  _read() { throw coded(Error, 'ERR_METHOD_NOT_IMPLEMENTED', 'The _read() method is not implemented'); },
  _destroy(error, callback) { callback(error); },
  destroy(error, callback) { destroyed(this, error, callback); return this; },
  push(chunk, encoding) { return addChunk(this, chunk, encoding, false); },
  unshift(chunk, encoding) { return addChunk(this, chunk, encoding, true); },
  isPaused() { return this._readableState.flowing === false; },
  setEncoding(encoding) {
    const state = this._readableState;
    const { StringDecoder } = require('node/string_decoder');
    state.decoder = new StringDecoder(encoding);
    state.encoding = state.decoder.encoding;
    if (state.buffer.length > 0) {
      state.buffer = [state.buffer.map((chunk) => state.decoder.write(chunk)).join('')];
      state.length = state.buffer[0].length;
    }
    return this;
  },
  read(size) {
    const state = this._readableState;
    if (size !== 0 && state.buffer.length > 0) {
      let chunk;
      if (state.objectMode) {
        chunk = state.buffer.shift();
      } else {
        const { Buffer } = require('node/buffer');
        const whole = state.buffer.length === 1 ? state.buffer[0] : typeof state.buffer[0] === 'string' ? state.buffer.join('') : Buffer.concat(state.buffer);
        if (size !== undefined && size > whole.length && !state.ended) { more(this); return null; }
        const wanted = size === undefined ? whole.length : Math.min(size, whole.length);
        chunk = whole.slice(0, wanted);
        state.buffer = wanted < whole.length ? [whole.slice(wanted)] : [];
      }
      state.length -= sizeOf(state, chunk);
      if (state.ended && state.length === 0) endReadable(this);
      else more(this);
      this.emit('data', chunk);
      return chunk;
    }
    if (state.ended && state.length === 0) endReadable(this);
    else more(this);
    return null;
  },
  on(name, listener) {
    emitterOf.on.call(this, name, listener);
    const state = this._readableState;
    if (name === 'data' && state.flowing !== false && !state.readableListening) this.resume();
    if (name === 'readable') {
      state.readableListening = true;
      state.flowing = false;
      announce(this);
    }
    return this;
  },
  resume() {
    const state = this._readableState;
    if (!state.flowing) {
      state.flowing = !state.readableListening;
      if (!state.resumeScheduled) {
        state.resumeScheduled = true;
        tick(() => { this.emit('resume'); flow(this); });
      }
    }
    return this;
  },
  pause() {
    if (this._readableState.flowing !== false) {
      this._readableState.flowing = false;
      this.emit('pause');
    }
    return this;
  },
  pipe(destination, options) {
    const state = this._readableState;
    const data = (chunk) => { if (destination.write(chunk) === false) this.pause(); };
    const drain = () => this.resume();
    const end = () => { if (options?.end !== false && !destination._isStdio) destination.end(); };
    const undo = () => {
      this.removeListener('data', data);
      this.removeListener('end', end);
      destination.removeListener('drain', drain);
      destination.removeListener('close', undo);
      state.pipes = state.pipes.filter((pipe) => pipe.destination !== destination);
    };
    state.pipes.push({ destination, undo });
    this.on('end', end);
    destination.on('drain', drain);
    destination.once('close', undo);
    destination.emit('pipe', this);
    this.on('data', data);
    if (state.flowing === false) this.resume();
    return destination;
  },
  unpipe(destination) {
    for (const pipe of [...this._readableState.pipes]) {
      if (destination !== undefined && pipe.destination !== destination) continue;
      pipe.undo();
      pipe.destination.emit('unpipe', this);
    }
    return this;
  },
  wrap(stream) {
    stream.on('data', (chunk) => { if (!this.push(chunk)) stream.pause?.(); });
    stream.on('end', () => this.push(null));
    stream.on('error', (error) => this.destroy(error));
    this._read = () => stream.resume?.();
    return this;
  },
  [Symbol.asyncIterator]() { return iterate(this); },
  iterator() { return iterate(this); },
  async toArray() {
    const list = [];
    for await (const chunk of this) list.push(chunk);
    return list;
  },
  map(change) {
    const from = this;
    return Readable.from((async function* mapped() { for await (const chunk of from) yield await change(chunk); })());
  },
  filter(keep) {
    const from = this;
    return Readable.from((async function* kept() { for await (const chunk of from) if (await keep(chunk)) yield chunk; })());
  },
  async forEach(each) { for await (const chunk of this) await each(chunk); },
});
Readable.prototype.addListener = Readable.prototype.on;
for (const [name, read] of Object.entries({
  readableFlowing: (state) => state.flowing, readableEnded: (state) => state.endEmitted, readableLength: (state) => state.length,
  readableHighWaterMark: (state) => state.highWaterMark, readableObjectMode: (state) => state.objectMode, readableEncoding: (state) => state.encoding,
})) {
  Object.defineProperty(Readable.prototype, name, { get() { return this._readableState && read(this._readableState); }, configurable: true });
}
Object.defineProperty(Readable.prototype, 'readableAborted', { get() { return this.destroyed && !this._readableState.endEmitted; }, configurable: true });

async function* iterate(stream) {
  let wake;
  let over = false;
  let failure;
  const change = () => wake?.();
  const end = () => { over = true; change(); };
  const fail = (error) => { failure = { error }; change(); };
  stream.on('readable', change);
  stream.on('end', end);
  stream.on('close', end);
  stream.on('error', fail);
  if (stream.errored) fail(stream.errored);
  else if (stream.destroyed || stream._readableState.endEmitted) over = true;
  try {
    for (;;) {
      const chunk = stream.destroyed ? null : stream.read();
      if (chunk !== null) yield chunk;
      else if (failure) throw failure.error;
      else if (over) {
        if (!stream._readableState.endEmitted) throw coded(Error, 'ERR_STREAM_PREMATURE_CLOSE', 'Premature close');
        return;
      } else await new Promise((resolve) => { wake = resolve; });
    }
  } finally {
    stream.removeListener('readable', change);
    if (!stream._readableState.endEmitted && !stream.destroyed) stream.destroy();
  }
}

Readable.from = function from(iterable, options) {
  if (typeof iterable === 'string' || iterable instanceof Uint8Array) {
    return new Readable({ objectMode: true, ...options, read() { this.push(iterable); this.push(null); } });
  }
  const iterator = iterable[Symbol.asyncIterator]?.() ?? iterable[Symbol.iterator]();
  return new Readable({
    objectMode: true, highWaterMark: 1, ...options,
    async read() {
      try {
        const { value, done } = await iterator.next();
        this.push(done ? null : await value);
      } catch (error) {
        this.destroy(error);
      }
    },
    destroy(error, callback) { Promise.resolve(iterator.return?.()).then(() => callback(error), () => callback(error)); },
  });
};
Readable.fromWeb = function fromWeb(web, options) {
  const reader = web.getReader();
  return new Readable({
    ...options,
    async read() {
      try {
        const { value, done } = await reader.read();
        this.push(done ? null : value);
      } catch (error) {
        this.destroy(error);
      }
    },
    destroy(error, callback) { reader.cancel(error).then(() => callback(error), () => callback(error)); },
  });
};
Readable.toWeb = function toWeb(stream) {
  const { ReadableStream } = require('web/streams');
  return ReadableStream.from({
    [Symbol.asyncIterator]: () => {
      const inner = iterate(stream);
      const plain = (chunk) => (chunk instanceof Uint8Array ? new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength) : chunk);
      return { next: async () => { const { value, done } = await inner.next(); return { value: plain(value), done }; }, return: (value) => inner.return(value) };
    },
  });
};
Readable.isDisturbed = (stream) => !!(stream._readableState?.endEmitted || stream._readableState?.flowing !== null || stream.destroyed);

// ---- Writable

function Writable(options) {
  if (!(this instanceof Writable)) return new Writable(options);
  Stream.call(this, options);
  initWritable(this, options);
  return this;
}
Object.setPrototypeOf(Writable.prototype, Stream.prototype);
Object.setPrototypeOf(Writable, Stream);
// A Duplex is one as well, by what it can do.
Object.defineProperty(Writable, Symbol.hasInstance, {
  value(object) {
    if (Function.prototype[Symbol.hasInstance].call(this, object)) return true;
    return this === Writable && typeof object === 'object' && object !== null && object._writableState !== undefined && object instanceof Stream;
  },
});

function initWritable(stream, options = {}) {
  const objectMode = !!(options?.objectMode || options?.writableObjectMode);
  stream._writableState = {
    queue: [], length: 0, writing: false, ending: false, ended: false, finished: false, needDrain: false, corked: 0, objectMode, prefinished: false,
    highWaterMark: options?.writableHighWaterMark ?? options?.highWaterMark ?? (objectMode ? 16 : HIGH_WATER),
    decodeStrings: options?.decodeStrings !== false, defaultEncoding: options?.defaultEncoding ?? 'utf8',
  };
  stream.writable = true;
  stream.destroyed ??= false;
  stream.closed ??= false;
  stream.errored ??= null;
  stream._autoDestroy = options?.autoDestroy !== false;
  take(stream, options, ['write', 'writev', 'final', 'destroy']);
  options?.signal?.addEventListener('abort', () => stream.destroy(options.signal.reason), { once: true });
}

function work(stream) {
  const state = stream._writableState;
  if (state.writing || state.corked > 0 || stream.destroyed) return;
  const next = state.queue.shift();
  if (!next) { finish(stream); return; }
  state.writing = true;
  let called = false;
  const done = (error) => {
    if (called) return;
    called = true;
    state.writing = false;
    state.length -= next.size;
    if (error) {
      tick(() => next.callback?.(error));
      destroyed(stream, error);
      return;
    }
    tick(() => {
      next.callback?.(null);
      if (state.needDrain && state.length === 0 && !state.ending && !stream.destroyed) {
        state.needDrain = false;
        stream.emit('drain');
      }
      work(stream);
    });
  };
  try {
    if (stream._writev && !hasWrite(stream)) stream._writev([{ chunk: next.chunk, encoding: next.encoding }], done);
    else stream._write(next.chunk, next.encoding, done);
  } catch (error) {
    done(error);
  }
}
const hasWrite = (stream) => stream._write !== Writable.prototype._write;

function finish(stream) {
  const state = stream._writableState;
  if (!state.ending || state.prefinished || state.queue.length > 0 || state.writing) return;
  state.prefinished = true;
  const over = (error) => {
    if (error) { destroyed(stream, error); return; }
    tick(() => {
      if (stream.destroyed && stream.errored) return;
      state.finished = true;
      stream.emit('prefinish');
      stream.emit('finish');
      for (const callback of state.endCallbacks ?? []) callback();
      const reading = stream._readableState;
      if (stream._autoDestroy && (!reading || reading.endEmitted)) stream.destroy();
    });
  };
  if (typeof stream._final === 'function') {
    try { stream._final(over); } catch (error) { over(error); }
  } else {
    over();
  }
}

Object.assign(Writable.prototype, {
  _write(_chunk, _encoding, callback) { callback(coded(Error, 'ERR_METHOD_NOT_IMPLEMENTED', 'The _write() method is not implemented')); },
  _destroy(error, callback) { callback(error); },
  destroy(error, callback) { destroyed(this, error, callback); return this; },
  pipe() { destroyed(this, coded(Error, 'ERR_STREAM_CANNOT_PIPE', 'Cannot pipe, not readable')); },
  write(chunk, encoding, callback) {
    const state = this._writableState;
    const done = typeof encoding === 'function' ? encoding : callback;
    let kind = typeof encoding === 'string' ? encoding : state.defaultEncoding;
    if (chunk === null) throw coded(TypeError, 'ERR_STREAM_NULL_VALUES', 'May not write null values to stream');
    if (state.ending || this.destroyed) {
      const error = this.destroyed ? coded(Error, 'ERR_STREAM_DESTROYED', 'Cannot call write after a stream was destroyed') : coded(Error, 'ERR_STREAM_WRITE_AFTER_END', 'write after end');
      tick(() => done?.(error));
      if (!this.destroyed) destroyed(this, error);
      return false;
    }
    let data = chunk;
    if (!state.objectMode) {
      const { Buffer } = require('node/buffer');
      if (typeof data === 'string') {
        if (state.decodeStrings) { data = Buffer.from(data, kind); kind = 'buffer'; }
      } else if (data instanceof Uint8Array) {
        data = Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
        kind = 'buffer';
      } else {
        throw coded(TypeError, 'ERR_INVALID_ARG_TYPE', 'The "chunk" argument must be of type string or an instance of Buffer or Uint8Array');
      }
    }
    const size = state.objectMode ? 1 : data.length;
    state.length += size;
    state.queue.push({ chunk: data, encoding: kind, callback: done, size });
    const room = state.length < state.highWaterMark;
    if (!room) state.needDrain = true;
    work(this);
    return room;
  },
  end(chunk, encoding, callback) {
    const state = this._writableState;
    const done = [chunk, encoding, callback].find((value) => typeof value === 'function');
    if (chunk !== undefined && chunk !== null && typeof chunk !== 'function') this.write(chunk, typeof encoding === 'string' ? encoding : undefined);
    if (done) {
      if (state.finished) tick(() => done());
      else (state.endCallbacks ??= []).push(done);
    }
    if (!state.ending) {
      state.ending = true;
      state.corked = 0;
      this.writable = false;
      work(this);
      state.ended = true;
    }
    return this;
  },
  cork() { this._writableState.corked += 1; },
  uncork() {
    const state = this._writableState;
    if (state.corked > 0) state.corked -= 1;
    work(this);
  },
  setDefaultEncoding(encoding) { this._writableState.defaultEncoding = encoding; return this; },
});
const writableGetters = {
  writableEnded: (state) => state.ending, writableFinished: (state) => state.finished, writableLength: (state) => state.length,
  writableHighWaterMark: (state) => state.highWaterMark, writableObjectMode: (state) => state.objectMode, writableCorked: (state) => state.corked,
  writableNeedDrain: (state) => state.needDrain,
};
for (const [name, read] of Object.entries(writableGetters)) {
  Object.defineProperty(Writable.prototype, name, { get() { return this._writableState && read(this._writableState); }, configurable: true });
}

// ---- Both

function Duplex(options) {
  if (!(this instanceof Duplex)) return new Duplex(options);
  Readable.call(this, options);
  initWritable(this, options);
  this.allowHalfOpen = options?.allowHalfOpen !== false;
  return this;
}
Object.setPrototypeOf(Duplex.prototype, Readable.prototype);
Object.setPrototypeOf(Duplex, Readable);
for (const name of ['_write', 'write', 'end', 'cork', 'uncork', 'setDefaultEncoding']) Duplex.prototype[name] = Writable.prototype[name];
for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(Writable.prototype))) {
  if (name in writableGetters) Object.defineProperty(Duplex.prototype, name, property);
}
Duplex.from = (source) => (source instanceof Duplex ? source : Readable.from(source));

function Transform(options) {
  if (!(this instanceof Transform)) return new Transform(options);
  Duplex.call(this, options);
  take(this, options, ['transform', 'flush']);
  return this;
}
Object.setPrototypeOf(Transform.prototype, Duplex.prototype);
Object.setPrototypeOf(Transform, Duplex);
Object.assign(Transform.prototype, {
  _transform() { throw coded(Error, 'ERR_METHOD_NOT_IMPLEMENTED', 'The _transform() method is not implemented'); },
  _write(chunk, encoding, callback) {
    this._transform(chunk, encoding, (error, data) => {
      if (error) { callback(error); return; }
      if (data !== undefined && data !== null) this.push(data);
      const state = this._readableState;
      if (state.length < state.highWaterMark) callback();
      else this._held = callback;
    });
  },
  _final(callback) {
    const over = (error, data) => {
      if (error) { callback(error); return; }
      if (data !== undefined && data !== null) this.push(data);
      this.push(null);
      callback();
    };
    if (typeof this._flush === 'function') this._flush(over);
    else over();
  },
  _read() {
    const held = this._held;
    this._held = undefined;
    held?.();
  },
});

function PassThrough(options) {
  if (!(this instanceof PassThrough)) return new PassThrough(options);
  Transform.call(this, options);
  return this;
}
Object.setPrototypeOf(PassThrough.prototype, Transform.prototype);
Object.setPrototypeOf(PassThrough, Transform);
PassThrough.prototype._transform = function pass(chunk, _encoding, callback) { callback(null, chunk); };

// ---- The end of a stream, and chains of them

function finished(stream, options, callback) {
  const done = typeof options === 'function' ? options : callback;
  const { readable: wantsRead = true, writable: wantsWrite = true } = typeof options === 'function' ? {} : options ?? {};
  let called = false;
  const over = (error) => {
    if (called) return;
    called = true;
    clean();
    done.call(stream, error);
  };
  const reading = () => wantsRead && stream._readableState && !stream._readableState.endEmitted;
  const writing = () => wantsWrite && stream._writableState && !stream._writableState.finished;
  const look = () => { if (!reading() && !writing()) over(); };
  const close = () => {
    if (reading() || writing()) over(stream.errored ?? coded(Error, 'ERR_STREAM_PREMATURE_CLOSE', 'Premature close'));
    else over();
  };
  const clean = () => {
    stream.removeListener('end', look);
    stream.removeListener('finish', look);
    stream.removeListener('error', over);
    stream.removeListener('close', close);
  };
  stream.on('end', look);
  stream.on('finish', look);
  stream.on('error', over);
  stream.on('close', close);
  if (stream.errored) tick(() => over(stream.errored));
  else if (stream.closed) tick(close);
  else if (stream._readableState || stream._writableState) tick(look);
  return clean;
}

function pipeline(...parts) {
  const callback = typeof parts.at(-1) === 'function' ? parts.pop() : undefined;
  const streams = (parts.length === 1 && Array.isArray(parts[0]) ? parts[0] : parts).map((part, at) => {
    if (typeof part.pipe === 'function' || part._writableState) return part;
    if (at === 0 && typeof part[Symbol.asyncIterator] === 'function' && part.getReader) return Readable.fromWeb(part);
    if (at === 0) return Readable.from(part);
    throw coded(TypeError, 'ERR_INVALID_ARG_TYPE', 'pipeline: streams are expected');
  });
  let failure;
  let left = streams.length;
  streams.forEach((stream, at) => {
    finished(stream, { readable: at < streams.length - 1, writable: at > 0 }, (error) => {
      left -= 1;
      if (error && !failure) {
        failure = error;
        for (const other of streams) if (!other.destroyed) other.destroy?.(other === stream ? undefined : error);
      }
      if (left === 0) callback?.(failure);
    });
  });
  // Errors that come late have been told already.
  for (const stream of streams) stream.on('error', () => {});
  for (let at = 0; at + 1 < streams.length; at += 1) streams[at].pipe(streams[at + 1]);
  return streams.at(-1);
}

Object.assign(Stream, {
  Stream, Readable, Writable, Duplex, Transform, PassThrough, finished, pipeline,
  addAbortSignal(signal, stream) {
    if (signal.aborted) stream.destroy(signal.reason);
    else signal.addEventListener('abort', () => stream.destroy(signal.reason), { once: true });
    return stream;
  },
  compose() { throw require('web/errors').unsupported('stream.compose'); },
  destroy(stream, error) { stream.destroy(error); },
  isReadable: (stream) => !!stream?.readable && !stream.destroyed,
  isWritable: (stream) => !!stream?.writable && !stream.destroyed,
  isErrored: (stream) => !!stream?.errored,
  isDisturbed: (stream) => (stream?._readableState ? Readable.isDisturbed(stream) : require('web/streams').isDisturbed(stream)),
  getDefaultHighWaterMark: (objectMode) => (objectMode ? 16 : HIGH_WATER),
  setDefaultHighWaterMark() {},
});
Object.defineProperty(Stream, 'promises', { get: () => require('node/stream/promises'), enumerable: true, configurable: true });

module.exports = Stream;
