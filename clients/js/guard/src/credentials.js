// The guard's own access token: fetched when it is needed, and again before it expires.

import { unixSeconds } from './clock.js';
import { within } from './deadline.js';
import { protocolError } from './errors.js';

/** A token is renewed when a fifth of its life-time is left, and at least this long before its end if that is less. */
const RENEW_BEFORE_MS = 60_000;
/** How long a token may take to come, also from the application's own function. */
const FETCH_MS = 10_000;
/** Nobody knows how long a token lives that does not say so: it is kept until it is refused. */
const UNKNOWN = Infinity;

export class Credentials {
  #clock;
  #fetchToken;
  #token = null;
  #expiresAt = 0;
  #renewAt = 0;
  #pending = null;

  /** `fetchToken` makes a new token: the answer of a token endpoint, or the token alone. */
  constructor({ clock, fetchToken }) {
    this.#clock = clock;
    this.#fetchToken = fetchToken;
  }

  /** A token that has not expired. Whoever asks while one is being fetched waits for that one. */
  async get() {
    if (this.#token !== null && this.#clock.monotonic() < this.#expiresAt) return this.#token;
    return this.renew();
  }

  /** Fetches a new token; the old one stays in use until it is here. */
  renew() {
    this.#pending ??= this.#fetch().finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  /** `token` was refused: the next one who asks gets another. */
  invalidate(token) {
    if (this.#token === token) this.#token = null;
  }

  /** Whether it is time for a new token. */
  get isDue() {
    return this.#token !== null && this.#clock.monotonic() >= this.#renewAt;
  }

  async #fetch() {
    const asked = this.#clock.monotonic();
    const answer = await within(FETCH_MS, this.#fetchToken());
    const token = typeof answer === 'string' ? answer : answer?.access_token;
    if (typeof token !== 'string' || token === '') throw protocolError('there is no access_token in the answer');
    const lifetimeMs = typeof answer === 'string' ? lifetimeOf(token, unixSeconds(this.#clock)) : lifetimeIn(answer);
    this.#token = token;
    this.#expiresAt = asked + lifetimeMs;
    this.#renewAt = this.#expiresAt - Math.min(RENEW_BEFORE_MS, lifetimeMs / 5);
    return token;
  }
}

const lifetimeIn = ({ expires_in: seconds }) => (Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : UNKNOWN);

/** What a JWT says of what is left of its life-time. */
function lifetimeOf(token, now) {
  try {
    const { iat, exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
    const seconds = Math.min(exp - iat, exp - now);
    return seconds > 0 ? seconds * 1000 : UNKNOWN;
  } catch {
    return UNKNOWN;
  }
}
