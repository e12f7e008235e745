// The issuer's public keys.

import { createLocalJWKSet } from 'jose';
import { within } from './deadline.js';
import { GuardError, protocolError } from './errors.js';

/** An unknown `kid` fetches the keys anew at most this often: anybody can send one. */
const UNKNOWN_KEY_MS = 30_000;
/** As long as there are no keys at all. */
const FIRST_KEYS_MS = 1_000;
/** Keys in use are fetched again after this, beside the requests. */
const REFRESH_MS = 600_000;
/** How long a request waits for keys. */
const WAIT_MS = 2_000;

export class Keys {
  #clock;
  #server;
  #find = null;
  #kids = new Set();
  #loadedAt = -Infinity;
  #attemptedAt = -Infinity;
  #wantedAt = -Infinity;
  #failed = false;
  #pending = null;

  constructor({ clock, server }) {
    this.#clock = clock;
    this.#server = server;
  }

  /** Whether there are any. */
  get isLoaded() {
    return this.#find !== null;
  }

  /** Fetches them now; the old ones stay where this fails. */
  load() {
    this.#attemptedAt = this.#clock.monotonic();
    this.#pending ??= this.#fetch().finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  /** Fetches the first ones, or old ones anew, where it is time; nobody waits for it. */
  refresh() {
    const now = this.#clock.monotonic();
    const isTime = this.isLoaded
      ? now - this.#loadedAt >= REFRESH_MS && now - this.#attemptedAt >= UNKNOWN_KEY_MS
      : now - this.#attemptedAt >= FIRST_KEYS_MS;
    if (isTime) this.load().catch(() => {});
  }

  /**
   * What finds the key for a token whose header names `kid`; null when the issuer has no such key. Fails when
   * that cannot be known.
   */
  async for(kid) {
    if (!this.#kids.has(kid)) await this.#fetchFor();
    if (this.#kids.has(kid)) return this.#find;
    if (this.#failed || !this.isLoaded) throw new GuardError('unreachable', 'the keys of the issuer cannot be fetched');
    return null;
  }

  async #fetchFor() {
    const now = this.#clock.monotonic();
    const isTime = this.isLoaded
      ? now - this.#wantedAt >= UNKNOWN_KEY_MS
      : now - this.#attemptedAt >= FIRST_KEYS_MS;
    if (!isTime && !this.#pending) return;
    if (isTime) this.#wantedAt = now;
    await within(WAIT_MS, isTime ? this.load() : this.#pending).catch(() => {});
  }

  async #fetch() {
    try {
      const jwks = await this.#server.jwks();
      if (!Array.isArray(jwks?.keys)) throw protocolError('the key set of the issuer has no keys');
      const find = createLocalJWKSet(jwks);
      this.#kids = new Set(jwks.keys.map(({ kid }) => kid).filter((kid) => typeof kid === 'string'));
      this.#find = find;
      this.#loadedAt = this.#clock.monotonic();
      this.#failed = false;
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }
}
