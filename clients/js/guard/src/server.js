// Requests to Curfew. Each ends in bounded time and reads a bounded answer.

import { deadline } from './deadline.js';
import { GuardError, protocolError } from './errors.js';
import { LineSplitter } from './lines.js';

const ANSWER_BYTES_MAX = 1_048_576;
const SNAPSHOT_LINE_MAX = 16_384;
/** How long a stream of data may stand still. */
const STALL_MS = 10_000;

/** Reads a body to its end, unless it is longer than anything the server has to say. */
async function readJson(response) {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > ANSWER_BYTES_MAX) throw protocolError(`an answer is longer than ${ANSWER_BYTES_MAX} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return parseJson(text + decoder.decode());
}

/** Parses one JSON value. */
export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own complaint quotes the text, which may be a token.
    throw protocolError('an answer is not JSON');
  }
}

/** Gives the connection back. */
const discard = (response) => response.body?.cancel().catch(() => {});

export class Server {
  #issuer;
  #fetch;

  constructor({ issuer, fetch }) {
    this.#issuer = issuer;
    this.#fetch = fetch;
  }

  async #request(path, { token, ...init }) {
    const headers = { ...init.headers };
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    const fetch = this.#fetch;
    try {
      // Nobody follows a redirect with a token in hand.
      return await fetch(this.#issuer + path, { redirect: 'error', ...init, headers });
    } catch (cause) {
      if (init.signal?.aborted && init.signal.reason instanceof GuardError) throw init.signal.reason;
      throw new GuardError('unreachable', `${path} cannot be reached`, { cause });
    }
  }

  /** A request whose whole answer comes within `ms`: `{status, body}`, `body` read where the status is 200. */
  async #ask(path, ms, init) {
    const limit = deadline(ms, init.signal);
    try {
      const response = await this.#request(path, { ...init, signal: limit.signal });
      if (response.status === 200) return { status: 200, body: await readJson(response) };
      await discard(response);
      return { status: response.status };
    } catch (error) {
      if (error instanceof GuardError) throw error;
      if (limit.signal.reason instanceof GuardError) throw limit.signal.reason;
      throw new GuardError('unreachable', `${path} broke off`, { cause: error });
    } finally {
      limit.stop();
    }
  }

  /** The issuer's keys. */
  async jwks({ signal } = {}) {
    return expect200('.well-known/jwks.json', await this.#ask('.well-known/jwks.json', 5_000, { signal }));
  }

  /** A token for the guard itself, by `client_credentials`. */
  async token({ clientId, clientSecret, audience, signal }) {
    const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret, audience });
    return expect200('oauth/token', await this.#ask('oauth/token', 5_000, { method: 'POST', body, signal }));
  }

  /** Whether `subject` lives, as the server sees it now. */
  async introspect(subject, { token, ms, signal }) {
    const body = new URLSearchParams({ token: subject });
    return this.#ask('oauth/introspect', ms, { method: 'POST', body, token, signal });
  }

  /** Sends a probe: `{status, body}`. */
  async probe(probe, { token, signal }) {
    return this.#ask('endings/probe', 4_000, {
      method: 'POST', body: JSON.stringify(probe), headers: { 'content-type': 'application/json' }, token, signal,
    });
  }

  /** Reads the snapshot and hands over each line as a value, the first one included. */
  async snapshot(onValue, { token, signal }) {
    const limit = deadline(STALL_MS, signal);
    try {
      const response = await this.#request('endings/snapshot', { token, signal: limit.signal, headers: { accept: 'application/x-ndjson' } });
      if (response.status !== 200) {
        await discard(response);
        throw refused('endings/snapshot', response.status);
      }
      const lines = new LineSplitter(SNAPSHOT_LINE_MAX);
      for await (const chunk of response.body ?? []) {
        limit.again();
        for (const line of lines.push(chunk)) onValue(parseJson(line));
      }
      const last = lines.end();
      if (last !== '') onValue(parseJson(last));
    } catch (error) {
      if (error instanceof GuardError) throw error;
      if (limit.signal.reason instanceof GuardError) throw limit.signal.reason;
      throw new GuardError('unreachable', 'endings/snapshot broke off', { cause: error });
    } finally {
      limit.stop();
    }
  }

  /** Opens the feed, which lives until `controller` ends it. 410 comes as `null`. */
  async feed(position, { token, controller }) {
    const late = setTimeout(() => controller.abort(new GuardError('timeout', 'endings/feed does not answer')), STALL_MS).unref();
    try {
      const path = `endings/feed?position=${position}`;
      const response = await this.#request(path, { token, signal: controller.signal, headers: { accept: 'text/event-stream' } });
      if (response.status === 200 && response.body) return response.body;
      await discard(response);
      if (response.status === 410) return null;
      throw refused('endings/feed', response.status);
    } finally {
      clearTimeout(late);
    }
  }
}

/** The server answered and said no. */
export const refused = (path, status) => {
  const error = new GuardError('refused', `${path} answered ${status}`);
  error.status = status;
  return error;
};

function expect200(path, { status, body }) {
  if (status !== 200) throw refused(path, status);
  return body;
}
