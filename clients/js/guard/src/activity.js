// Who made requests, for the server, which counts inactivity. It is told with the probes.

import { unixSeconds } from './clock.js';

/** One report for a user in this time is enough. */
const INTERVAL_SECONDS = 900;
const PER_PROBE_MAX = 1_000;
const WAITING_MAX = 10_000;
const REMEMBERED_MAX = 100_000;

export class Activity {
  #clock;
  /** When a user was last put down, the longest ago first. */
  #reported = new Map();
  /** What the next probes carry: the user and the second. */
  #waiting = new Map();

  constructor(clock) {
    this.#clock = clock;
  }

  /** A request of this user (`cfw.u`) was let pass. */
  report(user) {
    const now = unixSeconds(this.#clock);
    const last = this.#reported.get(user);
    // A clock that was set back must not silence anybody.
    if (last !== undefined && now >= last && now - last < INTERVAL_SECONDS) return;
    if (this.#waiting.size >= WAITING_MAX && !this.#waiting.has(user)) return;
    this.#waiting.set(user, now);
    this.#reported.delete(user);
    this.#reported.set(user, now);
    if (this.#reported.size > REMEMBERED_MAX) this.#reported.delete(this.#reported.keys().next().value);
  }

  /** Takes out what one probe may carry. */
  take() {
    const batch = [];
    for (const entry of this.#waiting) {
      if (batch.length === PER_PROBE_MAX) break;
      batch.push(entry);
      this.#waiting.delete(entry[0]);
    }
    return batch;
  }

  /** The probe that carried `batch` did not arrive. */
  putBack(batch) {
    for (const [user, second] of batch) {
      if (this.#waiting.size >= WAITING_MAX) return;
      if (!this.#waiting.has(user)) this.#waiting.set(user, second);
    }
  }
}
