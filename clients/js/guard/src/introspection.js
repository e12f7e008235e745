// Asking the server about one token (RFC 7662), where the view is too old or a cutoff alone does not decide.

import { createHash } from 'node:crypto';
import { unixSeconds } from './clock.js';
import { deadline, within } from './deadline.js';
import { GuardError, protocolError } from './errors.js';
import { refused } from './server.js';

/** A request waits no longer than this, whatever hangs: the network, the server, the guard's own token. */
const WAIT_MS = 2_000;
/** Questions under way. A server that is slow is not helped by more of them. */
const IN_FLIGHT_MAX = 256;
const KEPT_MAX = 10_000;

export class Introspection {
  #server;
  #credentials;
  #clock;
  #signal;
  #inFlight = 0;
  /** By the hash of the token: `{reasons, exp, answer}`, the longest unused first. */
  #kept = new Map();

  /** How many questions were asked. */
  asked = 0;

  constructor({ server, credentials, clock, signal }) {
    this.#server = server;
    this.#credentials = credentials;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Whether the token lives now. Fails when the server does not say. */
  async ask(token) {
    if (this.#inFlight >= IN_FLIGHT_MAX) throw new GuardError('busy', `${IN_FLIGHT_MAX} introspections are under way`);
    this.#inFlight += 1;
    this.asked += 1;
    const limit = deadline(WAIT_MS, this.#signal);
    try {
      return await within(WAIT_MS, this.#introspect(token, limit.signal));
    } finally {
      // Whatever is still under way has nobody who waits for it.
      limit.expire();
      this.#inFlight -= 1;
    }
  }

  /**
   * The same, asked once for as long as the `reasons` stay what they are: whatever ends the token later comes
   * with the feed, and so does the next reason to ask.
   */
  async askOnce(token, exp, reasons) {
    const key = createHash('sha256').update(token).digest('base64');
    const held = this.#kept.get(key);
    this.#kept.delete(key);
    if (held && held.reasons === reasons && held.exp > unixSeconds(this.#clock)) {
      this.#kept.set(key, held);
      return held.answer;
    }
    const kept = { reasons, exp, answer: this.ask(token) };
    this.#kept.set(key, kept);
    if (this.#kept.size > KEPT_MAX) this.#kept.delete(this.#kept.keys().next().value);
    try {
      return await kept.answer;
    } catch (error) {
      if (this.#kept.get(key) === kept) this.#kept.delete(key);
      throw error;
    }
  }

  async #introspect(subject, signal) {
    const token = await this.#credentials.get();
    let answer = await this.#send(subject, token, signal);
    if (answer.status === 401) {
      // It may have expired a moment ago, or been ended; a new one decides.
      this.#credentials.invalidate(token);
      answer = await this.#send(subject, await this.#credentials.get(), signal);
    }
    if (answer.status !== 200) throw refused('oauth/introspect', answer.status);
    if (typeof answer.body?.active !== 'boolean') throw protocolError('the introspection does not say whether the token is active');
    return answer.body.active;
  }

  #send(subject, token, signal) {
    return this.#server.introspect(subject, { token, ms: WAIT_MS, signal });
  }
}
