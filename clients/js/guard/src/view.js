// What a guard knows, how far it has read, and how old that is.

import { instant, unixSeconds } from './clock.js';
import { Cutoffs } from './cutoffs.js';
import { protocolError } from './errors.js';
import { isOfOneFeed, lanesOf, reaches } from './position.js';

/** Beyond the tolerance for `exp`, so that a cutoff outlives every token it concerns by this guard's own count. */
const SLACK_SECONDS = 5;

export class View {
  #clock;
  #leaseMs;
  #audience;
  #toleranceSeconds;
  #cutoffs = null;
  #position = null;
  #snapshots = 0;
  /** The instant at which the last probe that was echoed was sent. */
  #sent = null;
  /** The largest age seen since then, and when: an age does not shrink because a clock is set back. */
  #seen = { ageMs: 0, monotonic: 0 };

  constructor({ clock, leaseSeconds, audience, clockToleranceSeconds }) {
    this.#clock = clock;
    this.#leaseMs = leaseSeconds * 1000;
    this.#audience = audience;
    this.#toleranceSeconds = clockToleranceSeconds;
  }

  /** Empty cutoffs, to be filled from a snapshot. */
  newCutoffs() {
    return new Cutoffs(this.#audience);
  }

  /** Begins with what a snapshot said. Until the next echo its age is unknown. */
  begin(cutoffs, position) {
    this.#cutoffs = cutoffs;
    this.#position = position;
    this.#sent = null;
    this.#snapshots += 1;
  }

  /** Forgets everything. */
  drop() {
    this.#cutoffs = null;
    this.#position = null;
    this.#sent = null;
  }

  /** How far the feed was applied: a number for each lane, and the feed's; null without a snapshot. */
  get position() {
    return this.#position;
  }

  get size() {
    return this.#cutoffs?.size ?? 0;
  }

  /** Applies an entry of the feed; false when its cutoff is not understood. */
  apply(cutoff, lane, number) {
    if (!Number.isSafeInteger(number) || !Number.isInteger(lane) || lane < 0 || lane >= lanesOf(this.#position)) {
      throw protocolError('an entry of an unknown lane');
    }
    if (!this.#cutoffs.add(cutoff)) return false;
    this.#position[lane] = Math.max(this.#position[lane], number);
    return true;
  }

  /** Everything up to `position` has come. */
  advance(position) {
    if (!isOfOneFeed(position, this.#position)) throw protocolError('that is a position of another feed');
    position.forEach((number, lane) => {
      this.#position[lane] = Math.max(this.#position[lane], number);
    });
  }

  /** Whether everything up to `position` was applied. */
  hasReached(position) {
    return this.#position !== null && reaches(this.#position, position);
  }

  /** A probe that was sent at the instant `sent` has been echoed. */
  echoed(sent) {
    this.#sent = sent;
    this.#seen = { ageMs: 0, monotonic: sent.monotonic };
  }

  /** The age of this view in milliseconds, by whichever clock says more. */
  ageMs() {
    if (!this.#cutoffs || !this.#sent) return Infinity;
    const now = instant(this.#clock);
    const ageMs = Math.max(
      now.monotonic - this.#sent.monotonic,
      now.wall - this.#sent.wall,
      this.#seen.ageMs + now.monotonic - this.#seen.monotonic,
    );
    this.#seen = { ageMs, monotonic: now.monotonic };
    return ageMs;
  }

  get isFresh() {
    return this.ageMs() <= this.#leaseMs;
  }

  /** What the cutoffs say of a token: `alive`, `ended`, `ask`, or `unknown` where this view cannot tell. */
  judge(claims, kid) {
    if (!this.isFresh || claims.exp <= this.#cutoffs.droppedThrough) return { verdict: 'unknown' };
    const judged = this.#cutoffs.judge(claims, kid);
    // What was asked because of another snapshot is asked again.
    return judged.reasons ? { ...judged, reasons: `${this.#snapshots} ${judged.reasons}` } : judged;
  }

  /** Drops what can matter no more. */
  expire() {
    this.#cutoffs?.expire(unixSeconds(this.#clock) - this.#toleranceSeconds - SLACK_SECONDS);
  }
}
