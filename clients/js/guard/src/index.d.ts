// Written by hand, beside the code.

/** The claims of an access token of Curfew. */
export interface Claims {
  iss: string;
  sub: string;
  aud: string | string[];
  iat: number;
  exp: number;
  scope?: string;
  azp?: string;
  client_id?: string;
  sid?: string;
  /** What the token hangs on: user, user counter, client counter, grant. */
  cfw?: { u?: string; n?: number; c?: number; g?: string };
  [claim: string]: unknown;
}

/** What adapters leave at the request, as `express-oauth2-jwt-bearer` does. */
export interface Auth {
  payload: Claims;
  header: { alg: string; typ: string; kid: string; [parameter: string]: unknown };
  token: string;
}

/** The answer to a request that must not pass. */
export interface Refusal {
  readonly ok: false;
  readonly status: 401 | 403 | 503;
  /** `null` where no token was sent. */
  readonly error: 'invalid_token' | 'insufficient_scope' | 'temporarily_unavailable' | null;
  readonly description: string;
  /** The value of `WWW-Authenticate`. */
  readonly challenge: string | null;
  /** The value of `Retry-After`, in seconds. */
  readonly retryAfter: number | null;
}

export interface Status {
  /** Whether a stream of the feed is open. */
  connected: boolean;
  /** Whether tokens are decided in memory: the view is younger than the lease. */
  fresh: boolean;
  /** `Infinity` without a view. */
  ageSeconds: number;
  /** How many endings are held. */
  cutoffs: number;
  /** How far the feed was applied. */
  position: string | null;
  /** The node that holds the stream. */
  node: string | null;
  /** What last kept the view from being fresh; null when nothing does. For people, and without secrets. */
  problem: string | null;
  snapshots: number;
  connections: number;
  introspections: number;
}

export interface Clock {
  /** Milliseconds that never go back. */
  monotonic(): number;
  /** Milliseconds since 1970. */
  wall(): number;
}

export type TokenAnswer = string | { access_token: string; expires_in?: number };

interface CommonOptions {
  /** The URL of Curfew, as in the `iss` of its tokens. */
  issuer: string;
  /** The API's identifier. */
  audience: string;
  /** How this guard is called in receipts; the host's name by default. */
  name?: string;
  /** How old the view may be: 1 to 60, by default 10. */
  leaseSeconds?: number;
  /** What to do beyond that: ask the server about each token (the default), or refuse. */
  stale?: 'introspect' | 'refuse';
  /** Scopes that every request needs. */
  scopes?: string | string[];
  /** For `exp` and `iat`; by default 5. */
  clockToleranceSeconds?: number;
  fetch?: typeof fetch;
  /** For tests. */
  clock?: Clock;
  /** For tests. */
  random?: () => number;
  /** Called when `connected`, `fresh` or `problem` changes. */
  onStatus?: (status: Status) => void;
}

export type GuardOptions = CommonOptions & (
  /** The machine-to-machine application of the guard. */
  | { clientId: string; clientSecret: string; getToken?: undefined }
  /** Or whatever else gets it a token; `expires_in` lets it be renewed in time. */
  | { getToken: () => TokenAnswer | Promise<TokenAnswer>; clientId?: undefined; clientSecret?: undefined }
);

export interface ScopeOptions {
  /** Scopes that this needs beside those of the guard. */
  scopes?: string | string[];
}

interface NodeRequest {
  headers: { authorization?: string | undefined };
}
interface NodeResponse {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body?: string): unknown;
}
interface FastifyLikeReply {
  code(status: number): FastifyLikeReply;
  headers(headers: Record<string, string>): FastifyLikeReply;
  send(body?: string): FastifyLikeReply;
}

export interface Guard {
  /** Settles when tokens are first decided in memory; fails when the guard is closed, or too old for the server. */
  ready(): Promise<void>;
  /** Decides about an access token. */
  check(token: string | null | undefined, options?: ScopeOptions): Promise<{ ok: true; claims: Claims } | Refusal>;
  status(): Status;
  /** Ends every connection. What is checked from then on is refused with 503. */
  close(): void;
  /** A middleware; also behind `express-oauth2-jwt-bearer`, whose verified token is taken over. */
  express(options?: ScopeOptions): (request: NodeRequest, response: NodeResponse, next: (error?: unknown) => void) => void;
  /** A hook, for `onRequest` or `preHandler`. */
  fastify(options?: ScopeOptions): (request: NodeRequest, reply: FastifyLikeReply) => Promise<unknown>;
  /** A fetch handler behind the guard. */
  fetch<Rest extends unknown[]>(
    handler: (request: Request & { auth: Auth }, ...rest: Rest) => Response | Promise<Response>,
    options?: ScopeOptions,
  ): (request: Request, ...rest: Rest) => Promise<Response>;
}

/** Makes a guard and lets it connect. Throws a `TypeError` when an option is wrong. */
export function createGuard(options: GuardOptions): Guard;
