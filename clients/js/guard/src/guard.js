// The guard: decides about tokens from what it holds in memory.

import { randomUUID } from 'node:crypto';
import { Activity } from './activity.js';
import { ENDED, NO_TOKEN, UNAVAILABLE, UNDECIDED, insufficientScope } from './answers.js';
import { unixSeconds } from './clock.js';
import { Credentials } from './credentials.js';
import { GuardError } from './errors.js';
import { expressMiddleware } from './express.js';
import { fastifyHook } from './fastify.js';
import { fetchHandler } from './fetch.js';
import { Follower } from './follower.js';
import { Introspection } from './introspection.js';
import { Keys } from './keys.js';
import { readOptions, readScopes } from './options.js';
import { formatPosition } from './position.js';
import { Server } from './server.js';
import { verifyClaims, verifyToken } from './verify.js';
import { View } from './view.js';

/** Makes a guard and lets it connect. `close()` it when the application ends. */
export const createGuard = (options) => new Guard(readOptions(options));

class Guard {
  #options;
  #closing = new AbortController();
  #keys;
  #view;
  #introspection;
  #activity;
  #follower;
  #isReady = false;
  #waiting = [];
  #told = '';

  constructor(options) {
    const { issuer, audience, clientId, clientSecret, clock, name, leaseSeconds, stale, random } = options;
    const { signal } = this.#closing;
    const server = new Server(options);
    const fetchToken = options.getToken ?? (() => server.token({ clientId, clientSecret, audience, signal }));
    const credentials = new Credentials({ clock, fetchToken: async () => fetchToken() });
    this.#options = options;
    this.#keys = new Keys({ clock, server });
    this.#view = new View(options);
    this.#activity = new Activity(clock);
    this.#introspection = new Introspection({ server, credentials, clock, signal });
    this.#follower = new Follower({
      issuer, server, credentials, clock, random, signal,
      keys: this.#keys,
      view: this.#view,
      activity: this.#activity,
      // Replicas, and the processes of one host, bear one name.
      announcement: { name, instance: randomUUID(), lease_seconds: leaseSeconds, stale },
      onChange: () => this.#changed(),
    });
    this.#follower.start();
  }

  /**
   * Settles when the snapshot is loaded and a probe was echoed: from then on tokens are decided in memory.
   * Nobody has to wait for it; until then `check` asks the server, or refuses.
   */
  ready() {
    if (this.#isReady) return Promise.resolve();
    if (this.#closing.signal.aborted || this.#follower.isBlind) return Promise.reject(this.#noView());
    return new Promise((resolve, reject) => {
      // Every other timer lets the process end, which must not happen to one that still waits to begin.
      const alive = setInterval(() => {}, 60_000);
      this.#waiting.push({ resolve, reject, alive });
    });
  }

  /**
   * Decides about an access token: `{ok: true, claims}` or the answer to give. Nothing that a client sends
   * makes it fail, and it waits at most two seconds for keys and as long for the server's word.
   */
  async check(token, { scopes } = {}) {
    const answer = await this.#deciding(scopes).token(token);
    return answer.ok ? { ok: true, claims: answer.auth.payload } : answer;
  }

  /** The two ways to a decision that adapters have: `{ok: true, auth: {payload, header, token}}` or the answer. */
  #deciding(scopes) {
    const needed = [...new Set([...this.#options.scopes, ...readScopes(scopes)])];
    return {
      token: async (token) => {
        if (typeof token !== 'string' || token === '') return NO_TOKEN;
        return this.#decide(await verifyToken(token, { keys: this.#keys, ...this.#expected() }), needed);
      },
      /** Where somebody before has verified the signature. */
      verified: async (auth) => this.#decide(verifyClaims(auth, this.#expected()), needed),
    };
  }

  #expected() {
    const { issuer, audience, clockToleranceSeconds, clock } = this.#options;
    return { issuer, audience, toleranceSeconds: clockToleranceSeconds, now: unixSeconds(clock) };
  }

  /** Steps: 1 signature and claims (done), 2 the age of the view, 3 the cutoffs, 4 the scopes. */
  async #decide(verified, scopes) {
    if (!verified.ok) return verified;
    const { payload } = verified.auth;
    const refusal = await this.#judge(verified.auth);
    if (refusal) return refusal;
    const granted = typeof payload.scope === 'string' ? payload.scope.split(' ') : [];
    if (!scopes.every((scope) => granted.includes(scope))) return insufficientScope(scopes);
    if (typeof payload.cfw?.u === 'string') this.#activity.report(payload.cfw.u);
    return verified;
  }

  /** Whether access has ended: nothing, or the refusal. */
  async #judge({ payload, header, token }) {
    const { verdict, reasons } = this.#view.judge(payload, header.kid);
    if (verdict === 'alive') return undefined;
    if (verdict === 'ended') return ENDED;
    const isUnknown = verdict === 'unknown';
    if (this.#closing.signal.aborted) return UNAVAILABLE;
    if (this.#options.stale === 'refuse') return isUnknown ? UNAVAILABLE : UNDECIDED;
    try {
      const isActive = await (isUnknown
        ? this.#introspection.ask(token)
        : this.#introspection.askOnce(token, payload.exp, reasons));
      return isActive ? undefined : ENDED;
    } catch {
      return UNAVAILABLE;
    }
  }

  /** How the guard is, for a health check or a metric. Never holds a secret. */
  status() {
    const ageMs = this.#view.ageMs();
    return {
      connected: this.#follower.isConnected,
      fresh: this.#view.isFresh,
      ageSeconds: ageMs / 1000,
      cutoffs: this.#view.size,
      position: this.#view.position && formatPosition(this.#view.position),
      node: this.#follower.node,
      problem: this.#follower.problem,
      snapshots: this.#follower.snapshots,
      connections: this.#follower.connections,
      introspections: this.#introspection.asked,
    };
  }

  /** Ends every connection. What is checked from then on is refused with 503. */
  close() {
    this.#closing.abort(new GuardError('closed', 'the guard was closed'));
  }

  /** A middleware for Express, also behind `express-oauth2-jwt-bearer`. Sets `request.auth`. */
  express({ scopes } = {}) {
    return expressMiddleware(this.#deciding(scopes));
  }

  /** A hook for Fastify: `onRequest` or `preHandler`. Sets `request.auth`. */
  fastify({ scopes } = {}) {
    return fastifyHook(this.#deciding(scopes));
  }

  /** Wraps a fetch handler: `(request, …) => Response`. Sets `request.auth`. */
  fetch(handler, { scopes } = {}) {
    return fetchHandler(this.#deciding(scopes), handler);
  }

  #noView() {
    return new GuardError('no_view', `the guard has no view: ${this.#follower.problem}`);
  }

  #changed() {
    const { connected, fresh, problem } = this.status();
    this.#isReady ||= fresh && this.#keys.isLoaded;
    const isOver = this.#closing.signal.aborted || this.#follower.isBlind;
    if (this.#isReady || isOver) {
      for (const { resolve, reject, alive } of this.#waiting.splice(0)) {
        clearInterval(alive);
        if (this.#isReady) resolve();
        else reject(this.#noView());
      }
    }
    const told = JSON.stringify([connected, fresh, problem]);
    if (told === this.#told) return;
    this.#told = told;
    try {
      this.#options.onStatus?.(this.status());
    } catch (error) {
      // What the application does with the news must not stop the guard.
      process.emitWarning(`onStatus failed: ${error?.message}`, { type: 'CurfewGuardWarning' });
    }
  }
}
