/** Why and when a session ended; empty where only the silent login found out. */
export interface Ended {
  /** The cause, as in Curfew's list of endings: `rp_logout`, `user_blocked`… */
  cause?: string;
  /** ISO 8601, UTC. */
  at?: string;
}

export interface Options {
  /** As for `auth0-spa-js`: Curfew's host, with its port where it is not 443, and `http://` before it where it has no TLS. */
  domain: string;
  /** The ID token of this browser's session, as it was issued: `async () => (await auth0.getIdTokenClaims()).__raw`. */
  idToken: () => Promise<string | undefined>;
  /** Called once, when the session has ended. */
  onEnded: (ended: Ended) => void;
  /** Asks Curfew whether the session lives, where there is no line: `() => auth0.getTokenSilently({ cacheMode: 'off' })`. */
  check: () => Promise<unknown>;
  /** Milliseconds between two checks without a line; 60,000 by default. */
  every?: number;
}

/** Watches the session of this browser until it ends, or until the returned function is called. */
export function watchSession(options: Options): () => void;
