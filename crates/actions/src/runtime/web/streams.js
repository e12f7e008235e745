'use strict';
// Readable, writable and transform streams (Streams Standard), for chunks that are values. Byte streams with readers of
// their own buffers are not there: `getReader({ mode: 'byob' })` says so.
const { coded, unsupported } = require('web/errors');

const invalid = (message) => coded(TypeError, 'ERR_INVALID_STATE', message);

function deferred() {
  const parts = Promise.withResolvers();
  parts.promise.catch(() => {});
  return parts;
}

function sizing(strategy, fallback = 1) {
  const highWaterMark = strategy?.highWaterMark ?? fallback;
  const size = strategy?.size;
  return { highWaterMark: Number(highWaterMark), size: size ? (chunk) => size(chunk) : () => 1 };
}

class ReadableStreamDefaultController {
  #stream;
  constructor(stream) { this.#stream = stream; }
  get desiredSize() { return desiredSize(this.#stream); }
  enqueue(chunk) { enqueue(this.#stream, chunk); }
  close() { closeReadable(this.#stream); }
  error(reason) { failReadable(this.#stream, reason); }
  get byobRequest() { return null; }
}

// A stream's inner state, unreachable from its object.
const states = new WeakMap();
const stateOf = (stream) => {
  const state = states.get(stream);
  if (!state) throw new TypeError('Illegal invocation');
  return state;
};

function desiredSize(stream) {
  const state = stateOf(stream);
  if (state.phase === 'errored') return null;
  if (state.phase === 'closed') return 0;
  return state.highWaterMark - state.held;
}

function pullIfNeeded(stream) {
  const state = stateOf(stream);
  if (!state.started || state.phase !== 'readable' || state.closing) return;
  if (state.waiting.length === 0 && desiredSize(stream) <= 0) return;
  if (state.pulling) { state.again = true; return; }
  state.pulling = true;
  let pulled;
  try { pulled = Promise.resolve(state.pull?.(state.controller)); } catch (error) { pulled = Promise.reject(error); }
  pulled.then(() => {
    state.pulling = false;
    if (state.again) { state.again = false; pullIfNeeded(stream); }
  }, (error) => failReadable(stream, error));
}

function enqueue(stream, chunk) {
  const state = stateOf(stream);
  if (state.phase !== 'readable' || state.closing) throw invalid('Controller is already closed');
  if (state.waiting.length > 0) {
    state.waiting.shift().resolve({ value: chunk, done: false });
  } else {
    const size = Number(state.size(chunk));
    state.queue.push({ chunk, size });
    state.held += size;
  }
  pullIfNeeded(stream);
}

function settleClosed(state) {
  state.phase = 'closed';
  for (const wait of state.waiting.splice(0)) wait.resolve({ value: undefined, done: true });
  state.over.resolve(undefined);
}

function closeReadable(stream) {
  const state = stateOf(stream);
  if (state.phase !== 'readable' || state.closing) throw invalid('Controller is already closed');
  state.closing = true;
  if (state.queue.length === 0) settleClosed(state);
}

function failReadable(stream, reason) {
  const state = stateOf(stream);
  if (state.phase !== 'readable') return;
  state.phase = 'errored';
  state.reason = reason;
  state.queue.length = 0;
  for (const wait of state.waiting.splice(0)) wait.reject(reason);
  state.over.reject(reason);
}

function read(stream) {
  const state = stateOf(stream);
  state.disturbed = true;
  if (state.queue.length > 0) {
    const { chunk, size } = state.queue.shift();
    state.held -= size;
    if (state.closing && state.queue.length === 0) settleClosed(state);
    else pullIfNeeded(stream);
    return Promise.resolve({ value: chunk, done: false });
  }
  if (state.phase === 'closed') return Promise.resolve({ value: undefined, done: true });
  if (state.phase === 'errored') return Promise.reject(state.reason);
  const wait = Promise.withResolvers();
  state.waiting.push(wait);
  pullIfNeeded(stream);
  return wait.promise;
}

async function cancel(stream, reason) {
  const state = stateOf(stream);
  state.disturbed = true;
  if (state.phase === 'closed') return;
  if (state.phase === 'errored') throw state.reason;
  state.queue.length = 0;
  settleClosed(state);
  await state.cancel?.(reason);
}

class ReadableStreamDefaultReader {
  #stream;
  constructor(stream) {
    const state = stateOf(stream);
    if (state.reader) throw invalid('ReadableStream is locked');
    state.reader = this;
    this.#stream = stream;
  }
  #held() {
    if (!this.#stream) throw invalid('The reader was released');
    return this.#stream;
  }
  get closed() { return this.#stream ? stateOf(this.#stream).over.promise : Promise.reject(invalid('The reader was released')); }
  async read() { return read(this.#held()); }
  async cancel(reason) { return cancel(this.#held(), reason); }
  releaseLock() {
    if (!this.#stream) return;
    const state = stateOf(this.#stream);
    state.reader = undefined;
    for (const wait of state.waiting.splice(0)) wait.reject(invalid('The reader was released'));
    this.#stream = undefined;
  }
}

class ReadableStream {
  constructor(source = {}, strategy = {}) {
    const { highWaterMark, size } = sizing(strategy, source?.type === 'bytes' ? 0 : 1);
    const controller = new ReadableStreamDefaultController(this);
    const state = {
      phase: 'readable', queue: [], held: 0, waiting: [], reader: undefined, disturbed: false, closing: false,
      started: false, pulling: false, again: false, over: deferred(), controller, highWaterMark, size,
      pull: source?.pull?.bind(source), cancel: source?.cancel?.bind(source), reason: undefined,
    };
    states.set(this, state);
    const started = source?.start?.(controller);
    Promise.resolve(started).then(() => {
      state.started = true;
      pullIfNeeded(this);
    }, (error) => failReadable(this, error));
  }

  static from(iterable) {
    const iterator = iterable[Symbol.asyncIterator]?.() ?? iterable[Symbol.iterator]();
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(await value);
      },
      async cancel(reason) { await iterator.return?.(reason); },
    }, { highWaterMark: 0 });
  }

  get locked() { return stateOf(this).reader !== undefined; }

  getReader(options) {
    if (options?.mode !== undefined) throw unsupported('A reader with buffers of its own (mode "byob")');
    return new ReadableStreamDefaultReader(this);
  }

  async cancel(reason) {
    if (this.locked) throw invalid('Cannot cancel a stream that already has a reader');
    return cancel(this, reason);
  }

  tee() {
    const reader = this.getReader();
    const branches = [];
    const pull = async () => {
      const { value, done } = await reader.read();
      for (const controller of branches) {
        if (done) controller.close();
        else controller.enqueue(value);
      }
    };
    const fail = (error) => { for (const controller of branches) controller.error(error); };
    reader.closed.catch(fail);
    let gone = 0;
    const branch = () => new ReadableStream({
      start(controller) { branches.push(controller); },
      pull,
      cancel(reason) { gone += 1; return gone === 2 ? reader.cancel(reason) : undefined; },
    }, { highWaterMark: 0 });
    return [branch(), branch()];
  }

  async pipeTo(destination, options) {
    const reader = this.getReader();
    const writer = destination.getWriter();
    options?.signal?.addEventListener('abort', () => { reader.cancel(options.signal.reason); writer.abort(options.signal.reason); });
    try {
      for (;;) {
        options?.signal?.throwIfAborted();
        await writer.ready;
        const { value, done } = await reader.read();
        if (done) break;
        await writer.write(value);
      }
      if (!options?.preventClose) await writer.close();
    } catch (error) {
      if (!options?.preventAbort) await writer.abort(error).catch(() => {});
      if (!options?.preventCancel) await reader.cancel(error).catch(() => {});
      throw error;
    } finally {
      reader.releaseLock();
      writer.releaseLock();
    }
  }

  pipeThrough(pair, options) {
    this.pipeTo(pair.writable, options).catch(() => {});
    return pair.readable;
  }

  values(options) {
    const reader = this.getReader();
    const finish = async (value) => {
      if (!options?.preventCancel) await reader.cancel(value);
      reader.releaseLock();
      return { value, done: true };
    };
    return {
      async next() {
        const result = await reader.read();
        if (result.done) reader.releaseLock();
        return result;
      },
      return: finish,
      [Symbol.asyncIterator]() { return this; },
    };
  }

  [Symbol.asyncIterator](options) { return this.values(options); }
  get [Symbol.toStringTag]() { return 'ReadableStream'; }
}

class WritableStreamDefaultController {
  #fail;
  constructor(fail, signal) { this.#fail = fail; this.signal = signal; }
  error(reason) { this.#fail(reason); }
}

class WritableStreamDefaultWriter {
  #stream;
  constructor(stream) {
    const state = stateOf(stream);
    if (state.writer) throw invalid('WritableStream is locked');
    state.writer = this;
    this.#stream = stream;
  }
  #state() {
    if (!this.#stream) throw invalid('The writer was released');
    return stateOf(this.#stream);
  }
  get closed() { return this.#state().over.promise; }
  get ready() { return this.#state().last.catch(() => {}); }
  get desiredSize() { return this.#state().phase === 'writable' ? this.#state().highWaterMark - this.#state().queued : 0; }
  async write(chunk) { return this.#state().write(chunk); }
  async close() { return this.#state().close(); }
  async abort(reason) { return this.#state().abort(reason); }
  releaseLock() {
    if (this.#stream) stateOf(this.#stream).writer = undefined;
    this.#stream = undefined;
  }
}

class WritableStream {
  constructor(sink = {}, strategy = {}) {
    const { highWaterMark } = sizing(strategy);
    const { AbortController } = require('web/events');
    const aborting = new AbortController();
    const state = { phase: 'writable', writer: undefined, over: deferred(), last: undefined, queued: 0, highWaterMark, reason: undefined };
    const fail = (reason) => {
      if (state.phase === 'closed' || state.phase === 'errored') return;
      state.phase = 'errored';
      state.reason = reason;
      state.over.reject(reason);
    };
    const controller = new WritableStreamDefaultController(fail, aborting.signal);
    const next = (step) => {
      const done = state.last.then(() => {
        if (state.phase === 'errored') throw state.reason;
        return step();
      });
      state.last = done.catch((error) => { fail(error); throw error; });
      state.last.catch(() => {});
      return done;
    };
    state.last = Promise.resolve(sink.start?.(controller));
    state.last.catch(fail);
    state.write = (chunk) => {
      if (state.phase === 'errored') throw state.reason;
      if (state.phase !== 'writable') throw invalid('The stream is closing or closed');
      state.queued += 1;
      return next(() => sink.write?.(chunk, controller)).finally(() => { state.queued -= 1; });
    };
    state.close = () => {
      if (state.phase !== 'writable') throw invalid('The stream is closing or closed');
      state.phase = 'closing';
      return next(() => sink.close?.()).then(() => { state.phase = 'closed'; state.over.resolve(undefined); });
    };
    state.abort = async (reason) => {
      if (state.phase === 'closed' || state.phase === 'errored') return;
      fail(reason);
      aborting.abort(reason);
      await sink.abort?.(reason);
    };
    states.set(this, state);
  }
  get locked() { return stateOf(this).writer !== undefined; }
  getWriter() { return new WritableStreamDefaultWriter(this); }
  async close() { return stateOf(this).close(); }
  async abort(reason) { return stateOf(this).abort(reason); }
  get [Symbol.toStringTag]() { return 'WritableStream'; }
}

class TransformStream {
  #readable; #writable;
  constructor(transformer = {}, writableStrategy = {}, readableStrategy = { highWaterMark: 0 }) {
    let out;
    this.#readable = new ReadableStream({ start(controller) { out = controller; } }, readableStrategy);
    const controller = {
      get desiredSize() { return out.desiredSize; },
      enqueue(chunk) { out.enqueue(chunk); },
      error(reason) { out.error(reason); },
      terminate() { out.close(); },
    };
    const run = async (step) => {
      try { await step(); } catch (error) { out.error(error); throw error; }
    };
    this.#writable = new WritableStream({
      start: () => transformer.start?.(controller),
      write: (chunk) => run(() => (transformer.transform ? transformer.transform(chunk, controller) : out.enqueue(chunk))),
      close: () => run(async () => { await transformer.flush?.(controller); out.close(); }),
      abort: (reason) => { out.error(reason); },
    }, writableStrategy);
  }
  get readable() { return this.#readable; }
  get writable() { return this.#writable; }
  get [Symbol.toStringTag]() { return 'TransformStream'; }
}

class TextEncoderStream extends TransformStream {
  constructor() {
    const { encode } = require('web/encoding');
    super({ transform(chunk, controller) { controller.enqueue(encode(`${chunk}`)); } });
  }
  get encoding() { return 'utf-8'; }
}

class TextDecoderStream extends TransformStream {
  constructor(label, options) {
    const { TextDecoder } = require('web/encoding');
    const decoder = new TextDecoder(label, options);
    const send = (text, controller) => { if (text) controller.enqueue(text); };
    super({
      transform(chunk, controller) { send(decoder.decode(chunk, { stream: true }), controller); },
      flush(controller) { send(decoder.decode(), controller); },
    });
  }
}

class CountQueuingStrategy {
  constructor({ highWaterMark }) { this.highWaterMark = highWaterMark; }
  get size() { return () => 1; }
}
class ByteLengthQueuingStrategy {
  constructor({ highWaterMark }) { this.highWaterMark = highWaterMark; }
  get size() { return (chunk) => chunk.byteLength; }
}

const isDisturbed = (stream) => stateOf(stream).disturbed;
const isErrored = (stream) => stateOf(stream).phase === 'errored';

module.exports = {
  ReadableStream, ReadableStreamDefaultReader, ReadableStreamDefaultController, WritableStream, WritableStreamDefaultWriter,
  TransformStream, TextEncoderStream, TextDecoderStream, CountQueuingStrategy, ByteLengthQueuingStrategy, isDisturbed, isErrored,
};
