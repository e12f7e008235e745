// One connection to the feed.

import { GuardError, protocolError } from './errors.js';
import { EventParser } from './sse.js';
import { parseJson } from './server.js';

/** After the head of the answer, the first event has to come. */
const HELLO_MS = 5_000;
const PROBE_SECONDS_MIN = 0.02;
const PROBE_SECONDS_MAX = 30;

export class Stream {
  #clock;
  #reader;
  #controller;
  #isEnded = false;

  /** What it was opened with: it ends with it. */
  token;
  /** When something last came, by the monotonic clock. */
  heardAt;
  /** The name of this stream in probes; null until its first event. */
  id = null;
  node = null;
  probeSeconds = 1;
  /** Why it ended: what the server said, or the error; null as long as it lives. */
  reason = null;
  /** Whether a probe was echoed since it was opened. */
  isProven = false;

  constructor({ clock, body, controller, token }) {
    this.#clock = clock;
    this.#reader = body.getReader();
    this.#controller = controller;
    this.token = token;
    this.heardAt = clock.monotonic();
  }

  get isEnded() {
    return this.#isEnded;
  }

  /** Ends the connection. Nothing of it is handed over any more. */
  end(reason) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.reason = reason;
    // The first lets the reading end at once, whatever the network does; the second closes the connection.
    this.#reader.cancel().catch(() => {});
    this.#controller.abort(new GuardError('ended', String(reason?.message ?? reason)));
  }

  /**
   * Reads to the end. `onEvent(name, data)` gets every event after the first; `onHello` is called at the
   * first. Never fails: `reason` says how it went.
   */
  async read({ onHello, onEvent }) {
    const late = setTimeout(() => this.end(protocolError('the feed does not say hello')), HELLO_MS).unref();
    const parser = new EventParser();
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (done) break;
        this.heardAt = this.#clock.monotonic();
        this.#hear(parser.push(value), () => {
          clearTimeout(late);
          onHello();
        }, onEvent);
      }
      this.end('closed');
    } catch (error) {
      this.end(error);
    } finally {
      clearTimeout(late);
    }
  }

  #hear(events, onHello, onEvent) {
    for (const { event, data } of events) {
      if (this.#isEnded) return;
      if (this.id !== null) {
        onEvent(event, data);
      } else {
        this.#greet(event, parseJson(data));
        onHello();
      }
    }
  }

  #greet(event, hello) {
    const seconds = hello?.probe_seconds;
    if (event !== 'hello' || typeof hello?.stream !== 'string') throw protocolError('the feed does not begin with hello');
    this.id = hello.stream;
    this.node = typeof hello.node === 'string' ? hello.node : null;
    if (Number.isFinite(seconds)) this.probeSeconds = Math.min(Math.max(seconds, PROBE_SECONDS_MIN), PROBE_SECONDS_MAX);
  }
}
